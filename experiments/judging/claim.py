"""A claim as a file of ``experiments/claims`` states it, before the runs that judge it are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from data_modules.config import EMBEDDED_CORPORA
from experiments.errors import ExperimentError
from experiments.judging.measures import MEASURES
from experiments.paths import CLAIMS, GRIDS
from experiments.planning.names import reject_unknown
from experiments.planning.yaml_files import mapping_of, read_yaml, values_of

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


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two sides that a part compares."""

    condition: str
    """Name of a condition of the grid."""

    swept: Mapping[str, Any] = field(default_factory=dict)
    """Swept values by dotted name; runs at all other swept values belong to the side too."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One comparison; a claim is the conjunction of its parts."""

    id: str
    """Name within the claim."""

    title: Text
    """What is compared, for tables and figures."""

    grid: str
    """Grid whose runs are compared."""

    corpora: tuple[str, ...]
    """Corpora that decide the verdict."""

    replications: tuple[str, ...] = ()
    """Corpora that are shown beside."""

    treatment: Side
    """The side that the claim favours."""

    control: Side
    """The side that it is compared with."""

    metric: str
    """Measure of ``experiments/judging/measures.py``."""

    direction: Literal["higher", "lower"]
    """Which way the claim says that the treatment's value lies."""

    delta: float
    """Smallest effect of interest, in the unit of the effect; positive."""

    test: str
    """How the effect is tested: one of :data:`TESTS`."""

    shown: tuple[str, ...] = ()
    """Measures that are shown beside and decide nothing."""


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

    delta_reason: Text
    """Why δ is the smallest effect of interest."""

    refuted_by: Text
    """What would refute the claim."""

    family: str
    """Tests that are adjusted together for their number; claims that share a family share its error rate."""

    parts: tuple[Part, ...] = ()
    """All must be confirmed; none where arithmetic decides."""

    disclosure: Text | None = None
    """What was known when the claim was written, or changed after results had been seen; None: nothing."""

    arithmetic: bool = False
    """Decided by the numbers that the article printed, without a run."""

    @classmethod
    def parse(cls, name: str, content: Mapping[str, Any]) -> Claim:
        """Build from the content of ``<name>.yaml``; what a part leaves out stands at the claim itself."""
        where = f"claim {name}"
        own, part_keys = _names(cls) - {"id"}, _names(Part)
        for key in content:
            reject_unknown(f"{where}: key", str(key), sorted(own | part_keys))
        required = [entry.name for entry in fields(cls) if entry.default is MISSING and entry.name != "id"]
        missing = [name for name in required if name not in content]
        if missing:
            raise ExperimentError(f"{where} has no {missing[0]}")
        values: dict[str, Any] = {key: content[key] for key in own if key in content and key != "parts"}
        if not isinstance(content["number"], int) or isinstance(content["number"], bool):
            raise ExperimentError(f"{where}: number is {content['number']!r}; it must be a whole number")
        texts = [key for key in ("claim", "delta_reason", "refuted_by", "disclosure") if key in content]
        values |= {key: _text(f"{where}: {key}", content[key]) for key in texts}
        inherited = {key: content[key] for key in part_keys - {"id", "title"} if key in content}
        entries = values_of(content, "parts", f"{where}: ", optional=True)
        parts = tuple(parse_part(where, {**inherited, **dict(entry)}) for entry in entries)
        if bool(parts) == bool(values.get("arithmetic", False)):
            raise ExperimentError(f"{where} needs either parts or arithmetic: true")
        identities = [part.id for part in parts]
        if len(set(identities)) < len(identities):
            raise ExperimentError(f"{where} has two parts of the same id")
        return cls(id=name, **{**values, "section": str(content["section"]), "parts": parts})


def parse_part(where: str, content: Mapping[str, Any]) -> Part:
    """Build a part of a claim, checked against the measures and the grids that there are."""
    where = f"{where}: part {content.get('id', '?')}"
    for key in content:
        reject_unknown(f"{where}: key", str(key), sorted(_names(Part)))
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
        "title": _text(f"{where}: title", content["title"]),
        **{key: _side(f"{where}: {key}", mapping_of(content, key, f"{where}: ")) for key in ("treatment", "control")},
        **{key: tuple(content.get(key, ())) for key in ("corpora", "replications", "shown")},
    }
    if not values["corpora"]:
        raise ExperimentError(f"{where} names no corpora")
    special = mapping_of(read_yaml(GRIDS / f"{content['grid']}.yaml"), "corpora")
    for corpus in (*values["corpora"], *values["replications"]):
        reject_unknown(f"{where}: corpus", str(corpus), sorted({*EMBEDDED_CORPORA, *special}))
    return Part(**values)


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


def _names(schema: type) -> set[str]:
    return {entry.name for entry in fields(schema)}


def _text(where: str, value: Any) -> Text:
    if not isinstance(value, Mapping) or set(value) != set(LANGUAGES) or not all(value.values()):
        raise ExperimentError(f"{where} must be a text in each of: {', '.join(LANGUAGES)}")
    return {language: " ".join(str(value[language]).split()) for language in LANGUAGES}


def _side(where: str, content: Mapping[str, Any]) -> Side:
    for key in content:
        reject_unknown(f"{where}: key", str(key), sorted(_names(Side)))
    if "condition" not in content:
        raise ExperimentError(f"{where} has no condition")
    return Side(condition=str(content["condition"]), swept=mapping_of(content, "swept", f"{where}: "))
