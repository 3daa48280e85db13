"""Measures of the residual stream over real tokens: its size, how alike its tokens are, its rank, its outliers.

Every function takes a stream ``x`` ``(B, T, D)``, float32 or float64, and the mask ``(B, T)`` (True: real token), and
returns a scalar tensor. Measures of a row's tokens are averaged over the rows that have at least two of them. If no row
has two, the answer is NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rms(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the root mean square of all features of all real tokens, ``√mean(x²)``."""
    return x[attention_mask].square().mean().sqrt()


def mean(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean of all features of all real tokens."""
    return x[attention_mask].mean()


def update_share(update: Tensor, x: Tensor, attention_mask: Tensor) -> Tensor:
    """Return ``‖y‖_F / ‖x‖_F``: the size of what a sublayer adds, ``y`` ``(B, T, D)``, against what it is added to.

    Both with the weights that the residual scheme gives them; without a residual connection, ``y`` replaces ``x``.
    """
    return update[attention_mask].norm() / x[attention_mask].norm()


def token_cosine(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean cosine similarity between different real tokens of a row.

    With unit vectors u_t of the n tokens of a row (as in Noci et al. 2022, arXiv:2206.03126)::

        1/(n(n - 1)) Σ_{s≠t} u_s·u_t  =  (‖Σ_t u_t‖² - Σ_t ‖u_t‖²) / (n(n - 1))

    A token that is zero is orthogonal to all others.
    """
    size = x.norm(dim=-1, keepdim=True)
    unit = torch.where((size > 0) & attention_mask[..., None], x / size, 0.0)
    together = unit.sum(dim=1).square().sum(dim=-1) - unit.square().sum(dim=(1, 2))
    tokens = attention_mask.sum(dim=1)
    return mean_over_rows(together / (tokens * (tokens - 1)), attention_mask)


def rank_one_distance(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Return ``‖X - 1·x̄ᵀ‖_F / ‖X‖_F`` of a row's tokens X with mean x̄: 0 if all tokens are equal, at most 1.

    The residual of Dong et al. 2021 (arXiv:2103.03404, section 2), in the Frobenius norm and relative to X. A row of
    zeros has distance 0.
    """
    real = attention_mask[..., None]
    centre = x.masked_fill(~real, 0.0).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True).clamp(min=1)
    residual = (x - centre).masked_fill(~real, 0.0).flatten(1).norm(dim=1)
    size = x.masked_fill(~real, 0.0).flatten(1).norm(dim=1)
    return mean_over_rows(torch.where(size == 0, 0.0, residual / size), attention_mask)


def effective_rank(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the effective rank of a row's tokens X ``(n, D)`` (Roy & Vetterli 2007, definition 1).

    With the singular values σ of X::

        exp(-Σ_k p_k·ln p_k),   p_k = σ_k / Σ_j σ_j

    It lies between 1 and min(n, D). A stream that is not finite has none (NaN), nor has a row of zeros.
    """
    if not x[attention_mask].isfinite().all():
        return x.new_tensor(torch.nan)
    singular_values = torch.linalg.svdvals(x.masked_fill(~attention_mask[..., None], 0.0))  # zero rows add zeros
    share = singular_values / singular_values.sum(dim=-1, keepdim=True)
    return mean_over_rows(torch.special.entr(share).sum(dim=-1).exp(), attention_mask)


def kurtosis(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the kurtosis of the neurons' root mean squares, which outlier features raise (arXiv:2405.19279).

    With s_j the root mean square of feature j over all real tokens::

        mean_j(s_j⁴) / (mean_j s_j²)²

    It is 1 if all D neurons are of one size and D if all but one are zero.
    """
    square = x[attention_mask].square().mean(dim=0)
    return square.square().mean() / square.mean().square()


def mean_over_rows(values: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean of ``values`` ``(B,)`` over the rows that have at least two real tokens."""
    return values[attention_mask.sum(dim=1) > 1].mean()
