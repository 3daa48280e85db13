"""Why a classifier answers as it does: what each word adds to the probability of the answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_modules.cleaning.text import clean_text
from experiments.errors import ExperimentError
from experiments.runs.inference import TrainedModel

STEPS = 64
"""Points on the way from the empty text to the text at which the gradient is taken."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What each word of a text contributes to its answer."""

    answer: str
    probability: float
    """Probability of the answer."""
    baseline: float
    """Probability of the answer if every word's embedding is zero."""
    words: tuple[tuple[str, float], ...]
    """Each word with its contribution, in order; contributions add up to ``probability`` − ``baseline``."""
    cut: int
    """Characters at the end that the network did not read."""

    @property
    def gap(self) -> float:
        """Difference between the sum of contributions and the value to which they should add up."""
        return self.probability - self.baseline - sum(value for _, value in self.words)


def explain(model: TrainedModel, text: str, steps: int = STEPS) -> Explanation:
    """Return integrated gradients of the answer's probability (Sundararajan et al. 2017, arXiv:1703.01365, eq. 1).

    With the embeddings x of the text and x' = 0 for the words, special tokens as they are::

        contribution of token t = Σ_d (x_td − x'_td) · ∫₀¹ ∂p(x' + a·(x − x'))/∂x_td da

    by captum's Gauss–Legendre quadrature. Tokens of one word add up.

    Raises:
        ExperimentError: captum is not installed, or the text has no word.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise ExperimentError("--explain needs captum: pip install -r requirements-export.txt") from None
    given = clean_text(text) if model.data.config.clean else text
    encoding = model.data.encoded.tokenizer.backend.encode(given)
    if not any(word is not None for word in encoding.word_ids):
        raise ExperimentError("the text has no word to explain an answer by")
    network = model.module.network
    ids = torch.tensor([encoding.ids], device=model.module.device)  # (1, T)
    real = torch.ones_like(ids, dtype=torch.bool)
    vectors = network.backbone.embeddings.table(ids).detach()  # (1, T, D)
    is_word = torch.tensor([word is not None for word in encoding.word_ids], device=ids.device)
    nothing = vectors.masked_fill(is_word[None, :, None], 0.0)

    def probabilities(moved: Tensor) -> Tensor:
        return network(moved, real.expand(len(moved), -1)).float().softmax(dim=-1)

    with torch.no_grad():
        found, without = probabilities(vectors)[0], probabilities(nothing)[0]
    answer = int(found.argmax())
    method = IntegratedGradients(probabilities, multiply_by_inputs=True)
    values = method.attribute(vectors, nothing, target=answer, n_steps=steps, internal_batch_size=16)
    by_token = values.detach()[0].double().sum(dim=-1).cpu().numpy()
    return Explanation(
        answer=model.data.facts.class_names[answer],
        probability=float(found[answer]),
        baseline=float(without[answer]),
        words=words_of(given, encoding.word_ids, encoding.offsets, by_token),
        cut=len(given) - max(end for _, end in encoding.offsets),
    )


def words_of(
    text: str, numbers: list[int | None], offsets: list[tuple[int, int]], values: np.ndarray
) -> tuple[tuple[str, float], ...]:
    """Return each word as it is written, with the sum of its tokens' values.

    Args:
        text: what was cut into tokens.
        numbers: number of each token's word; None of special tokens.
        offsets: where each token begins and ends in the text.
        values: of each token, ``(T,)``.
    """
    found: list[tuple[int, int, float]] = []
    last: int | None = None
    for number, (start, end), value in zip(numbers, offsets, values.tolist(), strict=True):
        if number is None:
            continue
        if found and number == last:
            first, before, sum_so_far = found[-1]
            found[-1] = first, max(before, end), sum_so_far + value
        else:
            found.append((start, end, value))
        last = number
    return tuple((text[start:end].strip(), value) for start, end, value in found)
