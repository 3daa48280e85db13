"""A claim file of a published result: what the paper says, how it is measured here, and by which rule it is judged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from experiments.errors import ExperimentError
from experiments.paths import PUBLISHED_CLAIMS
from experiments.planning.names import reject_unknown
from experiments.planning.yaml_files import mapping_of, read_yaml, values_of
from experiments.reproductions.setups import SETUPS, AdamStability, Setup, Start
from experiments.reproductions.verdicts import Condition, Rule
from experiments.runs.canonical import canonical_json, decode

T = TypeVar("T")
KIND = "reproduction"


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
class Claim:
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
    """How it is measured: a name of ``SETUPS``, and of a module in ``measures``, ``rules`` and ``figures``."""

    setup: Setup | AdamStability
    """All sizes and seeds."""

    rule: Rule
    """Conditions of the verdict, with their thresholds."""

    refuted_by: str
    """What would refute the claim."""

    differs: str
    """How the setup differs from the paper's."""

    findings: tuple[Condition, ...] = ()
    """What else is checked and reported; it decides nothing."""

    @property
    def seeds(self) -> range:
        """Seeds to measure; none where a grid's records are judged."""
        return range(self.setup.seeds if isinstance(self.setup, Setup) else 0)

    def hash(self) -> str:
        """Return a digest of what decides the measurement of a seed; thresholds and sentences are not part of it."""
        setup = asdict(self.setup)
        setup.pop("seeds", None)
        content = canonical_json({"measurement": self.measurement, "setup": setup})
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def claim_files(folder: Path = PUBLISHED_CLAIMS) -> dict[str, Path]:
    """Return the claim files of published results by the claim's id, T2 before T10."""
    paths = {path.stem.partition("_")[0]: path for path in folder.glob("T*.yaml")}
    return dict(sorted(paths.items(), key=lambda item: _in_order(item[0])))


def load_claims(ids: Sequence[str] = (), folder: Path = PUBLISHED_CLAIMS) -> list[Claim]:
    """Read the claims with these ids, all by default.

    Raises:
        ExperimentError: where an id is not known or a file is wrong; the message names the nearest choice.
    """
    files = claim_files(folder)
    for wanted in ids:
        reject_unknown("claim", wanted, files)
    return [read_claim(path) for name, path in files.items() if not ids or name in ids]


def read_claim(path: Path) -> Claim:
    """Read one claim file.

    Raises:
        ExperimentError: naming the file, the field and the nearest valid choice.
    """
    content = read_yaml(path)
    try:
        if content.pop("kind", None) != KIND:
            raise ExperimentError(f"kind must be {KIND!r}")
        claim = parse_claim(content)
    except ValueError as error:  # of configurations too: all are mistakes in the file
        raise ExperimentError(f"{path.name}: {error}") from None
    if not path.stem.startswith(f"{claim.id}_"):
        raise ExperimentError(f"{path.name}: the name must start with the claim's id, {claim.id}_")
    return claim


def parse_claim(content: Mapping[str, Any]) -> Claim:
    """Build a claim from the mapping in its file."""
    check_keys(Claim, content, "")
    reject_unknown("measurement", str(content["measurement"]), SETUPS)
    rule = mapping_of(content, "rule")
    check_keys(Rule, rule, "rule.")
    return Claim(
        **{name: str(content[name]) for name in ("id", "title", "measurement")},
        claim=parse_fields(Sentence, mapping_of(content, "claim"), "claim."),
        paper=parse_fields(Paper, mapping_of(content, "paper"), "paper."),
        setup=parse_fields(SETUPS[content["measurement"]], mapping_of(content, "setup"), "setup."),
        rule=Rule(**{name: parse_conditions(rule, name, "rule.") for name in rule}),
        findings=parse_conditions(content, "findings", ""),
        **{name: " ".join(str(content[name]).split()) for name in ("refuted_by", "differs")},
    )


def parse_conditions(content: Mapping[str, Any], key: str, where: str) -> tuple[Condition, ...]:
    """Build the conditions of a list in a claim file."""
    listed = values_of(content, key, where, optional=True)
    return tuple(parse_fields(Condition, item, f"{where}{key}[{place}].") for place, item in enumerate(listed))


def parse_fields(kind: type[T], content: Any, where: str) -> T:
    """Build a dataclass of plain values, lists and dataclasses from a mapping, checking names and types."""
    if not isinstance(content, Mapping):
        raise ExperimentError(f"{where.rstrip('.')} must be a mapping of names to values")
    check_keys(kind, content, where)
    for name, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):  # the only mapping within one
                check_keys(Start, item, f"{where}{name}.")
    return decode(kind, dict(content), where.rstrip("."))


def check_keys(kind: type, content: Mapping[str, Any], where: str) -> None:
    """Raise :class:`ExperimentError` for a key that the dataclass does not know, or one that it needs."""
    known = {entry.name: entry for entry in fields(kind)}
    for key in content:
        reject_unknown(f"{where}key", str(key), known)
    for name, entry in known.items():
        if name not in content and entry.default is MISSING and entry.default_factory is MISSING:
            raise ExperimentError(f"{where}{name} is missing")


def _in_order(name: str) -> tuple[int, str]:
    digits = "".join(character for character in name if character.isdigit())
    return int(digits or 0), name
