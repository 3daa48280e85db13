"""Find texts that are the same, or nearly."""

from __future__ import annotations

import hashlib
import logging
import math
import re
import time
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from data_modules.errors import DataError

LOGGER = logging.getLogger(__name__)
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003134f]|\w+|[^\w\s]")
SHINGLE = 3
MOST_COMPARISONS = 200_000_000  # pairs whose shingles are counted: about ten minutes
SECONDS_BETWEEN_WORDS = 10.0
INDEXED = 1_000_000  # shingles indexed at a time, to bound memory: about 200 MiB


def same_text_key(text: str) -> str:
    """Return a key that is the same for texts that differ in case and white space alone."""
    return " ".join(text.casefold().split())


def same_texts(columns: Iterable[Iterable[str]]) -> NDArray[np.int64]:
    """Return a number for every text of all columns, one after the other: equal for texts with the same key.

    Instead of the keys, 128 bits of their BLAKE2b digest are kept, 16 bytes a row. Among 10⁹ texts, two different ones
    share a digest with probability 10⁻²¹.
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
    """Return two masks over rows: those whose text has two labels, and those whose text is that of an earlier row.

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
    shingles of each set (prefix filtering, Chaudhuri et al. 2006, doi:10.1109/ICDE.2006.9, with the bound by position
    of Xiao et al. 2008, doi:10.1145/1367497.1367516) only rules pairs out that cannot reach the threshold. Memory holds
    one text and an index of at most ``INDEXED`` shingles of the others, so the texts are read once for each such part.

    Args:
        texts: first texts; any number, and iterable more than once.
        others: texts that they are compared with.
        threshold: least similarity, in (0, 1].

    Raises:
        DataError: more than ``MOST_COMPARISONS`` pairs would have to be compared.
    """
    for start, position, similar in _similar(texts, others, threshold):
        for other, similarity in similar:
            yield position, start + other, similarity


def near_duplicates(texts: Collection[str], others: Collection[str], threshold: float) -> NDArray[np.bool_]:
    """Return a mask over ``texts``, true where a text's similarity to any of ``others`` reaches ``threshold``.

    Raises:
        DataError: more than ``MOST_COMPARISONS`` pairs would have to be compared.
    """
    found = np.zeros(len(texts), dtype=bool)
    for _, position, similar in _similar(texts, others, threshold):
        found[position] = found[position] or next(similar, None) is not None  # the first one is enough
    return found


def _similar(
    texts: Collection[str], others: Iterable[str], threshold: float
) -> Iterator[tuple[int, int, Iterator[tuple[int, float]]]]:
    """Yield, for every part of the others and every text, the part's start, the text's position and what is similar."""
    start = compared = 0
    progress = _Progress(len(texts))
    for sets in _portions(others):
        index = _Index(sets, threshold)
        for position, text in enumerate(texts):
            yield start, position, index.similar(shingles(text))
            progress.say(position)
            if compared + index.compared > MOST_COMPARISONS:
                raise DataError(
                    f"the search for near duplicates gave up after {MOST_COMPARISONS:,} comparisons: the rows are much "
                    "alike, as from one template; set data.near_duplicate_threshold to null"
                )
        compared += index.compared
        start += len(sets)


class _Progress:
    """Logs now and then how far a long search has come."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.next = time.monotonic() + SECONDS_BETWEEN_WORDS

    def say(self, position: int) -> None:
        """Log one line if the last one was some time ago."""
        if position % 100 == 0 and time.monotonic() > self.next:
            self.next = time.monotonic() + SECONDS_BETWEEN_WORDS
            LOGGER.warning("looking for near duplicates: %s of %s rows compared", f"{position:,}", f"{self.total:,}")


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
    """Finds the sets, among those that it was built from, that are similar to a given one.

    Shingles are numbered from the rarest to the commonest here; a shingle that none of the sets has is rarer still. Of
    two sets with similarity ≥ t, the first |A| − ⌈t|A|⌉ + 1 shingles of each in this order have one in common. Sets are
    kept by shingle, size and the shingle's position: two sets whose first common shingle is at positions i and j share
    at most min(|A| − i, |B| − j) shingles. So whole groups are ruled out at once.

    Attributes:
        compared: sets that were compared so far.
    """

    def __init__(self, sets: Sequence[set[str]], threshold: float) -> None:
        self.threshold = threshold
        self.compared = 0
        counts = Counter(chain.from_iterable(sets))
        self.numbers = {shingle: number for number, (shingle, _) in enumerate(reversed(counts.most_common()))}
        self.members = [array("i", sorted(self.numbers[shingle] for shingle in items)) for items in sets]
        self.holders: dict[int, dict[tuple[int, int], list[int]]] = {}
        for place, members in enumerate(self.members):
            size = len(members)
            for position, number in enumerate(members[: size - self._least_shared(size) + 1]):
                self.holders.setdefault(number, {}).setdefault((size, position), []).append(place)

    def _least_shared(self, size: int) -> int:
        """Return ⌈t|A|⌉: how many shingles a similar set shares at least with a set of this size."""
        return math.ceil(self.threshold * size - 1e-9)

    def similar(self, items: set[str]) -> Iterator[tuple[int, float]]:
        """Yield the place of every set that is similar to ``items``, and the similarity."""
        known = sorted(self.numbers[shingle] for shingle in items if shingle in self.numbers)
        size = len(items)
        rare = len(known) - self._least_shared(size) + 1
        if rare < 1:
            return
        shared_by = set(known)
        seen: set[int] = set()
        for position, number in enumerate(known[:rare], start=size - len(known)):
            for (other_size, other_position), places in self.holders.get(number, {}).items():
                most = min(size - position, other_size - other_position)
                if most < self.threshold * (size + other_size - most) - 1e-9:
                    continue
                for place in places:
                    if place in seen:
                        continue
                    seen.add(place)
                    self.compared += 1
                    shared = sum(number in shared_by for number in self.members[place])
                    similarity = shared / (size + other_size - shared)
                    if similarity >= self.threshold:
                        yield place, similarity
