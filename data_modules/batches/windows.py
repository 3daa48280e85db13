"""Windows of fixed length on a stream of documents, for models that predict tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from data_modules.tokens.encoding import EncodedSplit

IGNORED = -100
"""Target of a position at which nothing is predicted, the default of PyTorch's cross-entropy."""


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """How windows are cut."""

    length: int
    """Tokens of a window, T."""
    padding_id: int
    end_id: int
    """Id of ``<eos>``, which also opens the stream."""
    byte_lengths: NDArray[np.int64] | None = None
    """Bytes that each token spells, ``(vocabulary,)``; None if the tokenizer's pieces are not bytes."""
    documents_apart: bool = False
    """Whether batches say which document each token belongs to."""


class Windows(Dataset[dict[str, Tensor]]):
    """Fetches a whole batch of windows at once: ``windows[numbers]``.

    The split's documents, each with ``<eos>`` at its end, are one stream of N tokens. The targets of window w are the
    tokens from w·T to (w + 1)·T, and its inputs are the tokens one place earlier. So every token is predicted once. An
    ``<eos>`` comes before the first token. The last window is padded.

    A batch holds ``input_ids`` (B, T), ``targets`` (B, T; ``IGNORED`` at padding), ``attention_mask`` (B, T) bool and
    ``rows`` (B,). If bytes can be counted, it also holds ``bytes`` (B,), the bytes that the targets spell. If documents
    are kept apart, it holds ``segments`` (B, T), the document of the token that each position predicts.
    """

    def __init__(self, split: EncodedSplit, settings: WindowSettings) -> None:
        self.split = split
        self.settings = settings

    @property
    def stride(self) -> int:
        """Tokens of the stream that a window takes up."""
        return self.settings.length

    def __len__(self) -> int:
        return -(-len(self.split.tokens) // self.stride)

    def __getitem__(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        places = rows[:, None] * self.stride + np.arange(self.stride)
        real = places < len(self.split.tokens)
        targets = self.tokens_at(places)
        inputs = np.where(places == 0, self.settings.end_id, self.tokens_at(places - 1))
        return self.batch(rows, np.where(real, inputs, self.settings.padding_id), targets, real, places)

    def tokens_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the stream's tokens at the given places; outside the stream they are arbitrary."""
        return self.split.tokens[np.clip(places, 0, len(self.split.tokens) - 1)].astype(np.int64)

    def batch(
        self,
        rows: NDArray[np.int64],
        inputs: NDArray[np.int64],
        targets: NDArray[np.int64],
        predicted: NDArray[np.bool_],
        places: NDArray[np.int64],
        real: NDArray[np.bool_] | None = None,
        **more: NDArray[Any],
    ) -> dict[str, Tensor]:
        """Return a batch of tensors.

        Args:
            rows: (B,) numbers of the windows.
            inputs: (B, T) token ids.
            targets: (B, T) token ids.
            predicted: (B, T) whether a position's target counts.
            places: (B, T) places of the targets in the stream.
            real: (B, T) which inputs are real tokens; by default those whose target counts.
            more: further arrays.
        """
        arrays = {
            "input_ids": inputs,
            "targets": np.where(predicted, targets, IGNORED),
            "attention_mask": predicted if real is None else real,
            "rows": np.array(rows),
            **more,
        }
        if self.settings.byte_lengths is not None:
            arrays["bytes"] = np.where(predicted, self.settings.byte_lengths[targets], 0).sum(axis=1)
        if self.settings.documents_apart:
            inside = np.minimum(places, len(self.split.tokens) - 1)  # padding sees the last document, not nothing
            arrays["segments"] = np.searchsorted(self.split.offsets, inside, side="right")
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
