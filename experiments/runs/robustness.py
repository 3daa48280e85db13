"""How many answers survive simple edits of a text: swapped letters, a word left out, another word of the same sense."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from experiments.runs.inference import TrainedModel

SHARE = 0.1
"""Share of a text's words that an edit changes; at least one."""
WORD = re.compile(r"[^\W\d_]+")
FEWEST_LETTERS = 4
"""Fewest letters of a word whose inner letters can be swapped."""

SYNONYMS = (
    ("big", "large"), ("small", "little"), ("fast", "quick"), ("begin", "start"), ("end", "finish"), ("get", "obtain"),
    ("show", "display"), ("use", "employ"), ("make", "create"), ("give", "provide"), ("need", "require"),
    ("help", "assist"), ("buy", "purchase"), ("choose", "select"), ("ask", "request"), ("answer", "reply"),
    ("find", "locate"), ("keep", "retain"), ("change", "modify"), ("allow", "permit"), ("happy", "glad"),
    ("sad", "unhappy"), ("angry", "mad"), ("good", "fine"), ("bad", "poor"), ("great", "excellent"),
    ("terrible", "awful"), ("funny", "amusing"), ("smart", "clever"), ("beautiful", "lovely"), ("strange", "odd"),
    ("hard", "difficult"), ("easy", "simple"), ("important", "significant"), ("many", "numerous"), ("whole", "entire"),
    ("right", "correct"), ("wrong", "incorrect"), ("also", "too"), ("often", "frequently"), ("about", "roughly"),
    ("movie", "film"), ("story", "tale"), ("job", "task"), ("picture", "image"), ("car", "automobile"),
    ("child", "kid"), ("people", "persons"), ("city", "town"), ("country", "nation"), ("company", "firm"),
    ("error", "mistake"), ("method", "technique"), ("result", "outcome"), ("number", "figure"), ("kind", "type"),
    ("part", "portion"), ("return", "yield"), ("compute", "calculate"), ("default", "standard"),
)  # fmt: skip
"""Pairs of words of much the same sense; each may take the other's place."""
OTHER_WORD = {word: other for pair in SYNONYMS for word, other in (pair, pair[::-1])}

Edit = Callable[[str, np.random.Generator], str]


@dataclass(frozen=True, kw_only=True)
class Survival:
    """How many answers stay the same under one kind of edit."""

    edit: str
    texts: int
    """Texts that the edit could change."""
    survived: int
    """Of these, those whose answer stayed the same."""

    @property
    def share(self) -> float | None:
        """Share of answers that survived; None without a text."""
        return self.survived / self.texts if self.texts else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the share (Wilson 1927), if texts are independent; None without a text."""
        if not self.texts:
            return None
        low, high = proportion_confint(self.survived, self.texts, method="wilson")
        return float(low), float(high)


def swapped_letters(text: str, draw: np.random.Generator) -> str:
    """Swap two neighbouring inner letters in some words; their first and last letters stay."""
    words = [word for word in WORD.finditer(text) if len(word[0]) >= FEWEST_LETTERS and _swaps(word[0])]
    for word in sorted(_some(words, draw), key=lambda word: -word.start()):
        place = word.start() + int(draw.choice(_swaps(word[0])))
        text = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return text


def _swaps(word: str) -> list[int]:
    """Return the places at which a swap with the next letter changes a word."""
    return [place for place in range(1, len(word) - 2) if word[place] != word[place + 1]]


def left_out_words(text: str, draw: np.random.Generator) -> str:
    """Leave out some words; a text of one word stays."""
    words = text.split()
    if len(words) < 2:
        return text
    gone = set(_some(range(len(words)), draw))
    return " ".join(word for place, word in enumerate(words) if place not in gone)


def other_words(text: str, draw: np.random.Generator) -> str:
    """Put words of the same sense in place of some, as :data:`SYNONYMS` has them."""
    words = [word for word in WORD.finditer(text) if word[0].lower() in OTHER_WORD]
    for word in sorted(_some(words, draw, of=len(text.split())), key=lambda word: -word.start()):
        other = OTHER_WORD[word[0].lower()]
        other = other.capitalize() if word[0][0].isupper() else other
        text = text[: word.start()] + other + text[word.end() :]
    return text


EDITS: dict[str, Edit] = {
    "two letters swapped": swapped_letters,
    "words left out": left_out_words,
    "synonyms": other_words,
}


def _some(choices: Sequence[Any], draw: np.random.Generator, of: int | None = None) -> list[Any]:
    """Draw a tenth of the choices, at least one if there is one."""
    count = min(len(choices), max(1, round(SHARE * (len(choices) if of is None else of))))
    return [choices[int(place)] for place in draw.permutation(len(choices))[:count]]


def edited(text: str, edit: str, seed: int = 0) -> str:
    """Return a text after one kind of edit; what is drawn depends on the seed, the edit and the text alone."""
    digest = hashlib.sha256(f"{edit}\n{text}".encode(errors="surrogatepass")).digest()
    return EDITS[edit](text, np.random.default_rng([seed, *digest]))


def survival(model: TrainedModel, texts: Sequence[str], seed: int = 0) -> list[Survival]:
    """Return how many answers survive each kind of edit, and how many survive all that apply.

    Args:
        model: of a run.
        texts: as they come; each is edited once in every way.
        seed: of what is edited.

    Raises:
        ExperimentError: the network has no answer.
    """
    before = model.answer(texts).probabilities.argmax(axis=1)
    same = np.ones(len(texts), dtype=bool)
    touched = np.zeros(len(texts), dtype=bool)
    found = []
    for edit in EDITS:
        after = [edited(text, edit, seed) for text in texts]
        changed = np.array([text != other for text, other in zip(texts, after, strict=True)], dtype=bool)
        rows = np.flatnonzero(changed)
        stays = np.ones(len(texts), dtype=bool)
        if len(rows):
            answers = model.answer([after[row] for row in rows]).probabilities.argmax(axis=1)
            stays[rows] = answers == before[rows]
        found.append(Survival(edit=edit, texts=len(rows), survived=int(stays[rows].sum())))
        same &= stays
        touched |= changed
    found.append(Survival(edit="every edit", texts=int(touched.sum()), survived=int((same & touched).sum())))
    return found
