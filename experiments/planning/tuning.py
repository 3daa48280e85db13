"""Tuning: every condition gets the same number of trials, and validation alone chooses among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Any

from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.records.record import Record

FIRST_TUNING_SEED = 1000
"""Tuning has seeds of its own, so that no final run was looked at while choosing."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The trials of a grid.

    ``spaces`` maps a variant (or ``default``) to the values that are tried, by dotted names; a trial is one
    combination. A variant may have a space of its own (a norm-free one needs other initial gains), but never another
    number of trials.
    """

    seeds: tuple[int, ...]
    spaces: Mapping[str, Mapping[str, Sequence[Any]]]

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Tuning | None:
        """Build from the grid's ``tuning`` section; None where it is empty.

        Raises:
            ExperimentError: where variants would get different numbers of trials.
        """
        if not content:
            return None
        for key in content:
            reject_unknown("tuning key", key, ("seeds", "spaces"))
        spaces = content.get("spaces") or {}
        if "default" not in spaces:
            raise ExperimentError("tuning.spaces needs an entry 'default'")
        tuning = cls(seeds=tuple(FIRST_TUNING_SEED + i for i in range(int(content.get("seeds", 1)))), spaces=spaces)
        budget = len(tuning.trials_of("default"))
        for name in spaces:
            if len(tuning.trials_of(name)) != budget:
                raise ExperimentError(
                    f"tuning.spaces.{name} has {len(tuning.trials_of(name))} trials and default has {budget}; "
                    "every variant must get the same number"
                )
        return tuning

    def trials_of(self, variant: str) -> tuple[dict[str, Any], ...]:
        """Return the combinations tried for a variant, in the order in which ties are broken."""
        space = self.spaces.get(variant, self.spaces["default"])
        return tuple(dict(zip(space, values, strict=True)) for values in product(*space.values()))


def choose(trials: Sequence[dict[str, Any]], records: Sequence[Record]) -> dict[str, Any] | None:
    """Return the trial with the best mean validation macro-F1 over the tuning seeds; the first one wins a tie.

    A diverged or failed run counts as 0. None while a trial has no record.
    """
    means = []
    for trial in trials:
        scores = [
            record.validation.macro_f1 if record.validation else 0.0 for record in records if record.tuned == trial
        ]
        if not scores:
            return None
        means.append(fmean(scores))
    return dict(trials[means.index(max(means))])
