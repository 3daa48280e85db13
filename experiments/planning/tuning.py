"""Tuning: every condition gets the same number of trials, and validation alone chooses among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from statistics import fmean
from typing import Any

from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.planning.parser import checked_value
from experiments.planning.widening import is_ladder
from experiments.planning.yaml_files import mapping_of, values_of, whole_number
from experiments.runs.record import Record
from experiments.tasks import task_named
from lightning_modules.schemes.variants import VARIANTS

MOST_TRIALS = 10_000
"""Most trials of a condition."""
FIRST_TUNING_SEED = 1000
"""Tuning has seeds of its own, so that no final run was looked at while choosing."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The trials of a grid.

    ``spaces`` maps a condition, a variant or ``default`` to the values that are tried, by dotted names; a trial is one
    combination. A condition may have a space of its own (a norm-free variant needs other initial gains, SGD other
    rates), but never another number of trials.
    """

    seeds: tuple[int, ...]
    spaces: Mapping[str, Mapping[str, Sequence[Any]]]
    widen: int = 0
    """Further trials of every condition, after those of its space, as :mod:`~experiments.planning.widening` says."""

    @classmethod
    def parse(cls, content: Mapping[str, Any], conditions: Sequence[str] = ()) -> Tuning | None:
        """Build from the grid's ``tuning`` section; None where it is empty.

        Args:
            content: the section.
            conditions: names of the grid's conditions, which ``spaces`` may name as well as variants.

        Raises:
            ExperimentError: where variants would get different numbers of trials, or a space cannot be widened.
        """
        if not content:
            return None
        for key in content:
            reject_unknown("tuning key", key, ("seeds", "spaces", "widen"))
        spaces = mapping_of(content, "spaces", "tuning.")
        if "default" not in spaces:
            raise ExperimentError("tuning.spaces needs an entry 'default'")
        for variant in spaces:
            reject_unknown("tuning.spaces: variant", variant, ("default", *VARIANTS, *conditions))
        tuning = cls(
            seeds=tuple(FIRST_TUNING_SEED + i for i in range(whole_number("tuning.seeds", content.get("seeds", 1)))),
            spaces={variant: checked_space(spaces, variant) for variant in spaces},
            widen=whole_number("tuning.widen", content.get("widen", 0), least=0),
        )
        for name, space in tuning.spaces.items():
            combinations = prod(len(values) for values in space.values())
            if combinations > MOST_TRIALS:
                raise ExperimentError(
                    f"tuning.spaces.{name} has {combinations:,} trials; at most {MOST_TRIALS:,} are made"
                )
        budget = len(tuning.trials_of("default"))
        for name in spaces:
            if len(tuning.trials_of(name)) != budget:
                raise ExperimentError(
                    f"tuning.spaces.{name} has {len(tuning.trials_of(name))} trials and default has {budget}; "
                    "every variant must get the same number"
                )
            if tuning.widen and not any(is_ladder(values) for values in tuning.spaces[name].values()):
                raise ExperimentError(
                    f"tuning.widen is {tuning.widen}, but tuning.spaces.{name} has no setting with at least two "
                    "different numbers above 0, such as model.learning_rate: [1e-3, 3e-3]"
                )
        return tuning

    def trials_of(self, *names: str) -> tuple[dict[str, Any], ...]:
        """Return the combinations tried for a condition, in the order in which ties are broken.

        Args:
            names: of the condition and its variant; the first that has a space of its own decides, else ``default``.
        """
        space = next(self.spaces[name] for name in (*names, "default") if name in self.spaces)
        return tuple(dict(zip(space, values, strict=True)) for values in product(*space.values()))


def checked_space(spaces: Mapping[str, Any], variant: str) -> dict[str, list[Any]]:
    """Return the values that are tried for a variant, each checked for its type."""
    where = f"tuning.spaces.{variant}."
    space = mapping_of(spaces, variant, "tuning.spaces.")
    if not space:
        raise ExperimentError(f"tuning.spaces.{variant} names no values to try")
    return {name: [checked_value(name, value) for value in values_of(space, name, where)] for name in space}


def choose(
    trials: Sequence[dict[str, Any]], records: Sequence[Record], seeds: Sequence[int] = (FIRST_TUNING_SEED,)
) -> dict[str, Any] | None:
    """The trial with the best mean of the task's primary metric on validation over the tuning seeds.

    The first one wins a tie. A run without a score, such as one that diverged, counts as the metric's worst value.
    None while a trial lacks the record of a seed, or an error stopped it: a choice among some of the trials could be
    another one than that among all.
    """
    if not records:
        return None
    metric = task_named(records[0].task).primary_metric
    means = []
    for trial in trials:
        scores = {
            record.seed: metric.worst if score is None else score
            for record in records
            if record.tuned == trial and record.outcome.status != "failed"
            for score in [record.score("validation", metric.name)]
        }
        if any(seed not in scores for seed in seeds):
            return None
        means.append(fmean(scores[seed] for seed in seeds))
    return dict(trials[means.index(metric.best(means))])
