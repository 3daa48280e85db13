"""Verdicts as tables: ``claims.csv``, ``effects.csv``, the values behind them seed by seed, and the terminal.

claims.csv     every claim, its verdict, and how many of its parts on deciding corpora went which way
effects.csv    every part of every claim on every corpus: effect, adjusted interval, verdict and its reason
<claim>.csv    the measures of one claim by seed, on both arms
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from experiments.escaping import for_terminal
from experiments.evidence.judge import JudgedClaim, JudgedPart, detectable_in_weakest
from experiments.evidence.measurement import mean_of
from experiments.evidence.measures import MEASURES
from experiments.evidence.published_table import contradictions
from experiments.evidence.quantities import Value
from experiments.reporting.render import EMPTY, TextTable, interval, rounded, to_csv
from experiments.runs.run_folder import write_atomically
from experiments.statistics.censoring import Time
from experiments.statistics.seeds import Spread
from experiments.statistics.verdicts import VerdictName

OVERVIEW, EFFECTS = "claims.csv", "effects.csv"
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
OVERVIEW_COLUMNS = ["number", "claim", "verdict", *(f"parts {name}" for name in VERDICTS)]
EFFECT_COLUMNS = [
    *("number", "claim", "part", "corpus", "decides", "measure", "unit", "treatment", "control", "weakest", "effect"),
    *("low", "high", "p_holm", "p_sign_flips", "delta", "detectable", "detectable_in_weakest", "verdict", "reason"),
    *("pairs", "left_out", "only_treatment_lacks", "only_control_lacks", "doubts"),
]
SEED_COLUMNS = ["part", "corpus", "measure", "seed", "treatment", "control"]


def write_tables(judged: Sequence[JudgedClaim], folder: Path) -> list[Path]:
    """Write all tables to a folder and return their paths; remove tables of claims without a recorded run.

    Raises:
        RecordError: where a file cannot be written.
    """
    tables = {OVERVIEW: TextTable(OVERVIEW_COLUMNS, [overview_row(claim) for claim in judged])}
    tables[EFFECTS] = TextTable(
        EFFECT_COLUMNS, [effect_row(claim, effect) for claim in judged for effect in claim.effects]
    )
    for claim in judged:
        rows = [row for effect in claim.effects for row in seed_rows(effect)]
        if rows:
            tables[f"{claim.claim.id}.csv"] = TextTable(SEED_COLUMNS, rows)
    for name, table in tables.items():
        write_atomically(folder / name, to_csv(table).encode())
    for path in folder.glob("*.csv"):
        if path.name not in tables and is_seed_table(path):
            path.unlink()
    return [folder / name for name in tables]


def is_seed_table(path: Path) -> bool:
    """Tell whether a file is a claim's table of values by seed, by its header: a person's own may lie next to it."""
    header = to_csv(TextTable(SEED_COLUMNS, [])).encode().strip()
    with path.open("rb") as file:
        return file.readline(len(header) + 2).strip() == header


def overview_row(judged: JudgedClaim) -> list[str]:
    """Return a claim's verdict, and how many of its parts on deciding corpora went which way."""
    counts = Counter(effect.verdict.name for effect in judged.confirmatory)
    parts = [str(counts[name]) for name in VERDICTS]
    return [judged.label, judged.claim.claim["en"], judged.verdict.name, *parts]


def effect_row(judged: JudgedClaim, effect: JudgedPart) -> list[str]:
    """Return a part on one corpus: means of both arms, effect and interval, p-values, verdict, and what pairs lack.

    An end of the interval is empty where every pair only bounds the effect on that side. Of several components the
    effect is that of the weakest. Doubts forbid to confirm or to refute, each with the number of seeds it concerns.
    """
    measured, part, is_judged = effect.measured, effect.measured.part, effect.interval is not None
    means = [mean_of(arm) for arm in (measured.arms.treatment, measured.arms.control)]
    p_values = (effect.adjusted.p_value, measured.sign_flip_p_value) if is_judged else (None, None)
    mean = effect.interval.mean if effect.interval else None
    return [
        *(judged.label, judged.claim.id, part.id, measured.corpus, "yes" if measured.is_confirmatory else "no"),
        *(part.metric, MEASURES[part.metric].unit, *map(digits, means), measured.weakest),
        *map(
            digits, (mean, *effect.known_ends, *p_values, part.delta, effect.detectable, detectable_in_weakest(effect))
        ),
        *(effect.verdict.name, effect.verdict.reason),
        *map(str, (measured.pairs, measured.seeds - measured.pairs, *measured.lacking.values())),
        "; ".join(f"{name} {count}" for name, count in measured.arms.doubts.items()),
    ]


def seed_rows(effect: JudgedPart) -> Iterator[list[str]]:
    """Yield a row for every measure, seed and component of an effect, the deciding measure first.

    A cell is empty where a run has no value. ``<30`` is a time before the first validation at step 30, ``>500`` one
    beyond the budget; shares of failed runs are over the swept values of a seed.
    """
    measured = effect.measured
    values = {measured.part.metric: (measured.arms.treatment, measured.arms.control), **measured.shown}
    for metric, arms in values.items():
        for seed in sorted(arms[0].keys() | arms[1].keys()):
            sides = [cells(arm.get(seed)) for arm in arms]
            for component in dict.fromkeys(name for side in sides for name in side if name) or [""]:
                what = f"{metric}: {component}" if component else metric
                yield [measured.part.id, measured.corpus, what, str(seed), *(side.get(component, "") for side in sides)]


def cells(value: Value) -> dict[str, str]:
    """Return a value's cells by component; the only one of a plain value is ``""``."""
    match value:
        case Time():
            bound = ">" if not value.reached else "<" if value.at_first_look else ""
            return {"": f"{bound}{digits(value.value)}"}
        case tuple():
            return {"": digits(sum(value) / len(value))}
        case dict():
            return {name: digits(number) for name, number in value.items()}
    return {"": digits(value)}


def digits(value: float | None) -> str:
    """Return a number with six significant digits; nothing for what is not known."""
    return "" if value is None else f"{value:.6g}"


def print_verdicts(judged: Sequence[JudgedClaim], console: Console) -> None:
    """Print one line per claim."""
    table = Table("no.", "claim", "verdict", box=None)
    for claim in judged:
        table.add_row(claim.label, for_terminal(claim.claim.claim["en"]), claim.verdict.name)
    console.print(table)


def print_effects(judged: Sequence[JudgedClaim], corpora: Sequence[str], console: Console) -> None:
    """Print every effect of some claims, on some corpora or all: a table per claim, its parts as headings."""
    print_verdicts(judged, console)
    for claim in judged:
        table = Table("part and corpus", "effect", "interval", "δ", "runs", "verdict", box=None)
        effects = [each for each in claim.effects if not corpora or each.measured.corpus in corpora]
        for heading, group in groupby(effects, key=heading_of):
            table.add_row(heading)
            for effect in group:
                table.add_row(*printed_cells(effect))
        if effects or claim.claim.arithmetic:
            console.print(f"\n{claim.label} {claim.claim.id}", highlight=False)
        if effects:
            console.print(table)
        for found in contradictions() if claim.claim.arithmetic else ():
            console.print(found.sentence, markup=False, highlight=False)


def heading_of(effect: JudgedPart) -> str:
    """Return what stands above the corpora of a part."""
    return effect.measured.part.id + ("" if effect.measured.is_confirmatory else ", replications")


def printed_cells(effect: JudgedPart) -> list[str]:
    """Return the cells of an effect; its corpus is set off from the part above it."""
    measured, found = effect.measured, effect.interval
    return [
        f"  {measured.corpus}",
        rounded(found.mean if found else None),
        for_terminal(interval(Spread(measured.pairs, low=found.low, high=found.high)) if found else EMPTY),
        rounded(measured.part.delta),
        f"{measured.found}/{measured.planned}",
        effect.verdict.name,
    ]
