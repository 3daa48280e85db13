"""Runs that differ in nothing but the seed, put together: one network of the table, and what padding does to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from experiments.padding.arrangements import ALONE, AS_TESTED, MORE_COLUMNS, more
from experiments.padding.measure import Effect, RunEffects
from experiments.reporting.render import plural, rounded
from experiments.runs.naming import order_conditions
from experiments.statistics.seeds import Spread, spread
from lightning_modules.schemes.variants import VARIANTS


@dataclass(frozen=True)
class Network:
    """The runs of one condition folder, ``condition/cell``."""

    label: str
    """The condition's title, with its folder where another one of the condition stands beside it."""
    condition: str
    runs: tuple[RunEffects, ...]

    @property
    def arrangements(self) -> list[str]:
        """Arrangements, from no padding to most."""
        return [effect.arrangement for effect in self.runs[0].effects]

    def effects(self, arrangement: str) -> list[Effect]:
        """Return the effect of an arrangement in every run."""
        return [effect for run in self.runs for effect in run.effects if effect.arrangement == arrangement]

    def spread(self, arrangement: str, quantity: str) -> Spread:
        """Return mean and spread over runs of a quantity of :class:`Effect`."""
        return spread([getattr(effect, quantity) for effect in self.effects(arrangement)])

    def largest_change(self, arrangement: str) -> float:
        """Return the largest change of a probability in any run."""
        return max(effect.largest_change for effect in self.effects(arrangement))


def networks_of(runs: Sequence[RunEffects]) -> list[Network]:
    """Put runs together by condition folder, in the order of conditions."""
    order = order_conditions({run.condition for run in runs})
    ordered = sorted(runs, key=lambda run: (order.index(run.condition), run.folder_name))
    groups = [(name, tuple(group)) for name, group in groupby(ordered, key=lambda run: run.folder_name)]
    conditions = [group[0].condition for _, group in groups]
    return [
        Network(label_of(condition, name if conditions.count(condition) > 1 else ""), condition, group)
        for condition, (name, group) in zip(conditions, groups, strict=True)
    ]


def label_of(condition: str, folder: str) -> str:
    """Return a condition's title, with its folder where one is given to tell it from another."""
    title = VARIANTS[condition].title if condition in VARIANTS else condition
    return f"{title} ({folder})" if folder else title


def finding(networks: Sequence[Network]) -> str:
    """Return what the most padding, and none, does to the answers of every network, in two sentences."""
    most, counts = MORE_COLUMNS[-1], sorted({len(network.runs) for network in networks})
    changed = [f"{share_of_rows(network, more(most))} under {network.label}" for network in networks]
    scores = [
        f"{mean_f1(network, ALONE)} instead of {mean_f1(network, AS_TESTED)} under {network.label}"
        for network in networks
    ]
    counted = plural(counts[0], "run") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} runs"
    each = " each" if len(networks) > 1 else ""
    return (
        f"{most} more columns of padding change the predicted class of {' and of '.join(changed)}. "
        f"Without padding, macro F1 is {' and '.join(scores)} ({networks[0].runs[0].corpus}, {counted}{each})."
    )


def share_of_rows(network: Network, arrangement: str) -> str:
    """Return the mean share of rows whose class changed, in words; ``no row`` only where no run changed any."""
    changed = [effect.changed for effect in network.effects(arrangement)]
    return f"{100 * sum(changed) / len(changed):.1f} % of the rows" if any(changed) else "no row"


def mean_f1(network: Network, arrangement: str) -> str:
    """Return the mean of macro-F1 over runs."""
    return rounded(network.spread(arrangement, "macro_f1").mean)
