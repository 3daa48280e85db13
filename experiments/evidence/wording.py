"""The phrases of the claims' report by language, and what languages do differently in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from experiments.evidence.chinese import CHINESE
from experiments.evidence.english import ENGLISH

Phrases = Mapping[str, str]
PHRASES: dict[str, Phrases] = {"en": ENGLISH, "zh": CHINESE}


def rules(language: str) -> str:
    """Return how a verdict comes about, as a Markdown list."""
    return (Path(__file__).parent / "rules" / f"{language}.md").read_text(encoding="utf-8")
