"""Tables of reproductions: what was measured, how each condition stands, and the verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.reporting.render import EMPTY, Grid
from experiments.reproductions.evidence import Result
from experiments.reproductions.verdicts import Checked
from experiments.statistics.seeds import Spread, spread

SPREAD = ("", "_sd", "_smallest", "_largest")
VERDICT_COLUMNS = ["id", "result", "claim", "paper", "seeds", "rule", "measured", "verdict"]


def digits(value: float | None, precision: int = 6) -> str:
    """Return a number with so many significant digits; nothing for what is not defined."""
    return "" if value is None else f"{value:.{precision}g}"


def shown(value: float | None, precision: int = 3) -> str:
    """Return a number for reading, with a real minus sign; a dash for what is not defined."""
    return digits(value, precision).replace("-", "−") or EMPTY


def measured_table(result: Result) -> Grid:
    """Return mean, standard deviation, smallest and largest of every measured value over seeds, with six digits."""
    setup = result.claim.setup
    columns = [*setup.keys, "seeds", *(f"{name}{part}" for name in setup.values for part in SPREAD)]
    lines = []
    for key, values, count in _groups(result):
        parts = [part for of_value in values for part in _parts(of_value)]
        lines.append([*key, str(count), *(digits(part) for part in parts)])
    return Grid(columns, lines)


def reading_table(result: Result) -> Grid:
    """Return the same for reading: mean ± standard deviation over seeds."""
    setup = result.claim.setup
    lines = [[*key, str(count), *(mean_and_sd(spread(of_value)) for of_value in values)]
             for key, values, count in _groups(result)]  # fmt: skip
    return Grid([name.replace("_", " ") for name in (*setup.keys, "seeds", *setup.values)], lines)


def mean_and_sd(values: Spread) -> str:
    """Return ``0.771 ± 0.00412``, three significant digits each."""
    if values.mean is None or values.sd is None:
        return shown(values.mean)
    return f"{shown(values.mean)} ± {shown(values.sd)}"


def interval(values: Spread) -> str:
    """Return ``[0.766, 0.776]``; a dash where there is no interval."""
    if values.low is None or values.high is None:
        return EMPTY
    return f"[{shown(values.low)}, {shown(values.high)}]"


def conditions_table(result: Result) -> Grid:
    """Return one row per condition and finding: what it says, its bounds, what was measured, how it stands."""
    groups = {
        "for reproduced": result.judgement.reproduced,
        "for not reproduced": result.judgement.not_reproduced,
        "beside the rule": result.judgement.findings,
    }
    lines = [
        [part, checked.condition.says, checked.condition.bounds, *measured_parts(checked), checked.status]
        for part, conditions in groups.items()
        for checked in conditions
    ]
    return Grid(["part", "condition", "bounds", "mean ± sd", "95 % interval", "status"], lines)


def verdicts_table(results: Sequence[Result]) -> Grid:
    """Return one row per claim: its rule, what was measured with its spread over seeds, and the verdict."""
    return Grid(VERDICT_COLUMNS, [_verdict_row(result) for result in results])


def _verdict_row(result: Result) -> list[str]:
    claim, judgement = result.claim, result.judgement
    measured = "; ".join(
        f"{checked.condition.quantity} = {' '.join(part for part in measured_parts(checked) if part != EMPTY)}"
        for checked in (*judgement.reproduced, *judgement.not_reproduced)
    )
    return [
        claim.id,
        claim.title,
        claim.claim.en,
        f"{claim.paper.citation.partition(',')[0]}, arXiv:{claim.paper.arxiv}",
        str(result.rows.seed.nunique()),
        "; ".join(condition.bounds for condition in claim.rule.reproduced),
        measured or result.missing,
        judgement.verdict,
    ]


def measured_parts(checked: Checked) -> tuple[str, str]:
    """Return mean ± standard deviation, and the interval or, where not every seed has the quantity, how many have."""
    measured = checked.measured
    if measured.count < checked.seeds:
        return mean_and_sd(measured), f"({measured.count} of {checked.seeds} seeds have it)"
    geometric = " (geometric mean)" if checked.is_geometric else ""
    return mean_and_sd(measured), interval(measured) + geometric


def _groups(result: Result) -> list[tuple[list[str], list[list[float]], int]]:
    """Return keys, the values of every measured column over seeds, and the number of seeds, in measured order."""
    setup = result.claim.setup
    return [
        (
            [f"{part:g}" if isinstance(part, float) else str(part) for part in key],
            [[float(value) for value in group[name].dropna()] for name in setup.values],
            len(group),
        )
        for key, group in result.rows.groupby(list(setup.keys), sort=False)
    ]


def _parts(values: Sequence[float]) -> list[float | None]:
    found = spread(values)
    return [found.mean, found.sd, min(values, default=None), max(values, default=None)]
