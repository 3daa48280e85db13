"""The order of largest rates that a paper published, judged from the stability map (T6); and all planned results.

A planned result is a file in ``experiments/claims/planned``: a published result with the rule by which it would be
judged and the price of its runs, stated before any of them. Free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError
from experiments.paths import CLAIMS, GRIDS
from experiments.planning.yaml_files import read_yaml
from experiments.runs.canonical import decode
from experiments.studies.published import Paper, Reproduction
from experiments.studies.rate_edges import NAME, Edge, RateSetup
from lightning_modules.errors import reject_unknown
from lightning_modules.schemes.variants import VARIANTS

PLANNED = CLAIMS / "planned"
NEAR = 4.0
"""Factor by which a ratio must fall short to be refuted: each of two edges is known to a factor of two."""


@dataclass(frozen=True, kw_only=True)
class RateRatio:
    """What a paper says of the largest rates of two schemes."""

    over: str
    under: str
    at_least: float
    """Least ratio of the rate of ``over`` to that of ``under``."""

    def __post_init__(self) -> None:
        for scheme in (self.over, self.under):
            reject_unknown("ratios: scheme", scheme, VARIANTS)


@dataclass(frozen=True, kw_only=True)
class PlannedResult:
    """A published result whose runs are not made yet, or whose answer is in the stability map."""

    id: str
    title: str
    paper: Paper
    claim: str
    grid: str
    """Grid of its runs, or the stability map."""
    reproduced: str
    """Rule, in words."""
    not_reproduced: str
    differs: str
    """How the setup differs from the paper's."""
    price: str
    """What the runs cost."""
    conditions: list[str] = field(default_factory=list)
    """Schemes of the grid."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What it sweeps, apart from the grid."""
    layers_at_least: int = 0
    """Least depth at which it may be judged."""
    ratios: list[RateRatio] = field(default_factory=list)
    """What is judged from the stability map."""

    def __post_init__(self) -> None:
        reject_unknown("grid", self.grid, [NAME, *(path.stem for path in GRIDS.glob("*.yaml"))])
        for scheme in self.conditions:
            reject_unknown("conditions: scheme", scheme, VARIANTS)


def read_planned(folder: Path = PLANNED) -> list[PlannedResult]:
    """Read every planned result, T6 before T13.

    Raises:
        ExperimentError: naming the file and the field.
    """
    found = []
    for path in folder.glob("*.yaml"):
        try:
            found.append(decode(PlannedResult, read_yaml(path)))
        except ValueError as error:
            raise ExperimentError(f"{path.name}: {error}") from None
    return sorted(found, key=lambda result: int(result.id.lstrip("T")))


@dataclass(frozen=True)
class CheckedRatio:
    """A ratio with what was measured; a scheme that survived no rate counts as below the lowest one."""

    ratio: RateRatio
    measured: float
    """The measured ratio, or a bound on it."""
    bound: str
    """``≥`` or ``≤`` where one scheme survived no rate, else empty."""
    holds: bool
    fails: bool


def check_ratios(
    setup: RateSetup, ratios: Sequence[RateRatio], edges: Mapping[tuple[str, int], Edge], layers: int
) -> list[CheckedRatio] | None:
    """Check the ratios at a depth; None while a scheme's edge there is unknown."""
    found = []
    for ratio in ratios:
        over, under = edges.get((ratio.over, layers)), edges.get((ratio.under, layers))
        if over is None or under is None:
            return None
        lowest = setup.rate(setup.lowest)
        high = lowest if over.power is None else setup.rate(over.power)
        low = lowest if under.power is None else setup.rate(under.power)
        measured = high / low
        unknown = over.power is None and under.power is None
        bound = "" if over.power is not None and under.power is not None else "≥" if under.power is None else "≤"
        holds = not unknown and bound != "≤" and measured >= ratio.at_least
        fails = not unknown and bound != "≥" and measured <= ratio.at_least / NEAR
        found.append(CheckedRatio(ratio, measured, "?" if unknown else bound, holds, fails))
    return found


def verdict_of(checked: Sequence[CheckedRatio] | None) -> Reproduction:
    """Return what the rule says: all hold, one falls short by more than two edges can be wrong, or neither."""
    if not checked:
        return Reproduction.NOT_RUN
    if all(each.holds for each in checked):
        return Reproduction.REPRODUCED
    return Reproduction.NOT_REPRODUCED if any(each.fails for each in checked) else Reproduction.INCONCLUSIVE
