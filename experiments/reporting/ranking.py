"""The ranking of many schemes against Pre-LN: one ranked table, failures apart, ties as one group, and a figure.

Only final runs count. A scheme with a seed that did not train is listed apart from the ranking, with the number of
seeds that did. A mean over those alone would flatter it. A person's own ranking goes to ``results/local/ranking``. A
published one is made from committed tables alone and goes to ``results/ranking``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from experiments.errors import ExperimentError
from experiments.paths import below, own_tables_folder, runs_folder, tables_folder
from experiments.planning.grid import Grid
from experiments.reporting.render import TextTable, joined, number, plural, rounded, to_csv, to_markdown
from experiments.reporting.style import PALETTE, Picture, save_picture, settings
from experiments.runs.naming import WITHOUT_NETWORK
from experiments.runs.record import Record
from experiments.runs.run_folder import write_atomically
from experiments.runs.store import gather_records
from experiments.scheme_cards import memory_of, time_of
from experiments.statistics.control import AgainstControl, ControlFamily, Standing, compare_with_control
from experiments.tasks import LANGUAGE_TASKS, Metric, task_named
from lightning_modules.schemes.variants import VARIANTS

CONTROL = "pre_ln"
LOSS = Metric(name="loss", title="loss in nats", higher_is_better=False, bounds=(0.0, math.inf))
ORDER: tuple[Standing, ...] = ("better", "not told apart", "worse")
SAYS = {"better": "better than Pre-LN", "not told apart": "not told apart from Pre-LN", "worse": "worse than Pre-LN"}
COLORS = {"better": PALETTE[2], "not told apart": "#8A8A8A", "worse": PALETTE[1]}
PAGE, TABLE, FIGURE = "ranking.md", "ranking.csv", "ranking.png"


@dataclass(frozen=True)
class Ranking:
    """A grid's schemes, compared with Pre-LN."""

    metric: Metric
    family: ControlFamily
    control_seeds: int
    failed: dict[str, tuple[int, int]]
    """Seeds that trained, and seeds made, of every scheme of which one did not train."""
    parameters: dict[str, int]


def rank(records: Sequence[Record]) -> Ranking:
    """Rank the conditions of final runs by their task's metric on the test split: the loss for language models.

    Raises:
        ExperimentError: there is no run of Pre-LN that trained, nothing to compare, or no second seed of any scheme.
    """
    finals = [each for each in records if each.stage == "final" and each.condition not in WITHOUT_NETWORK]
    if not finals:
        raise ExperimentError(
            "there are no final runs to rank; make them with: python -m experiments.ablation run GRID"
        )
    metric = LOSS if finals[0].task in LANGUAGE_TASKS else task_named(finals[0].task).primary_metric
    by_scheme: dict[str, list[Record]] = {}
    for record in finals:
        by_scheme.setdefault(record.condition, []).append(record)
    scores: dict[str, list[float]] = {}
    failed: dict[str, tuple[int, int]] = {}
    for name, runs in by_scheme.items():
        trained = [run for run in runs if run.outcome.status == "trained"]
        values = [value for run in trained if (value := run.score("test", metric.name)) is not None]
        if len(values) == len(runs):
            scores[name] = values
        else:
            failed[name] = (len(values), len(runs))
    control = scores.pop(CONTROL, [])
    if not control or not scores:
        raise ExperimentError(f"a ranking needs runs of {CONTROL} that trained, and of another scheme")
    try:
        family = compare_with_control(control, scores, higher_is_better=metric.higher_is_better)
    except ValueError as error:
        raise ExperimentError(f"the schemes cannot be compared: {error}") from None
    sizes = {name: int(runs[0].model.get("parameters", 0)) for name, runs in by_scheme.items()}
    return Ranking(metric, family, len(control), failed, sizes)


def write_ranking(grid: Grid, results: Path) -> list[Path]:
    """Write table, page and figure of a grid's ranking; return their paths in ``results/local/ranking``.

    Raises:
        ExperimentError: there is nothing to rank.
    """
    runs, committed = runs_folder(results, grid.name, grid.corpus), tables_folder(results, grid.name, grid.corpus)
    own = own_tables_folder(results, grid.name, grid.corpus)
    found, _ = gather_records(runs, committed, own_folder=own)
    folder = below(results, "local", *place_of(grid))
    return write_files(rank([record for record, _ in found]), grid, folder)


def publish_ranking(grid: Grid, results: Path, console: Console) -> None:
    """Rewrite the committed ranking from the committed tables.

    A ranking exists if a person asked for it once: it is published, or among their own tables.

    Raises:
        ExperimentError: the committed tables have nothing to rank.
    """
    folder = below(results, *place_of(grid))
    if not any((place / PAGE).is_file() for place in (folder, below(results, "local", *place_of(grid)))):
        return
    found, _ = gather_records(results / "no runs", tables_folder(results, grid.name, grid.corpus))
    write_files(rank([record for record, _ in found]), grid, folder)
    console.print(f"published {folder / PAGE}", markup=False, highlight=False, soft_wrap=True)


def place_of(grid: Grid) -> tuple[str, ...]:
    """Return where rankings of a grid are, below the folder of results or a person's own part of it."""
    return "ranking", grid.name, grid.corpus


def write_files(ranking: Ranking, grid: Grid, folder: Path) -> list[Path]:
    """Write table, page and figure of a ranking; return their paths."""
    picture = draw(ranking)
    page = compose(ranking, grid, picture)
    write_atomically(folder / TABLE, to_csv(exact_table(ranking)).encode())
    write_atomically(folder / PAGE, page.encode())
    return [folder / TABLE, folder / PAGE, save_picture(picture, folder / FIGURE)]


def exact_table(ranking: Ranking) -> TextTable:
    """Return every number, the best scheme first, failed ones last."""
    columns = ["scheme", "group", "seeds", "trained", ranking.metric.name, "difference", "low", "high", "p_value"]
    rows = [
        [
            *(row.name, row.standing, str(row.seeds), str(row.seeds)),
            *(number(value) for value in (row.mean, row.difference, row.low, row.high, row.p_value)),
            *sizes_of(ranking, row.name),
        ]
        for row in ranking.family.rows
    ]
    rows += [
        [name, "failed", str(made), str(trained), *[""] * 5, *sizes_of(ranking, name)]
        for name, (trained, made) in sorted(ranking.failed.items())
    ]
    return TextTable([*columns, "time_over_pre_ln", "memory_over_pre_ln", "parameters"], rows)


def sizes_of(ranking: Ranking, name: str) -> tuple[str, str, str]:
    """Return time per token and memory over Pre-LN's, empty where they are not measured, and parameters."""
    variant = VARIANTS.get(name)
    costs = (time_of(variant), memory_of(variant)) if variant else ("", "")
    return *costs, str(ranking.parameters.get(name, ""))


def compose(ranking: Ranking, grid: Grid, picture: Picture) -> str:
    """Return the page: the answer, the table, the figure, and how schemes were compared."""
    family = ranking.family
    groups = {word: [row for row in family.rows if row.standing == word] for word in ORDER}
    columns = ["scheme", "group", ranking.metric.title, "− Pre-LN", "95 % together"]
    columns += ["time", "memory", "parameters", "seeds"]
    table = TextTable(columns, [shown(ranking, row) for word in ORDER for row in groups[word]])
    parts = [f"# {grid.title}", answer(ranking, groups), to_markdown(table).rstrip()]
    if ranking.failed:
        told = [f"{name} ({trained} of {made})" for name, (trained, made) in sorted(ranking.failed.items())]
        parts += ["## Failed", f"Seeds that trained: {joined(told)}. They have no mean, since some did not train."]
    equal = "cannot be tested" if family.equal_spread is None else f"p = {family.equal_spread:.2g} by Bartlett's test"
    parts += [
        f"![{picture.title}]({FIGURE})",
        f"*{picture.caption}*",
        f"Pre-LN has {plural(ranking.control_seeds, 'seed')} and a mean of {rounded(family.control_mean)}. The "
        f"standard deviation over seeds is pooled over all schemes: {rounded(family.pooled_sd)} with {family.freedom} "
        f"degrees of freedom. Equal spread: {equal}. Spreads above three times that: "
        f"{joined(family.outliers) or 'none'}. The comparisons with Pre-LN are {family.method}. *Not told "
        "apart* is one group, without an order. *Time* and *memory* are those of a training step over Pre-LN's "
        "(docs/schemes.md).",
    ]
    return "\n\n".join(parts) + "\n"


def answer(ranking: Ranking, groups: dict[Standing, list[AgainstControl]]) -> str:
    """Say in a line how many schemes are in each group."""
    counts = [f"{plural(len(groups[word]), 'scheme')} {SAYS[word]}" for word in ORDER]
    return f"{joined([*counts, f'{len(ranking.failed)} failed with one seed or more'])}."


def shown(ranking: Ranking, row: AgainstControl) -> list[str]:
    """Return a scheme's row for the page."""
    time, memory, parameters = sizes_of(ranking, row.name)
    interval = f"{rounded(row.low)} to {rounded(row.high)}"
    size = f"{int(parameters):,}" if parameters else ""
    costs = [time or "not measured", memory or "not measured", size]
    return [row.name, row.standing, rounded(row.mean), rounded(row.difference), interval, *costs, str(row.seeds)]


def draw(ranking: Ranking) -> Picture:
    """Draw the difference to Pre-LN against time per token; schemes without a measured time are left out."""
    import matplotlib
    from matplotlib.figure import Figure

    timed = [
        (row, float(sizes_of(ranking, row.name)[0])) for row in ranking.family.rows if sizes_of(ranking, row.name)[0]
    ]
    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(7.5, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0, color="black", lw=0.8)
        for word in ORDER:
            points = [(time, row) for row, time in timed if row.standing == word]
            if points:
                times, values = [time for time, _ in points], [row.difference for _, row in points]
                errors = [
                    [row.difference - row.low for _, row in points],
                    [row.high - row.difference for _, row in points],
                ]
                color = COLORS[word]
                faint = (color, 0.35)  # a hundred bars, most of them near 1
                axes.errorbar(
                    times, values, yerr=errors, fmt="o", ms=4, lw=0.8, color=color, ecolor=faint, label=SAYS[word]
                )
        for row, time in [*timed[:5], *timed[-3:]]:
            axes.annotate(row.name, (time, row.difference), xytext=(4, 3), textcoords="offset points", fontsize=6.5)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("time of a training step over Pre-LN's")
        axes.set_ylabel(f"{ranking.metric.title} − Pre-LN's")
        if timed:
            axes.legend()
    title = f"{ranking.metric.title.capitalize()} against time, {plural(len(timed), 'scheme')}"
    better = "above" if ranking.metric.higher_is_better else "below"
    return Picture(
        figure, title, f"Bars: 95 % intervals that hold together. {better.capitalize()} 0 is better than Pre-LN."
    )
