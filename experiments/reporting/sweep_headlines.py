"""What a curve of scores along a swept number shows, as a sentence computed from its runs."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.reporting.render import rounded
from experiments.reporting.rows import Row
from experiments.reporting.spoken import spoken_value
from experiments.reporting.swept_curves import Curve, Panel
from experiments.reporting.tables import macro_f1_difference
from experiments.runs.naming import spell

SPOKEN = {"hold": "holds ({})", "fall": "falls to {}", "rise": "rises to {}"}
CHANGE_SAID = "holds: the 95 % interval of its change, paired by seed, includes zero"


def means_of(rows: Sequence[Row]) -> list[float]:
    """Return the mean test macro-F1 of every row that has scores."""
    return [mean for row in rows if (mean := row.test("macro_f1").mean) is not None]


def sweep_headline(name: str, panels: Sequence[Panel]) -> str:
    """Return how every condition changes from the least to the greatest value, in the panel where they end furthest
    apart.

    A condition falls or rises where the 95 % t-interval of the change, paired by seed, excludes zero; else it holds.
    """
    greatest = max(value for panel in panels for curve in panel.curves for value in curve.values)
    ends = {
        place: found
        for place, panel in enumerate(panels)
        if (found := [curve for curve in panel.curves if curve.values[-1] == greatest and means_of(curve.rows[-1:])])
    }
    if not ends:
        return f"No run at {spoken_value(name, greatest)} has a score"
    place = max(ends, key=lambda at: _width(ends[at]))
    curves = sorted(ends[place], key=lambda curve: -means_of(curve.rows[-1:])[0])
    least = min(value for curve in curves for value in curve.values)
    where = f" ({panels[place].title})" if panels[place].title else ""
    head = f"Test macro F1 from {_stretch(name, least, greatest)}{where}: "
    changes = [_change(curve) for curve in curves]
    if None in changes:
        return head + "; ".join(f"{curve.label} {_both_ends(curve)}" for curve in curves)
    bare = [curve for curve in curves if curve.rows[-1].fact("skips") == 0]
    kinds = {change for curve, change in zip(curves, changes, strict=True) if curve in bare}
    grouped = bare if len(bare) > 1 and len(kinds) == 1 else []
    said = [
        f"{curve.label} {SPOKEN[change].format(_end(curve))}"
        for curve, change in zip(curves, changes, strict=True)
        if curve not in grouped and change
    ]
    if grouped:
        scores = f"{_end(grouped[-1])} to {_end(grouped[0])}"
        all_ = "both" if len(grouped) == 2 else f"all {len(grouped)}"
        said.append(f"{all_} without residual connections {kinds.pop()} ({scores})")
    return head + "; ".join(said)


def _width(curves: Sequence[Curve]) -> float:
    ends = [means_of(curve.rows[-1:])[0] for curve in curves]
    return max(ends) - min(ends)


def _change(curve: Curve) -> str | None:
    """Return what a curve does; None where its change has no interval."""
    if len(curve.rows) < 2:
        return None
    change = macro_f1_difference(curve.rows[-1], curve.rows[0])
    if change.low is None or change.high is None:
        return None
    return "fall" if change.high < 0 else "rise" if change.low > 0 else "hold"


def _both_ends(curve: Curve) -> str:
    means = [rounded(means_of([row])[0]) for row in (curve.rows[0], curve.rows[-1]) if means_of([row])]
    return means[-1] if len(curve.rows) == 1 else " to ".join(means)


def _end(curve: Curve) -> str:
    return rounded(means_of(curve.rows[-1:])[0])


def _stretch(name: str, least: float, greatest: float) -> str:
    """Return ``1 to 24 layers`` or ``learning rate 0.0003 to 0.003``."""
    first, last = spoken_value(name, least), spoken_value(name, greatest)
    spelled = spell(greatest)
    return f"{spell(least)} to {last}" if last.startswith(spelled) else f"{first} to {spelled}"
