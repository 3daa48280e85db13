"""Windows with hidden tokens, and pairs of spans, as in the training of BERT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from data_modules.batches.windows import Windows, WindowSettings
from data_modules.tokens.encoding import EncodedSplit

HIDDEN, RANDOM = 0.8, 0.1
"""Of the chosen tokens, the shares that become ``<mask>`` and a random token (arXiv:1810.04805, section 3.1)."""


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """What is hidden."""

    mask_id: int
    class_id: int | None
    """Id of the token that opens every window, if any."""
    share: float
    """Share of the tokens that are chosen."""
    ordinary: NDArray[np.int64]
    """Ids of the ordinary tokens, without special ones: tokens to hide and random tokens are drawn from these."""
    pairs: bool = False
    """Whether a window is two spans; the second may come from elsewhere."""


class MaskedWindows(Windows):
    """Windows of T tokens of which some are to be predicted (Devlin et al. 2018, arXiv:1810.04805, section 3.1).

    A window opens with ``<cls>`` if the tokenizer has this token. Each ordinary token is chosen with the configured
    probability, and at least one is chosen. Of the chosen tokens, 80 % become ``<mask>``, 10 % become a random token
    and 10 % stay; all of them are targets.

    With pairs, a window is ``<cls> A <eos> B <eos>``. In half of the windows, by chance, B follows A in the stream; in
    the others it is the second half of another window, drawn at random. A batch then has ``follows`` (B,), 1 or 0.

    What becomes of window w depends on ``seeds(epoch)`` and w alone.

    Args:
        split: the documents.
        settings: how windows are cut.
        masks: what is hidden.
        seeds: numbers that the draws depend on, by epoch; for evaluation windows they are always the same.
    """

    def __init__(
        self,
        split: EncodedSplit,
        settings: WindowSettings,
        masks: MaskSettings,
        seeds: Callable[[int], tuple[int, ...]],
    ) -> None:
        super().__init__(split, settings)
        self.masks = masks
        self.seeds = seeds
        self._is_ordinary = np.zeros(int(masks.ordinary.max()) + 1, dtype=bool)
        self._is_ordinary[masks.ordinary] = True

    @property
    def stride(self) -> int:
        """Tokens of the stream that a window takes up, without those that frame it."""
        opening = self.masks.class_id is not None
        return self.settings.length - opening - (2 if self.masks.pairs else 0)

    def __getitem__(self, place: Any) -> dict[str, Tensor]:
        epoch, rows = place
        starts = rows[:, None] * self.stride
        places = starts + np.arange(self.stride)
        draws = [np.random.default_rng([*self.seeds(int(epoch)), int(row)]) for row in rows]
        more: dict[str, NDArray[Any]] = {}
        if self.masks.pairs:
            places, more["follows"] = self._paired(places, draws)
        real = places < len(self.split.tokens)
        tokens = np.where(real, self.tokens_at(places), self.settings.padding_id)
        tokens, real, places = self._framed(tokens, real, places)
        chosen, inputs = np.zeros_like(real), tokens.copy()
        for row, draw in enumerate(draws):
            chosen[row], inputs[row] = self._hidden(tokens[row], real[row], draw)
        return self.batch(rows, inputs, tokens, chosen, places, real, **more)

    def _paired(
        self, places: NDArray[np.int64], draws: list[np.random.Generator]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Replace the second half of some windows by another window's; return places and whether each half follows."""
        half, windows = self.stride // 2, len(self)
        follows = np.ones(len(places), dtype=np.int64)
        for row, draw in enumerate(draws):
            number = places[row, 0] // self.stride
            if windows > 1 and draw.random() < 0.5:
                other = (number + draw.integers(1, windows)) % windows
                places[row, half:] += (other - number) * self.stride
                follows[row] = 0
        return places, follows

    def _framed(
        self, tokens: NDArray[np.int64], real: NDArray[np.bool_], places: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Put ``<cls>`` before a window and, with pairs, ``<eos>`` after each span; return tokens, mask and places."""
        pieces = (
            [slice(None)] if not self.masks.pairs else [slice(None, self.stride // 2), slice(self.stride // 2, None)]
        )
        columns: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []

        def special(token: int, beside: NDArray[np.int64]) -> None:
            shape = (len(tokens), 1)
            columns.append((np.full(shape, token), np.ones(shape, dtype=bool), beside[:, None]))

        if self.masks.class_id is not None:
            special(self.masks.class_id, places[:, 0])
        for piece in pieces:
            columns.append((tokens[:, piece], real[:, piece], places[:, piece]))
            if self.masks.pairs:
                special(self.settings.end_id, places[:, piece][:, -1])
        together = [np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True)]
        return together[0], together[1], together[2]

    def _hidden(
        self, tokens: NDArray[np.int64], real: NDArray[np.bool_], draw: np.random.Generator
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Choose tokens of one window; return which are chosen and what is shown in their place, (T,) both."""
        known = real & (tokens < len(self._is_ordinary))
        eligible = known & self._is_ordinary[np.where(known, tokens, 0)]
        chances, fates = draw.random(len(tokens)), draw.random(len(tokens))
        others = self.masks.ordinary[draw.integers(0, len(self.masks.ordinary), len(tokens))]
        chosen = eligible & (chances < self.masks.share)
        if eligible.any() and not chosen.any():
            chosen[np.where(eligible, chances, np.inf).argmin()] = True
        shown = np.where(chosen & (fates < HIDDEN), self.masks.mask_id, tokens)
        return chosen, np.where(chosen & (fates >= HIDDEN) & (fates < HIDDEN + RANDOM), others, shown)
