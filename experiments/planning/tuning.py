"""Tuning as a grid's ``tuning`` section states it; :mod:`experiments.planning.search` follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.planning.parser import checked_value
from experiments.planning.widening import is_ladder
from experiments.planning.yaml_files import mapping_of, values_of, whole_number
from lightning_modules.schemes.variants import VARIANTS

MOST_TRIALS = 10_000
"""Most listed trials of a condition."""
FIRST_TUNING_SEED = 1000
"""First of the seeds of tuning, which no final run has: so no final run was looked at while choosing."""
KEYS = ("seeds", "pilot", "around", "spaces", "widen", "extend", "confirm", "carry")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The rules by which a grid chooses values, the same for every condition.

    ``spaces`` maps a condition, a variant or ``default`` to the values that are tried, by dotted names; a trial is one
    combination. A condition may have a space of its own (a norm-free variant needs other initial gains, SGD other
    rates), but never another number of trials.
    """

    seeds: tuple[int, ...]
    """Seeds of every trial."""
    spaces: Mapping[str, Mapping[str, Sequence[Any]]]
    pilot: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """One setting and the ladder on which it is centred first; empty without a pilot."""
    around: tuple[float, ...] = (1.0,)
    """Multiples of the pilot's best that are combined with ``spaces``."""
    widen: int = 0
    """Further trials of every condition, after those of its space."""
    extend: int = 0
    """Most further trials of a condition of which fewer than half are useful."""
    confirm_top: int = 0
    """Best trials that are made again with :attr:`confirm_seeds`."""
    confirm_seeds: tuple[int, ...] = ()
    """Further tuning seeds."""
    carry: str | None = None
    """Swept setting at whose larger values only the best trials of the smallest are tried."""
    carry_top: int = 0
    """How many these are."""

    @classmethod
    def parse(cls, content: Mapping[str, Any], conditions: Sequence[str] = ()) -> Tuning | None:
        """Build from the grid's ``tuning`` section; None if it is empty.

        Args:
            content: the section.
            conditions: names of the grid's conditions, which ``spaces`` may name as well as variants.

        Raises:
            ExperimentError: if variants would get different numbers of trials, or a space cannot be widened.
        """
        if not content:
            return None
        for key in content:
            reject_unknown("tuning key", key, KEYS)
        spaces = mapping_of(content, "spaces", "tuning.")
        pilot = checked_pilot(content)
        if "default" not in spaces and not (pilot and not spaces):
            raise ExperimentError("tuning.spaces needs an entry 'default'")
        for variant in spaces:
            reject_unknown("tuning.spaces: variant", variant, ("default", *VARIANTS, *conditions))
        count = whole_number("tuning.seeds", content.get("seeds", 1))
        top, further = counts_of(content, "confirm", "top", "seeds")
        carry = mapping_of(content, "carry", "tuning.")
        if len(carry) > 1:
            raise ExperimentError(f"tuning.carry names {', '.join(carry)}; it takes one swept setting")
        tuning = cls(
            seeds=tuple(FIRST_TUNING_SEED + i for i in range(count)),
            spaces={variant: checked_space(spaces, variant) for variant in spaces} or {"default": {}},
            pilot=pilot,
            around=tuple(checked_factor(factor) for factor in values_of(content, "around", "tuning.", optional=True))
            or (1.0,),
            widen=whole_number("tuning.widen", content.get("widen", 0), least=0),
            extend=whole_number("tuning.extend", content.get("extend", 0), least=0),
            confirm_top=top,
            confirm_seeds=tuple(FIRST_TUNING_SEED + count + i for i in range(further)),
            carry=next(iter(carry), None),
            carry_top=whole_number("tuning.carry", next(iter(carry.values())), least=1) if carry else 0,
        )
        tuning.refuse_unfair()
        return tuning

    def refuse_unfair(self) -> None:
        """Raise :class:`ExperimentError` unless every space lists equally many trials and can be widened if need be."""
        budget = prod(map(len, self.spaces["default"].values()))
        for name, space in self.spaces.items():
            listed = prod(map(len, space.values()))
            if listed * len(self.around) > MOST_TRIALS:
                raise ExperimentError(f"tuning.spaces.{name} has {listed:,} trials; at most {MOST_TRIALS:,} are made")
            if listed != budget:
                raise ExperimentError(
                    f"tuning.spaces.{name} has {listed} trials and default has {budget}; "
                    "every variant must get the same number"
                )
            for setting in self.pilot:
                if setting in space:
                    raise ExperimentError(
                        f"tuning.spaces.{name} lists {setting}, which the pilot centres; say under tuning.around "
                        "which multiples of the pilot's best to try"
                    )
            for key in ("widen", "extend"):
                if getattr(self, key) and not self.pilot and not any(is_ladder(values) for values in space.values()):
                    raise ExperimentError(
                        f"tuning.{key} is {getattr(self, key)}, but tuning.spaces.{name} has no setting with at least "
                        "two different numbers above 0, such as model.learning_rate: [1e-3, 3e-3]"
                    )

    def space_of(self, *names: str) -> Mapping[str, Sequence[Any]]:
        """Return the space of a condition: that of the first of ``names`` that has one of its own, else ``default``."""
        return next(self.spaces[name] for name in (*names, "default") if name in self.spaces)

    def trials_of(self, *names: str) -> tuple[dict[str, Any], ...]:
        """Return the combinations that a condition tries first, in the order in which ties are broken.

        With a pilot these are its ladder, with the first value of everything else.

        Args:
            names: of the condition and its variant, as for :meth:`space_of`.
        """
        space = dict(self.space_of(*names))
        if self.pilot:
            space = {**self.pilot, **{name: values[:1] for name, values in space.items()}}
        return tuple(dict(zip(space, values, strict=True)) for values in product(*space.values()))

    def most_trials(self, first: Sequence[Any]) -> int:
        """Return the largest number of trials, apart from seeds, of a condition that begins with ``first``."""
        listed = prod(map(len, self.spaces["default"].values())) * len(self.around) if self.pilot else 0
        again = 1.0 in self.around if self.pilot else 0  # the pilot's best itself
        return len(first) + listed - again + self.widen + self.extend

    @property
    def confirmations(self) -> int:
        """Runs that confirm the best trials of a condition."""
        return self.confirm_top * len(self.confirm_seeds)


def counts_of(content: Mapping[str, Any], key: str, *names: str) -> list[int]:
    """Return the whole numbers of a part of the section, zeros if the grid leaves it out.

    Raises:
        ExperimentError: one is missing, below 1 or of another name.
    """
    part = mapping_of(content, key, "tuning.")
    for name in part:
        reject_unknown(f"tuning.{key}: key", name, names)
    return [whole_number(f"tuning.{key}.{name}", part.get(name)) if part else 0 for name in names]


def checked_pilot(content: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the pilot's one setting with its ladder, checked; empty without a pilot."""
    pilot = mapping_of(content, "pilot", "tuning.")
    if not pilot:
        if "around" in content:
            raise ExperimentError("tuning.around is there without tuning.pilot, whose best it multiplies")
        return {}
    if len(pilot) > 1:
        raise ExperimentError(f"tuning.pilot names {', '.join(pilot)}; it takes one setting")
    (name,) = pilot
    values = [checked_value(name, value) for value in values_of(pilot, name, "tuning.pilot.")]
    if not is_ladder(values):
        raise ExperimentError(f"tuning.pilot.{name} is {values}; it needs at least two different numbers above 0")
    return {name: values}


def checked_factor(value: Any) -> float:
    """Return a multiple of the pilot's best, checked."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ExperimentError(f"tuning.around holds {value!r}; it needs numbers above 0, such as [0.5, 1, 2]")
    return float(value)


def checked_space(spaces: Mapping[str, Any], variant: str) -> dict[str, list[Any]]:
    """Return the values that are tried for a variant, each checked for its type."""
    where = f"tuning.spaces.{variant}."
    space = mapping_of(spaces, variant, "tuning.spaces.")
    if not space:
        raise ExperimentError(f"tuning.spaces.{variant} names no values to try")
    return {name: [checked_value(name, value) for value in values_of(space, name, where)] for name in space}
