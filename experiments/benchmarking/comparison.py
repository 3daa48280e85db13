"""What the rounds say about every side: medians, ratios with their interval, utilisation. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from experiments.benchmarking.pairs import MedianInterval, median_interval
from experiments.benchmarking.rounds import Round
from experiments.planning.run_config import RunConfig

WORKERS = "workers"
"""The side that trains as many single-thread runs at once as the others have threads."""
REFERENCES = (WORKERS, "lightning")
"""Sides that the others are compared with: the first of them that was measured."""
OWN_SIDES = (*REFERENCES, "plain")
"""Sides that train in the configured precision; all others train in float32."""
OTHER_BATCHES = ("hf_trainer", "hf_trainer_fixed")
"""Sides that draw random batches of their own; all others train on the same length-grouped ones."""


@dataclass(frozen=True)
class Comparison:
    """Finished rounds over several sides."""

    names: Sequence[str]
    config: RunConfig
    rounds: Sequence[Round]
    flops_per_token: int
    """Operations of our network's matrix products, forward and backward, per real token; taken for every side."""
    peak_memory: Mapping[str, float]
    """MiB of a process of its own, by side; empty where memory was not measured."""
    matrix_size: int
    """Side of the square matrices whose product gives the machine's rates."""
    machine: Mapping[str, str]
    """Processor, versions, date."""

    @property
    def reference(self) -> str:
        """The side that all are compared with: the first of ``REFERENCES`` that was measured, else the first side."""
        return next((name for name in REFERENCES if name in self.names), self.names[0])

    def precision(self, side: str) -> str:
        """Return the precision that a side trained in."""
        return self.config.trainer.precision if side in OWN_SIDES else "32-true"

    def tokens_per_second(self, side: str) -> float:
        """Return the median of a side's real tokens per second."""
        return median(each.timings[side].tokens_per_second for each in self.rounds)

    def rows_per_second(self, side: str) -> float:
        """Return the median of a side's rows per second."""
        return median(each.timings[side].rows_per_second for each in self.rounds)

    def padding(self, side: str) -> float:
        """Return the share of padding in a side's batches; random batches differ a little from round to round."""
        return median(each.timings[side].padding for each in self.rounds)

    def speedups(self, side: str) -> list[float]:
        """Return, round by round, how many times as fast as a side the reference trained (real tokens per second)."""
        return [
            each.timings[self.reference].tokens_per_second / each.timings[side].tokens_per_second
            for each in self.rounds
        ]

    def speedup(self, side: str) -> MedianInterval:
        """Return the median of :meth:`speedups` with its distribution-free interval."""
        return median_interval(self.speedups(side))

    def machine_rate(self, number_format: str) -> float:
        """Return the median of the machine's operations per second in ``float32`` or ``bfloat16``."""
        return median(each.machine_rates[number_format] for each in self.rounds)

    def utilisation(self, side: str, number_format: str) -> float:
        """Return the model FLOP utilisation (Chowdhery et al. 2022, arXiv:2204.02311, appendix B), median of rounds.

        ::

            operations per real token × real tokens per second / operations per second of the machine's matrix product

        Padding and whatever a side computes beyond our network count as waste.
        """
        return median(
            self.flops_per_token * each.timings[side].tokens_per_second / each.machine_rates[number_format]
            for each in self.rounds
        )
