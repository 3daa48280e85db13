"""Find texts that are the same, or nearly."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003134f]|\w+|[^\w\s]")
SHINGLE = 3
CHUNK = 2_000  # evaluation rows compared at a time, to bound memory


def same_text_key(text: str) -> str:
    """Return a key that equal texts share, whatever their case and white space."""
    return " ".join(text.casefold().split())


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return the set of three-word sequences of a text; a shorter text is one sequence.

    A character of a script without spaces (Chinese, Japanese, Korean) counts as a word, and so does a punctuation mark.
    """
    words = WORD.findall(text.casefold())
    if len(words) <= SHINGLE:
        return {tuple(words)}
    return {tuple(words[start : start + SHINGLE]) for start in range(len(words) - SHINGLE + 1)}


def near_duplicate_pairs(
    texts: Sequence[str], others: Sequence[str], threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Yield ``(i, j, similarity)`` for every pair of ``texts[i]`` and ``others[j]`` that reaches ``threshold``.

    The similarity is the Jaccard index of the two shingle sets, |A ∩ B| / |A ∪ B|, and exact: an index over the rare
    shingles of each set (prefix filtering, Chaudhuri et al. 2006, doi:10.1109/ICDE.2006.9) only rules pairs out that
    cannot reach the threshold.

    Args:
        texts: first texts.
        others: texts that they are compared with.
        threshold: least similarity, in (0, 1].
    """
    if not len(texts) or not len(others):
        return
    matrix = _incidence([shingles(text) for text in [*texts, *others]])
    sizes = np.diff(matrix.indptr)
    rare = _prefixes(matrix, sizes, threshold)
    split = len(texts)
    rare_texts = rare[:split].T.tocsr()
    for start in range(split, matrix.shape[0], CHUNK):
        candidates = (rare[start : start + CHUNK] @ rare_texts).tocoo()
        right, left = candidates.row.astype(np.int64) + start, candidates.col.astype(np.int64)
        possible = np.minimum(sizes[left], sizes[right]) >= threshold * np.maximum(sizes[left], sizes[right])
        right, left = right[possible], left[possible]
        if not len(left):
            continue
        shared = np.asarray(matrix[left].multiply(matrix[right]).sum(axis=1)).ravel()
        similarity = shared / (sizes[left] + sizes[right] - shared)
        for index in np.flatnonzero(similarity >= threshold):
            yield int(left[index]), int(right[index] - split), float(similarity[index])


def near_duplicates(texts: Sequence[str], others: Sequence[str], threshold: float) -> NDArray[np.bool_]:
    """Return a mask over ``texts``, true where a text's similarity to any of ``others`` reaches ``threshold``."""
    found = np.zeros(len(texts), dtype=bool)
    found[[left for left, _, _ in near_duplicate_pairs(texts, others, threshold)]] = True
    return found


def _incidence(sets: list[set[tuple[str, ...]]]) -> csr_matrix:
    """Return the 0/1 matrix of texts × shingles, with columns ordered from the rarest shingle to the commonest."""
    from scipy.sparse import csr_matrix

    numbers: dict[tuple[str, ...], int] = {}
    columns = np.fromiter((numbers.setdefault(item, len(numbers)) for items in sets for item in items), dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum([len(items) for items in sets])])
    order = np.argsort(np.bincount(columns, minlength=len(numbers)), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    ones = np.ones(len(columns), dtype=np.int32)
    matrix = csr_matrix((ones, rank[columns], starts), shape=(len(sets), len(numbers)))
    matrix.sort_indices()
    return matrix


def _prefixes(matrix: csr_matrix, sizes: NDArray[np.int32], threshold: float) -> csr_matrix:
    """Keep each row's first |A| − ⌈t|A|⌉ + 1 columns: two sets with similarity ≥ t share one of them."""
    from scipy.sparse import csr_matrix

    lengths = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
    position = np.arange(len(matrix.indices)) - np.repeat(matrix.indptr[:-1], sizes)
    kept = position < np.repeat(lengths, sizes)
    starts = np.concatenate([[0], np.cumsum(np.minimum(lengths, sizes))])
    return csr_matrix((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)
