"""Training steps of several variants side by side: milliseconds, and their ratio within rounds. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.benchmarking.pairs import MedianInterval, median_interval
from experiments.benchmarking.rounds import Round
from experiments.errors import ExperimentError
from experiments.planning.grid import Grid
from experiments.planning.names import reject_unknown
from experiments.planning.run_config import RunConfig
from lightning_modules.schemes.variants import VARIANTS

GRID = "claims"
"""The grid whose variants are measured unless others are named."""
REFERENCE = "post_ln"
"""The variant that the others are compared with, where it was measured; else the first one is."""


@dataclass(frozen=True)
class VariantTimes:
    """Finished rounds over several variants of one configuration."""

    names: Sequence[str]
    config: RunConfig
    rounds: Sequence[Round]
    machine: Mapping[str, str]
    """Processor, versions, date."""

    @property
    def reference(self) -> str:
        """The variant that all are compared with."""
        return REFERENCE if REFERENCE in self.names else self.names[0]

    @property
    def others(self) -> list[str]:
        """The variants that are compared with the reference."""
        return [name for name in self.names if name != self.reference]

    @property
    def steps(self) -> int:
        """Optimiser steps of a measurement."""
        return self.rounds[0].timings[self.reference].steps

    def milliseconds(self, name: str) -> list[float]:
        """Return the milliseconds of a training step, round by round, each the mean over a measurement's steps."""
        return [each.milliseconds_per_step(name) for each in self.rounds]

    def step(self, name: str) -> MedianInterval:
        """Return the median of :meth:`milliseconds` with its distribution-free interval."""
        return median_interval(self.milliseconds(name))

    def ratios(self, name: str) -> list[float]:
        """Return, round by round, a variant's milliseconds over the reference's: above 1 where it is slower."""
        pairs = zip(self.milliseconds(name), self.milliseconds(self.reference), strict=True)
        return [ours / reference for ours, reference in pairs]

    def ratio(self, name: str) -> MedianInterval:
        """Return the median of :meth:`ratios` with its interval: paired, so that a slow spell strikes both alike."""
        return median_interval(self.ratios(name))


def chosen_variants(given: Sequence[str]) -> list[str]:
    """Return the variants to measure: those given, or where none are, those of the grid ``claims``.

    Raises:
        ExperimentError: where one is unknown or named twice, or there is nothing to compare it with.
    """
    if not given:
        conditions = [condition for condition in Grid.load(GRID).conditions if not condition.baseline]
        return list(dict.fromkeys(condition.config.model.variant for condition in conditions))
    for name in given:
        reject_unknown("variant", name, VARIANTS)
        if given.count(name) > 1:
            raise ExperimentError(f"--variants names {name} {given.count(name)} times")
    if len(given) < 2:
        raise ExperimentError(f"--variants names {given[0]} alone; name another one to compare it with")
    return list(given)
