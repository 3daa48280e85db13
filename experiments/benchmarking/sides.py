"""The sides of the benchmark: each trains the same task in its own way.

Ours train in the configured precision; those of others train in float32, as they do by default.
"""

from __future__ import annotations

from experiments.benchmarking.own_sides import train_with_a_plain_loop, train_with_lightning
from experiments.benchmarking.task import Side
from experiments.planning.names import reject_unknown

SIDES: dict[str, Side] = {
    "lightning": train_with_lightning,
    "plain": train_with_a_plain_loop,
}


def named_side(name: str) -> Side:
    """Return a side by its name.

    Raises:
        ExperimentError: where there is none of this name; the message names the nearest.
    """
    reject_unknown("side", name, SIDES)
    return SIDES[name]
