"""A claim as a file of ``experiments/claims`` states it, before the runs that judge it are made.

A claim is the conjunction of its parts; each part compares two arms of a grid by one measure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from data_modules.config import EMBEDDED_CORPORA
from experiments.errors import ExperimentError
from experiments.evidence.measures import MEASURES
from experiments.paths import CLAIMS, GRIDS
from experiments.planning.grid import Grid
from experiments.planning.names import reject_unknown
from experiments.planning.yaml_files import mapping_of, read_yaml, values_of
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

    @classmethod
    def parse(cls, name: str, content: Mapping[str, Any]) -> Claim:
        """Build from the content of ``<name>.yaml``; what a part leaves out stands at the claim itself."""
        where = f"claim {name}"
        own, part_keys = names_of(cls) - {"id"}, names_of(Part)
        for key in content:
            reject_unknown(f"{where}: key", str(key), sorted(own | part_keys))
        required = [entry.name for entry in fields(cls) if entry.default is MISSING and entry.name != "id"]
        missing = [name for name in required if name not in content]
        if missing:
            raise ExperimentError(f"{where} has no {missing[0]}")
        values: dict[str, Any] = {key: content[key] for key in own if key in content and key != "parts"}
        if not isinstance(content["number"], int) or isinstance(content["number"], bool):
            raise ExperimentError(f"{where}: number is {content['number']!r}; it must be a whole number")
        texts = [
            key for key in ("claim", "short", "delta_reason", "refuted_by", "scope", "disclosure") if key in content
        ]
        values |= {key: parse_text(f"{where}: {key}", content[key]) for key in texts}
        inherited = {key: content[key] for key in part_keys - {"id", "title"} if key in content}
        entries = values_of(content, "parts", f"{where}: ", optional=True)
        parts = tuple(parse_part(where, {**inherited, **dict(entry)}) for entry in entries)
        if bool(parts) == bool(values.get("arithmetic", False)):
            raise ExperimentError(f"{where} needs either parts or arithmetic: true")
        identities = [part.id for part in parts]
        if len(set(identities)) < len(identities):
            raise ExperimentError(f"{where} has two parts of the same id")
        return cls(id=name, **{**values, "section": str(content["section"]), "parts": parts})


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
    for key in content:
        reject_unknown(f"{where}: key", str(key), sorted(names_of(Part)))
    for entry in fields(Part):
        if entry.default is MISSING and entry.default_factory is MISSING and entry.name not in content:
            raise ExperimentError(f"{where} has no {entry.name}")
    reject_unknown(f"{where}: grid", str(content["grid"]), sorted(path.stem for path in GRIDS.glob("*.yaml")))
    for metric in (content["metric"], *content.get("shown", ())):
        reject_unknown(f"{where}: metric", str(metric), sorted(MEASURES))
    reject_unknown(f"{where}: direction", str(content["direction"]), ("higher", "lower"))
    reject_unknown(f"{where}: test", str(content["test"]), sorted(TESTS))
    kind = MEASURES[content["metric"]].kind
    if TESTS[content["test"]] != kind:
        fitting = next(test for test, wanted in TESTS.items() if wanted == kind)
        raise ExperimentError(f"{where}: test {content['test']} does not fit {content['metric']}; use {fitting}")
    if not isinstance(content["delta"], int | float) or not content["delta"] > 0:
        raise ExperimentError(f"{where}: delta is {content['delta']!r}; it must be a positive number")
    values = dict(content) | {
        "title": parse_text(f"{where}: title", content["title"]),
        **{key: _arm(f"{where}: {key}", mapping_of(content, key, f"{where}: ")) for key in ("treatment", "control")},
        **{key: tuple(content.get(key, ())) for key in ("corpora", "replications", "shown")},
    }
    if not values["corpora"]:
        raise ExperimentError(f"{where} names no corpora")
    special = mapping_of(read_yaml(GRIDS / f"{content['grid']}.yaml"), "corpora")
    for corpus in (*values["corpora"], *values["replications"]):
        reject_unknown(f"{where}: corpus", str(corpus), sorted({*EMBEDDED_CORPORA, *special}))
    return Part(**values)


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


def _arm(where: str, content: Mapping[str, Any]) -> Arm:
    for key in content:
        reject_unknown(f"{where}: key", str(key), sorted(names_of(Arm)))
    if "condition" not in content:
        raise ExperimentError(f"{where} has no condition")
    return Arm(condition=str(content["condition"]), swept=mapping_of(content, "swept", f"{where}: "))


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
