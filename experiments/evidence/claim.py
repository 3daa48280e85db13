"""A claim as a file of ``experiments/claims`` states it, before the runs that judge it are made.

A claim is the conjunction of its parts; each part compares two arms of a grid by one measure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from data_modules.config import EMBEDDED_CORPORA
from experiments.errors import ExperimentError
from experiments.evidence.measures import MEASURES
from experiments.paths import CLAIMS, GRIDS
from experiments.planning.grid import Grid
from experiments.planning.names import reject_unknown
from experiments.planning.yaml_files import mapping_of, read_yaml, values_of
from experiments.runs.canonical import decode
from experiments.runs.naming import spell

LANGUAGES = ("en", "zh")
TESTS = {
    "paired_t": "value",
    "censored_ratio": "time",
    "intersection_union": "components",
    "paired_outcomes": "outcomes",
}
"""Tests, and the kind of measure that each is for."""
Text = Mapping[str, str]
"""A text in every language of :data:`LANGUAGES`."""
CLAIM_TEXTS = ("claim", "short", "delta_reason", "refuted_by", "scope", "disclosure")
"""What a claim says in every language."""
IDEOGRAPH, MARK = "\u3400-\u9fff", "\u3001-\u301f\uff01-\uff65\u201c\u201d"
CHINESE_GAP = re.compile(rf"(?<=[{IDEOGRAPH}]) (?=[{IDEOGRAPH}])|(?<=[{MARK}]) | (?=[{MARK}])")
"""A space that Chinese does not write: between two ideographs, and beside a full-width mark."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the two arms that a part compares: the final runs of a condition."""

    condition: str
    """Name of a condition of the grid."""

    swept: Mapping[str, Any] = field(default_factory=dict)
    """Swept values by dotted name; runs at all other swept values belong to the arm too."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One comparison; a claim is the conjunction of its parts."""

    id: str
    """Name within the claim."""

    title: Text
    """What is compared, in a few words."""

    grid: str
    """Grid whose runs are compared."""

    corpora: tuple[str, ...]
    """Corpora that decide the verdict."""

    replications: tuple[str, ...] = ()
    """Corpora that decide nothing."""

    treatment: Arm
    """The arm that the claim favours."""

    control: Arm
    """The arm that it is compared with."""

    metric: str
    """Measure of ``experiments/evidence/measures.py``."""

    direction: Literal["higher", "lower"]
    """Which way the claim says that the treatment's value lies."""

    delta: float
    """Smallest effect of interest, in the unit of the effect; positive."""

    test: str
    """How the effect is tested: one of :data:`TESTS`."""

    shown: tuple[str, ...] = ()
    """Measures whose values by seed are written too; they decide nothing."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the article as a hypothesis.

    Raises:
        ExperimentError: from :meth:`parse`, in one line with the nearest valid choice.
    """

    id: str
    """Name of the file."""

    number: int
    """The claim of the article; several files may test it, in different settings."""

    section: str
    """Section of the article that makes the claim."""

    claim: Text
    """The claim in one sentence."""

    short: Text
    """A few words for it, for the terminal."""

    delta_reason: Text
    """Why δ is the smallest effect of interest."""

    refuted_by: Text
    """What would refute the claim."""

    family: str
    """Tests that are adjusted together for their number; claims that share a family share its error rate."""

    parts: tuple[Part, ...] = ()
    """All must be confirmed; none where arithmetic decides."""

    scope: Text | None = None
    """What its runs test and what they do not; None: all that the claim speaks of."""

    disclosure: Text | None = None
    """What was known when the claim was written, or changed after results had been seen; None: nothing."""

    arithmetic: bool = False
    """Decided by the numbers that the article printed, without a run."""

    def __post_init__(self) -> None:
        if bool(self.parts) == self.arithmetic:
            raise ExperimentError(f"claim {self.id} needs either parts or arithmetic: true")
        if len({part.id for part in self.parts}) < len(self.parts):
            raise ExperimentError(f"claim {self.id} has two parts of the same id")

    @classmethod
    def parse(cls, name: str, content: Mapping[str, Any]) -> Claim:
        """Build from the content of ``<name>.yaml``; what a part leaves out is taken from the claim itself."""
        where, part_keys = f"claim {name}", names_of(Part)
        own = names_of(cls) - {"id"}
        for key in content:
            reject_unknown(f"{where}: key", str(key), sorted(own | part_keys))
        inherited = {key: content[key] for key in part_keys - {"id", "title"} if key in content}
        entries = values_of(content, "parts", f"{where}: ", optional=True)
        values = {key: content[key] for key in own if key in content}
        values |= {key: parse_text(f"{where}: {key}", values[key]) for key in CLAIM_TEXTS if key in values}
        parts = [parse_part(where, {**inherited, **dict(entry)}) for entry in entries]
        claim: Claim = decode(cls, {**values, "id": name, "parts": parts}, where)
        return claim


def load_claims(ids: Sequence[str] = (), folder: Path = CLAIMS) -> list[Claim]:
    """Return claims by number, all of them or those that are named.

    Raises:
        ExperimentError: for an unknown name or a wrong file, in one line.
    """
    files = {path.stem: path for path in folder.glob("*.yaml")}
    for name in ids:
        reject_unknown("claim", name, sorted(files))
    claims = [Claim.parse(name, read_yaml(path)) for name, path in files.items() if not ids or name in ids]
    return sorted(claims, key=lambda claim: (claim.number, claim.id))


def parse_part(where: str, content: Mapping[str, Any]) -> Part:
    """Build a part of a claim, checked against the measures and the grids that there are."""
    where = f"{where}: part {content.get('id', '?')}"
    texts = {key: parse_text(f"{where}: {key}", content[key]) for key in ("title",) if key in content}
    part: Part = decode(Part, {**content, **texts}, where)
    reject_unknown(f"{where}: grid", part.grid, sorted(path.stem for path in GRIDS.glob("*.yaml")))
    for metric in (part.metric, *part.shown):
        reject_unknown(f"{where}: metric", metric, sorted(MEASURES))
    reject_unknown(f"{where}: test", part.test, sorted(TESTS))
    kind = MEASURES[part.metric].kind
    if TESTS[part.test] != kind:
        fitting = next(test for test, wanted in TESTS.items() if wanted == kind)
        raise ExperimentError(f"{where}: test {part.test} does not fit {part.metric}; use {fitting}")
    if not part.delta > 0:
        raise ExperimentError(f"{where}: delta is {part.delta!r}; it must be a positive number")
    if not part.corpora:
        raise ExperimentError(f"{where} names no corpora")
    special = mapping_of(read_yaml(GRIDS / f"{part.grid}.yaml"), "corpora")
    for corpus in (*part.corpora, *part.replications):
        reject_unknown(f"{where}: corpus", corpus, sorted({*EMBEDDED_CORPORA, *special}))
    return part


def names_of(schema: type) -> set[str]:
    """Return the keys that a mapping of this schema may have."""
    return {entry.name for entry in fields(schema)}


def parse_text(where: str, value: Any) -> Text:
    """Return a text in both languages, each on one line; Chinese without spaces where lines were joined.

    Raises:
        ExperimentError: unless there is a text for each of :data:`LANGUAGES`.
    """
    if not isinstance(value, Mapping) or set(value) != set(LANGUAGES) or not all(value.values()):
        raise ExperimentError(f"{where} must be a text in each of: {', '.join(LANGUAGES)}")
    lines = {language: " ".join(str(value[language]).split()) for language in LANGUAGES}
    return lines | {"zh": CHINESE_GAP.sub("", lines["zh"])}


def check_arms(claim: Claim, part: Part, grid: Grid) -> None:
    """Raise :class:`ExperimentError` unless the grid has both arms of a part, at swept values that its measures allow.

    Values that an arm leaves open make several runs of a seed, of which only shares of runs are measured.
    """
    where = f"claim {claim.id}: part {part.id}"
    single = [metric for metric in (part.metric, *part.shown) if MEASURES[metric].kind != "outcomes"]
    for arm in (part.treatment, part.control):
        cells = cells_of(where, arm, grid)
        if len(cells) > 1 and single:
            raise ExperimentError(
                f"{where}: {arm.condition} has {len(cells)} runs a seed, but {single[0]} is measured on one; "
                f"say under swept which of {', '.join(cells[0])}"
            )


def cells_of(where: str, arm: Arm, grid: Grid) -> list[Mapping[str, Any]]:
    """Return the swept values of an arm's runs.

    Raises:
        ExperimentError: where the grid has no such condition, or does not sweep such a value.
    """
    reject_unknown(f"{where}: condition", arm.condition, sorted({condition.name for condition in grid.conditions}))
    cells = [condition.swept for condition in grid.conditions if condition.name == arm.condition]
    for name, value in arm.swept.items():
        reject_unknown(f"{where}: swept value", name, sorted({swept for cell in cells for swept in cell}))
        if all(cell[name] != value for cell in cells):
            tried = ", ".join(dict.fromkeys(spell(cell[name]) for cell in cells))
            raise ExperimentError(f"{where}: the grid {grid.name} does not sweep {name} {spell(value)}, only {tried}")
    return [cell for cell in cells if all(cell.get(name) == value for name, value in arm.swept.items())]
