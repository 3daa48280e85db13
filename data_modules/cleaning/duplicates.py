"""Find texts that are the same, or nearly."""

from __future__ import annotations

import hashlib
import math
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003134f]|\w+|[^\w\s]")
SHINGLE = 3
INDEXED = 1_000_000  # shingles indexed at a time, to bound memory: about 200 MiB


def same_text_key(text: str) -> str:
    """Return a key that equal texts share, whatever their case and white space."""
    return " ".join(text.casefold().split())


def same_texts(columns: Iterable[Iterable[str]]) -> NDArray[np.int64]:
    """Return a number for every text of all columns, one after the other: equal for texts with the same key.

    Instead of the keys, 128 bits of their BLAKE2b digest are kept, 16 bytes a row: among 10⁹ texts two different ones
    have the same with probability 10⁻²¹.
    """
    digests = bytearray()
    for text in chain.from_iterable(columns):
        key = same_text_key(text).encode("utf-8", "surrogatepass")
        digests += hashlib.blake2b(key, digest_size=16).digest()
    halves = np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    ordered = halves[order]
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.cumsum(np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])[: len(order)]) - 1
    return numbers


def contradictions_and_repeats(
    texts: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return two masks over rows: those whose text has two labels, and those whose text stood in an earlier row.

    Args:
        texts: (N,) numbers of the texts.
        labels: (N,) class indices.
    """
    distinct, first, place = np.unique(texts, return_index=True, return_inverse=True)
    contradictory = np.zeros(len(distinct), dtype=bool)
    contradictory[place[labels != labels[first][place]]] = True
    repeated = np.ones(len(texts), dtype=bool)
    repeated[first] = False
    return contradictory[place], repeated


def shingles(text: str) -> set[str]:
    """Return the set of three-word sequences of a text, joined by spaces; a shorter text is one sequence.

    A character of a script without spaces (Chinese, Japanese, Korean) counts as a word, and so does a punctuation mark.
    """
    words = WORD.findall(text.casefold())
    if len(words) <= SHINGLE:
        return {" ".join(words)}
    return {" ".join(words[start : start + SHINGLE]) for start in range(len(words) - SHINGLE + 1)}


def near_duplicate_pairs(
    texts: Collection[str], others: Collection[str], threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Yield ``(i, j, similarity)`` for every pair of the i-th text and the j-th other one that reaches ``threshold``.

    The similarity is the Jaccard index of the two shingle sets, |A ∩ B| / |A ∪ B|, and exact: an index over the rare
    shingles of each set (prefix filtering, Chaudhuri et al. 2006, doi:10.1109/ICDE.2006.9) only rules pairs out that
    cannot reach the threshold. Memory holds one text and an index of at most ``INDEXED`` shingles of the others, so
    that the texts are read once for every so many.

    Args:
        texts: first texts; any number, and iterable more than once.
        others: texts that they are compared with.
        threshold: least similarity, in (0, 1].
    """
    start = 0
    for sets in _portions(others):
        index = _Index(sets, threshold)
        for position, text in enumerate(texts):
            for other, similarity in index.similar(shingles(text)):
                yield position, start + other, similarity
        start += len(sets)


def near_duplicates(texts: Collection[str], others: Collection[str], threshold: float) -> NDArray[np.bool_]:
    """Return a mask over ``texts``, true where a text's similarity to any of ``others`` reaches ``threshold``."""
    found = np.zeros(len(texts), dtype=bool)
    for position, _, _ in near_duplicate_pairs(texts, others, threshold):
        found[position] = True
    return found


def _portions(texts: Iterable[str]) -> Iterator[list[set[str]]]:
    """Yield the shingle sets of texts in portions of about ``INDEXED`` shingles."""
    portion, size = [], 0
    for text in texts:
        portion.append(shingles(text))
        size += len(portion[-1])
        if size >= INDEXED:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


class _Index:
    """Finds sets that are similar to a given one, among those that it was built from.

    Shingles are numbered from the rarest to the commonest here; one that none of the sets has is rarer still. Of two
    sets with similarity ≥ t, the first |A| − ⌈t|A|⌉ + 1 shingles of each in this order have one in common.
    """

    def __init__(self, sets: Sequence[set[str]], threshold: float) -> None:
        self.threshold = threshold
        counts = Counter(chain.from_iterable(sets))
        self.numbers = {shingle: number for number, (shingle, _) in enumerate(reversed(counts.most_common()))}
        self.members = [array("i", sorted(self.numbers[shingle] for shingle in items)) for items in sets]
        self.holders: dict[int, list[int]] = {}
        for place, members in enumerate(self.members):
            for number in members[: len(members) - self._least_shared(len(members)) + 1]:
                self.holders.setdefault(number, []).append(place)

    def _least_shared(self, size: int) -> int:
        """Return ⌈t|A|⌉: how many shingles of a set of this size a similar one shares at least."""
        return math.ceil(self.threshold * size - 1e-9)

    def similar(self, items: set[str]) -> Iterator[tuple[int, float]]:
        """Yield the place of every set that is similar to ``items``, and the similarity."""
        known = sorted(self.numbers[shingle] for shingle in items if shingle in self.numbers)
        rare = len(known) - self._least_shared(len(items)) + 1
        if rare < 1:
            return
        shared_by = set(known)
        for place in {place for number in known[:rare] for place in self.holders.get(number, ())}:
            members = self.members[place]
            smaller, larger = sorted((len(items), len(members)))
            if smaller < self.threshold * larger:
                continue
            shared = sum(number in shared_by for number in members)
            similarity = shared / (len(items) + len(members) - shared)
            if similarity >= self.threshold:
                yield place, similarity
