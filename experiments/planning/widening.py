"""Further tuning trials, one at a time: beyond the best value if it lies at the edge of what was tried.

A choice at the edge leaves open what lies beyond. With ``tuning.widen: N`` *every* tuned condition gets N more trials
than its space lists. So all keep the same budget, whether their choice lay at an edge or not. Each further trial starts
from the condition's best so far and moves one setting. It moves outwards by the ratio of the last step if the best
value is the smallest or largest tried. Else it moves half-way (geometric mean) to the neighbour further off. A
condition that was listed well thus spends its trials on a finer choice. Only a condition's own validation scores
decide, so equal records give equal trials, in whatever order and company they were made.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

from experiments.errors import ExperimentError

Trial = dict[str, Any]


def next_trial(trials: Sequence[Trial], best: Trial, is_valid: Callable[[Trial], bool]) -> Trial:
    """Return the trial that follows ``trials``, of which ``best`` scored highest.

    Args:
        trials: all that were made, the listed ones first.
        best: one of them; the order of its settings decides which is moved first.
        is_valid: tells whether a configuration takes a trial's values.

    Raises:
        ExperimentError: if no setting can be moved any further.
    """
    for name, value in moves(trials, best):
        trial = {**best, name: value}
        if trial not in trials and is_valid(trial):
            return trial
    raise ExperimentError(f"tuning.widen finds no further trial from {best}; lower it or list more values")


def moves(trials: Sequence[Trial], best: Trial) -> Iterator[tuple[str, float]]:
    """Yield setting and value of every move from ``best``: outwards first, then between, settings in their order."""
    tried = {name: values_tried(name, trials) for name in best}
    movable = [name for name, values in tried.items() if is_ladder(values)]
    for name in movable:
        yield from ((name, value) for value in beyond(best[name], tried[name]))
    for name in movable:
        yield from ((name, value) for value in between(best[name], tried[name]))


def values_tried(name: str, trials: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the different values of a setting, in the order in which trials first have them."""
    return list(dict.fromkeys(trial[name] for trial in trials if name in trial))


def is_ladder(values: Sequence[Any]) -> bool:
    """Tell whether values have edges: at least two numbers above 0, such as rates or gains.

    Whole numbers (layers) have no value between any two, and a zero (no warm-up) no value beyond.
    """
    return len(values) > 1 and all(isinstance(value, float) and value > 0 for value in values)


def is_at_edge(value: Any, values: Sequence[Any]) -> bool:
    """Tell whether ``value`` is the smallest or largest of values that have edges."""
    return is_ladder(values) and value in (min(values), max(values))


def beyond(value: float, values: Sequence[float]) -> Iterator[float]:
    """Yield the value outside the edge at which ``value`` lies, as far off as its neighbour inside; else nothing."""
    ladder = sorted(values)
    if value == ladder[0]:
        yield shortened(value * value / ladder[1], ladder)
    elif value == ladder[-1]:
        yield shortened(value * value / ladder[-2], ladder)


def between(value: float, values: Sequence[float]) -> Iterator[float]:
    """Yield the geometric means of ``value`` and its neighbours, the wider gap first."""
    ladder = sorted(values)
    place = ladder.index(value)
    neighbours = [ladder[near] for near in (place + 1, place - 1) if 0 <= near < len(ladder)]
    for neighbour in sorted(neighbours, key=lambda other: max(other / value, value / other), reverse=True):
        yield shortened(sqrt(value * neighbour), ladder)


def shortened(value: float, ladder: Sequence[float]) -> float:
    """``value`` with two significant digits, as a person would write it, unless that passes a tried value.

    Args:
        value: a new one.
        ladder: what was tried, in ascending order.
    """
    short = float(f"{value:.2g}")
    passes = short in ladder or bisect(ladder, short) != bisect(ladder, value)
    return value if passes else short
