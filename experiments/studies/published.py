"""A published result as its claim file states it, and the rule that says whether it is reproduced here.

A criterion bounds one quantity. Its interval over seeds is the 95 % t-interval of the mean; for a positive ratio, which
has no values below 0, that of the geometric mean. The criterion is *met* if the whole interval lies within the bounds,
and *violated* if the whole interval lies outside them. It is *open* if the interval crosses a bound. Then a result is

- ``reproduced`` if all its criteria are met;
- ``not reproduced`` if all criteria that its rule names for this verdict are met; or, if it names none, if a criterion
  of ``reproduced`` is violated;
- ``inconclusive`` otherwise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError
from experiments.paths import PUBLISHED_CLAIMS
from experiments.planning.names import reject_unknown
from experiments.planning.yaml_files import read_yaml
from experiments.runs.canonical import canonical_json, decode
from experiments.statistics.seeds import Spread, spread
from experiments.studies.study import Quantities, Study, StudyAtStart
from experiments.studies.t1_gradient_by_depth import GradientByDepth
from experiments.studies.t2_rank_collapse import RankCollapse
from experiments.studies.t3_token_alignment import TokenAlignment
from experiments.studies.t4a_jacobian_isometry import JacobianIsometry
from experiments.studies.t5_adam_stability import AdamStability
from experiments.studies.t7a_stream_variance import StreamVariance
from experiments.studies.t10_update_size import UpdateSize

KIND = "reproduction"

STUDIES: dict[str, type[Study]] = {
    study.measurement: study
    for study in (
        GradientByDepth,
        RankCollapse,
        TokenAlignment,
        JacobianIsometry,
        AdamStability,
        StreamVariance,
        UpdateSize,
    )
}
"""Every study of a published result, by the name that claim files use: the one list to extend."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence in two languages."""

    en: str
    """English."""

    zh: str
    """Chinese."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a result was published."""

    citation: str
    """Authors, year and title."""

    arxiv: str
    """arXiv identifier."""

    place: str
    """Theorem, figure or table."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A sentence and the bounds under which it is true of one quantity."""

    says: str
    """What holds if the criterion is met."""

    quantity: str
    """Name of the quantity, as the study computes it."""

    at_least: float | None = None
    """Smallest value allowed."""

    at_most: float | None = None
    """Largest value allowed."""

    above: float | None = None
    """Value that must be exceeded."""

    below: float | None = None
    """Value that must not be reached."""

    is_ratio: bool = False
    """Whether the quantity is a positive ratio: its interval is taken on logarithms if every seed's is above 0."""

    def __post_init__(self) -> None:
        if all(bound is None for bound in (self.at_least, self.at_most, self.above, self.below)):
            raise ExperimentError(
                f"the criterion on {self.quantity} has no bound; give at_least, at_most, above, below"
            )

    @property
    def bounds(self) -> str:
        """The bounds as text, such as ``−0.15 ≤ post_ln_slope ≤ 0.15``."""
        lower = [f"{value:g} {sign} " for value, sign in ((self.at_least, "≤"), (self.above, "<")) if value is not None]
        upper = [f" {sign} {value:g}" for value, sign in ((self.at_most, "≤"), (self.below, "<")) if value is not None]
        return "".join([*lower, self.quantity, *upper]).replace("-", "−")

    def allows(self, value: float) -> bool:
        """Tell whether one value lies within the bounds."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def excludes(self, low: float, high: float) -> bool:
        """Tell whether every value from ``low`` to ``high`` lies outside the bounds."""
        return (
            (self.at_least is not None and high < self.at_least)
            or (self.at_most is not None and low > self.at_most)
            or (self.above is not None and high <= self.above)
            or (self.below is not None and low >= self.below)
        )


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The criteria of a verdict."""

    reproduced: tuple[Criterion, ...]
    """All must be met for ``reproduced``."""

    not_reproduced: tuple[Criterion, ...] = ()
    """All must be met for ``not reproduced``, if the rule names any."""

    def __post_init__(self) -> None:
        if not self.reproduced:
            raise ExperimentError("rule.reproduced names no criterion; it must have at least one")


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """A published result and the rule that says whether it is reproduced here."""

    id: str
    """Short name, such as ``T1``."""

    title: str
    """Name of the result in headings."""

    claim: Sentence
    """The result in one sentence."""

    paper: Paper
    """Its source."""

    measurement: str
    """How it is measured: a name of ``STUDIES``."""

    setup: Study
    """The study with all its sizes and seeds."""

    rule: Rule
    """Criteria of the verdict, with their thresholds."""

    refuted_by: str
    """What would refute the claim."""

    differs: str
    """How the setup differs from the paper's."""

    findings: tuple[Criterion, ...] = ()
    """What else is checked and reported; it decides nothing."""

    @property
    def seeds(self) -> range:
        """Seeds to measure; none for a study of a grid's records."""
        return range(self.setup.seeds if isinstance(self.setup, StudyAtStart) else 0)

    def hash(self) -> str:
        """Return a digest of what decides the measurement of a seed; thresholds and sentences are no part of it."""
        setup = asdict(self.setup)
        setup.pop("seeds", None)
        content = canonical_json({"measurement": self.measurement, "setup": setup})
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def load_results(ids: Sequence[str] = (), folder: Path = PUBLISHED_CLAIMS) -> list[PublishedResult]:
    """Read the claim files with these ids, all by default, T2 before T10.

    Raises:
        ExperimentError: for an id that is not known, two files of one id or a wrong file, naming the nearest choice.
    """
    found: dict[str, PublishedResult] = {}
    for path in folder.glob("*.yaml"):
        result = read_result(path)
        if result.id in found:
            raise ExperimentError(f"{path.name}: the id {result.id} belongs to another claim file too")
        found[result.id] = result
    for wanted in ids:
        reject_unknown("claim", wanted, sorted(found, key=_in_order))
    return [found[name] for name in sorted(found, key=_in_order) if not ids or name in ids]


def read_result(path: Path) -> PublishedResult:
    """Read one claim file.

    Raises:
        ExperimentError: naming the file, the field and the nearest valid choice.
    """
    content = read_yaml(path)
    try:
        if content.pop("kind", None) != KIND:
            raise ExperimentError(f"kind must be {KIND!r}")
        return _parse(content)
    except ValueError as error:  # of configurations too: all are mistakes in the file
        raise ExperimentError(f"{path.name}: {error}") from None


def _parse(content: Mapping[str, Any]) -> PublishedResult:
    reject_unknown("measurement", str(content.get("measurement")), STUDIES)
    study = decode(STUDIES[content["measurement"]], content.get("setup"), "setup")
    lines = {name: " ".join(str(content[name]).split()) for name in ("refuted_by", "differs") if name in content}
    given = {key: value for key, value in content.items() if value is not None}  # an empty key is a missing one
    result: PublishedResult = decode(PublishedResult, {**given, **lines, "setup": study})
    return result


def _in_order(name: str) -> tuple[int, str]:
    digits = "".join(character for character in name if character.isdigit())
    return int(digits or 0), name


class CriterionStatus(StrEnum):
    """How a criterion turned out."""

    MET = "met"
    VIOLATED = "violated"
    OPEN = "open"


class Reproduction(StrEnum):
    """What a rule says of a published result."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class CheckedCriterion:
    """A criterion with what was measured."""

    criterion: Criterion
    measured: Spread
    """Spread over the seeds that have the quantity."""

    seeds: int
    """Seeds that were measured."""

    status: CriterionStatus

    is_geometric: bool = False
    """Whether the interval is that of the geometric mean."""


@dataclass(frozen=True)
class Assessment:
    """A verdict, every criterion behind it, and the findings, which decide nothing."""

    verdict: Reproduction
    reproduced: tuple[CheckedCriterion, ...] = ()
    not_reproduced: tuple[CheckedCriterion, ...] = ()
    findings: tuple[CheckedCriterion, ...] = ()


def assess(rule: Rule, findings: Sequence[Criterion], quantities: Sequence[Quantities]) -> Assessment:
    """Reach the verdict over the quantities of all seeds; ``not run`` without any."""
    if not quantities:
        return Assessment(Reproduction.NOT_RUN)
    reproduced = tuple(check(criterion, quantities) for criterion in rule.reproduced)
    not_reproduced = tuple(check(criterion, quantities) for criterion in rule.not_reproduced)
    if all(checked.status is CriterionStatus.MET for checked in reproduced):
        verdict = Reproduction.REPRODUCED
    elif (
        all(checked.status is CriterionStatus.MET for checked in not_reproduced)
        if not_reproduced
        else any(checked.status is CriterionStatus.VIOLATED for checked in reproduced)
    ):
        verdict = Reproduction.NOT_REPRODUCED
    else:
        verdict = Reproduction.INCONCLUSIVE
    return Assessment(verdict, reproduced, not_reproduced, tuple(check(finding, quantities) for finding in findings))


def check(criterion: Criterion, quantities: Sequence[Quantities]) -> CheckedCriterion:
    """Check a criterion against the quantities of each seed.

    One value alone, such as a count over a whole grid, counts as it is. A quantity that some seed does not have leaves
    the criterion open.

    Raises:
        ExperimentError: if the study has no such quantity.
    """
    for of_seed in quantities:
        reject_unknown("quantity", criterion.quantity, of_seed)
    values = [of_seed[criterion.quantity] for of_seed in quantities]
    known = [value for value in values if value is not None]
    is_geometric = criterion.is_ratio and len(known) > 1 and min(known) > 0
    measured = spread_of_ratio(known) if is_geometric else spread(known)
    status = CriterionStatus.OPEN
    if measured.mean is not None and len(known) == len(values):
        low = measured.mean if measured.low is None else measured.low
        high = measured.mean if measured.high is None else measured.high
        if criterion.allows(low) and criterion.allows(high):
            status = CriterionStatus.MET
        elif criterion.excludes(low, high):
            status = CriterionStatus.VIOLATED
    return CheckedCriterion(criterion, measured, len(values), status, is_geometric)


def spread_of_ratio(values: Sequence[float]) -> Spread:
    """Compute mean and standard deviation, and the t-interval of the geometric mean: that of the logs, as ratios."""
    logs, found = spread([math.log(value) for value in values]), spread(values)
    if logs.low is None or logs.high is None:
        return found
    return replace(found, low=math.exp(logs.low), high=math.exp(logs.high))
