"""A claim as a file of ``experiments/claims`` states it: what is compared, by which measure, and what would matter.

``article`` holds what the article claims, ``also_tested`` what the lab asks besides, ``errors`` what is wrong in it,
and ``answer`` what the one-page answer shows.
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
KINDS = ("article", "also_tested", "errors", "answer")
"""Folders of claims, in the order of the overview."""
Text = Mapping[str, str]
"""A text in every language of :data:`LANGUAGES`."""
CLAIM_TEXTS = ("claim", "short", "measured", "delta_reason", "scope", "disclosure")
"""What a claim says in every language."""
IDEOGRAPH, MARK = "\u3400-\u9fff", "\u3001-\u301f\uff01-\uff65\u201c\u201d"
CHINESE_GAP = re.compile(rf"(?<=[{IDEOGRAPH}]) (?=[{IDEOGRAPH}])|(?<=[{MARK}]) | (?=[{MARK}])")
"""A space that Chinese does not write: between two ideographs, and next to a full-width mark."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the two sides of a comparison: the final runs of a condition."""

    condition: str
    """Name of a condition of the grid."""

    swept: Mapping[str, Any] = field(default_factory=dict)
    """Swept values by dotted name; runs at all other swept values belong to the side too."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two sides of a grid, compared by one measure on some corpora. Each has a word of its own."""

    id: str
    """Name within the claim."""

    title: Text
    """What is compared, in a few words."""

    grid: str
    """Grid whose runs are compared."""

    corpora: tuple[str, ...]
    """Corpora on which they are compared."""

    treatment: Arm
    """The side that the claim favours."""

    control: Arm
    """The side that it is compared with."""

    metric: str
    """Measure of ``experiments/evidence/measures.py``."""

    direction: Literal["higher", "lower"]
    """Which way the claim says that the treatment's value lies."""

    delta: float
    """Smallest effect that matters, in the unit of the effect; positive."""

    lead: bool = False
    """Whether it is the claim at the condition that its author states, which the overview shows."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim: comparisons that answer it, none of which decides it alone.

    Raises:
        ExperimentError: from :meth:`parse`, in one line with the nearest valid choice.
    """

    id: str
    """Name of the file."""

    kind: Literal["article", "also_tested", "errors", "answer"]
    """Folder of the file."""

    number: int
    """Place in the overview."""

    section: str
    """Section of the article that it is about."""

    claim: Text
    """The claim in one sentence."""

    short: Text
    """A few words for it."""

    measured: Text
    """What is measured, and what an effect of 1 is."""

    scope: Text
    """What the runs test and what they do not."""

    delta_reason: Text | None = None
    """Why δ is the smallest effect that matters; None where arithmetic decides."""

    disclosure: Text | None = None
    """What was known when the file was written, or changed after results had been seen; None: nothing."""

    comparisons: tuple[Comparison, ...] = ()
    """None where arithmetic decides."""

    arithmetic: bool = False
    """Decided by the numbers that the article printed, without a run."""

    def __post_init__(self) -> None:
        if bool(self.comparisons) == self.arithmetic:
            raise ExperimentError(f"claim {self.id} needs either comparisons or arithmetic: true")
        if len({comparison.id for comparison in self.comparisons}) < len(self.comparisons):
            raise ExperimentError(f"claim {self.id} has two comparisons of the same id")
        if self.comparisons and not any(comparison.lead for comparison in self.comparisons):
            raise ExperimentError(f"claim {self.id} has no comparison with lead: true")
        if self.comparisons and self.delta_reason is None:
            raise ExperimentError(f"claim {self.id}: delta_reason is missing")

    @classmethod
    def parse(cls, kind: str, name: str, content: Mapping[str, Any]) -> Claim:
        """Build from the content of ``<kind>/<name>.yaml``; what a comparison leaves out is taken from the claim."""
        where, shared = f"claim {name}", names_of(Comparison) - {"id", "title", "lead"}
        own = names_of(cls) - {"id", "kind"}
        for key in content:
            reject_unknown(f"{where}: key", str(key), sorted(own | shared))
        inherited = {key: content[key] for key in shared if key in content}
        entries = values_of(content, "comparisons", f"{where}: ", optional=True)
        values = {key: content[key] for key in own if key in content}
        values |= {key: parse_text(f"{where}: {key}", values[key]) for key in CLAIM_TEXTS if key in values}
        comparisons = [parse_comparison(where, {**inherited, **dict(entry)}) for entry in entries]
        claim: Claim = decode(cls, {**values, "id": name, "kind": kind, "comparisons": comparisons}, where)
        return claim


def load_claims(ids: Sequence[str] = (), folder: Path = CLAIMS) -> list[Claim]:
    """Return claims by number, all of them or those that are named.

    Raises:
        ExperimentError: for an unknown name or a wrong file, in one line.
    """
    files = {path.stem: (kind, path) for kind in KINDS for path in (folder / kind).glob("*.yaml")}
    for name in ids:
        reject_unknown("claim", name, sorted(files))
    wanted = {name: place for name, place in files.items() if not ids or name in ids}
    claims = [Claim.parse(kind, name, read_yaml(path)) for name, (kind, path) in wanted.items()]
    return sorted(claims, key=lambda claim: (claim.number, claim.id))


def parse_comparison(where: str, content: Mapping[str, Any]) -> Comparison:
    """Build a comparison, checked against the measures and the grids that there are."""
    where = f"{where}: comparison {content.get('id', '?')}"
    texts = {key: parse_text(f"{where}: {key}", content[key]) for key in ("title",) if key in content}
    found: Comparison = decode(Comparison, {**content, **texts}, where)
    reject_unknown(f"{where}: grid", found.grid, sorted(path.stem for path in GRIDS.glob("*.yaml")))
    reject_unknown(f"{where}: metric", found.metric, sorted(MEASURES))
    if not found.delta > 0:
        raise ExperimentError(f"{where}: delta is {found.delta!r}; it must be a positive number")
    if not found.corpora:
        raise ExperimentError(f"{where} names no corpora")
    special = mapping_of(read_yaml(GRIDS / f"{found.grid}.yaml"), "corpora")
    for corpus in found.corpora:
        reject_unknown(f"{where}: corpus", corpus, sorted({*EMBEDDED_CORPORA, *special}))
    return found


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


def check_arms(claim: Claim, comparison: Comparison, grid: Grid) -> None:
    """Raise :class:`ExperimentError` unless the grid has both sides, at swept values that the measure allows.

    Values that a side leaves open make several runs of a seed, of which only shares of runs are measured.
    """
    where = f"claim {claim.id}: comparison {comparison.id}"
    for arm in (comparison.treatment, comparison.control):
        cells = cells_of(where, arm, grid)
        if len(cells) > 1 and MEASURES[comparison.metric].kind != "outcomes":
            raise ExperimentError(
                f"{where}: {arm.condition} has {len(cells)} runs a seed, but {comparison.metric} is measured on one; "
                f"say under swept which of {', '.join(cells[0])}"
            )


def cells_of(where: str, arm: Arm, grid: Grid) -> list[Mapping[str, Any]]:
    """Return the swept values of a side's runs.

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
