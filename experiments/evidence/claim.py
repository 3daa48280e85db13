"""A claim as a file of ``experiments/claims`` states it, before the runs that judge it are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError
from experiments.evidence.part import Part, Text, names_of, parse_part, parse_text
from experiments.paths import CLAIMS
from experiments.planning.names import reject_unknown
from experiments.planning.yaml_files import read_yaml, values_of


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
    """A few words for it, for the rows of a figure."""

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
