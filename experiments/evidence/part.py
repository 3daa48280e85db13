"""The parts of a claim: one comparison each, of two sides by one measure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from data_modules.config import EMBEDDED_CORPORA
from experiments.errors import ExperimentError
from experiments.evidence.measures import MEASURES
from experiments.paths import GRIDS
from experiments.planning.names import reject_unknown
from experiments.planning.yaml_files import mapping_of, read_yaml

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
    """Measure of ``experiments/evidence/measures.py``."""

    direction: Literal["higher", "lower"]
    """Which way the claim says that the treatment's value lies."""

    delta: float
    """Smallest effect of interest, in the unit of the effect; positive."""

    test: str
    """How the effect is tested: one of :data:`TESTS`."""

    shown: tuple[str, ...] = ()
    """Measures that are shown beside and decide nothing."""


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
        **{key: _side(f"{where}: {key}", mapping_of(content, key, f"{where}: ")) for key in ("treatment", "control")},
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


def _side(where: str, content: Mapping[str, Any]) -> Side:
    for key in content:
        reject_unknown(f"{where}: key", str(key), sorted(names_of(Side)))
    if "condition" not in content:
        raise ExperimentError(f"{where} has no condition")
    return Side(condition=str(content["condition"]), swept=mapping_of(content, "swept", f"{where}: "))
