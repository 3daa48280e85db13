"""T2: rank collapse of pure attention (Dong et al. 2021, arXiv:2103.03404)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from experiments.planning.names import reject_unknown
from experiments.reporting.style import GREY, Picture
from experiments.studies.study import (
    Means,
    Quantities,
    Row,
    Start,
    StudyAtStart,
    course_caption,
    draw_course,
    said,
    shared_legend,
)

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

ATTENTION, BOTH = ("attention",), ("attention", "feed_forward")


@dataclass(frozen=True)
class Stack:
    """Blocks of a variant that have some of their sublayers, drawn in the variant's look."""

    label: str
    variant: str
    roles: tuple[str, ...]
    line: Mapping[str, Any] = field(default_factory=dict)
    """The style of its line, in place of the variant's look."""


STACKS = {
    "attention": Stack("attention alone", "plain", ATTENTION),
    "attention_skip": Stack("attention and skip", "no_norm", ATTENTION),
    "attention_norm": Stack("attention and LayerNorm", "no_residual", ATTENTION),
    "attention_feed_forward": Stack("attention and feed-forward", "plain", BOTH, {"ls": ":", "mfc": "white"}),
    "post_ln": Stack("Post-LN block", "post_ln", BOTH),
    "pre_ln": Stack("Pre-LN block", "pre_ln", BOTH),
}
"""Attention alone, with one part added, and the two usual blocks."""
ALONE = "attention"

LARGE, ROUNDING = 0.3, 1e-12
"""Distances between which the exponent is taken: above, the collapse has not begun; below, float64 rounds."""
UNDERFLOW = 1e-250
"""The lower one where mean and deviation are kept apart: below, products of deviations leave float64's range."""
EARLY = 4


@dataclass(frozen=True, kw_only=True)
class RankCollapse(StudyAtStart):
    """Distance of the tokens from rank one by depth, in stacks with and without their parts."""

    measurement = "rank_collapse"
    keys = ("start", "stack", "block")
    values = ("rank_one_distance",)

    stacks: list[str]
    """Stacks to compare, names of ``STACKS``."""

    starts: list[Start]
    """Sizes and initial weights; the first one decides the verdict."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.stacks:
            reject_unknown("setup.stacks", name, STACKS)

    def measure(self, seed: int) -> list[Row]:
        """Measure the distance from rank one of a standard normal stream, before the first and after every block.

        All in float64. For attention alone, mean and deviation are kept apart (:func:`separated_distances`). For the
        other stacks, a distance below about 1e-16 is rounding.
        """
        from experiments.studies.networks import input_generator, normal_stream, partial_blocks

        blocks = max(self.layers)
        found: list[Row] = []
        for start in self.starts:
            x = normal_stream(self.rows, self.length, start.width, input_generator(seed))
            for name in self.stacks:
                built = partial_blocks(STACKS[name].variant, STACKS[name].roles, start, blocks, seed)
                found += [
                    {"start": start.name, "stack": name, "block": block, "rank_one_distance": distance}
                    for block, distance in enumerate(
                        separated_distances(built, x) if name == ALONE else distances_by_block(built, x)
                    )
                ]
        return found

    @staticmethod
    def quantities(rows: DataFrame) -> Quantities:
        """Compute distances and contractions; those of the second start have its name in front.

        ``<stack>_after_4`` and ``<stack>_after_<last>`` are distances from rank one. ``<stack>_least_exponent`` is
        :func:`least_exponent`. ``post_ln_extra_contraction`` is the distance of Pre-LN after the last block divided by
        that of Post-LN.
        """
        found: Quantities = {}
        for place, (start, of_start) in enumerate(rows.groupby("start", sort=False)):
            prefix = f"{str(start).lower()}_" if place else ""
            courses = {str(stack): list(part.rank_one_distance) for stack, part in of_start.groupby("stack")}
            for stack, distances in courses.items():
                last = len(distances) - 1
                found |= {f"{prefix}{stack}_after_{block}": distances[block] for block in {min(EARLY, last), last}}
                smallest = UNDERFLOW if stack == ALONE else ROUNDING
                found[f"{prefix}{stack}_least_exponent"] = least_exponent(distances, smallest)
            if {"post_ln", "pre_ln"} <= courses.keys():
                found[f"{prefix}post_ln_extra_contraction"] = courses["pre_ln"][-1] / courses["post_ln"][-1]
        return found

    def draw(self, rows: DataFrame, means: Means) -> Picture:
        """Draw every stack's distance on a logarithmic axis; the dotted line is where float64 rounds."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.6, 3.8), layout="constrained")
        panels = figure.subplots(1, len(self.starts), sharey=True)
        for axes, start in zip(panels, self.starts, strict=True):
            for name in self.stacks:
                part, stack = rows[(rows["start"] == start.name) & (rows["stack"] == name)], STACKS[name]
                draw_course(axes, part, "block", "rank_one_distance", stack.variant, geometric=True,
                            **{"label": stack.label, **stack.line})  # fmt: skip
            axes.axhline(2e-16, color=GREY, lw=0.9, ls=":")
            axes.set_yscale("log")
            axes.set_xlabel("block")
            axes.set_title(start.title, loc="left", fontsize=9)
        panels[0].set_ylabel("distance of the tokens from rank one\n‖X − 1x̄ᵀ‖ / ‖X‖")
        panels[0].set_ylim(1e-24, 5)
        panels[0].text(12, 1e-16, "rounding of float64", ha="right", va="top", fontsize=7, color=GREY)
        shared_legend(figure, panels[0], 3)
        first = self.starts[0].name
        return Picture(
            figure,
            f"{first}'s start: attention alone is {said(means['attention_after_4'], '.0e')} from rank one after 4 "
            f"blocks; with skips {said(means['attention_skip_after_12'])} after 12",
            f"From the other start skips keep {said(means['xavier_attention_skip_after_12'])} after 12 blocks. "
            f"{course_caption(self.seeds)}",
        )


def distances_by_block(blocks: Iterable[Callable[..., Tensor]], x: Tensor) -> list[float]:
    """Measure ``‖X - 1·x̄ᵀ‖_F / ‖X‖_F`` of ``x`` ``(B, T, D)`` and after each block."""
    import torch

    from experiments.studies.networks import all_real, stream_by_block
    from lightning_modules.probes.signal import rank_one_distance

    mask = all_real(x).attention_mask
    with torch.no_grad():
        return [rank_one_distance(state, mask).item() for state in stream_by_block(blocks, x)]


def separated_distances(blocks: Iterable[Any], x: Tensor) -> list[float]:
    """Measure the same for blocks that are attention alone, far below what float64 resolves next to the mean.

    The stream is kept as its mean over tokens m and the deviations R, whose sum is zero. A logit is
    ``q_i·k_j = q_m·k_m + q_i·k_m + q_m·ρ_j + ρ'_i·ρ_j``, with ρ of R alone. The terms without j leave a softmax as it
    is. The third one is common to all queries: with ``p = softmax(q_m·ρ_j/√d)`` and ``e = expm1(ρ'_i·ρ_j/√d)`` the
    weights are ``a_ij = p_j + p_j·(e_ij − z_i)/(1 + z_i)``, where ``z_i = Σ_k p_k·e_ik``. The terms besides p make
    tokens differ, and no two nearly equal numbers are subtracted.

    Args:
        blocks: each with one attention sublayer without sites, float64.
        x: the stream, ``(B, T, D)``.
    """
    import torch

    found = []
    with torch.no_grad():
        mean, deviation = _centred(x)
        found.append(_distance(mean, deviation))
        for (sublayer,) in blocks:
            mean, deviation = attended_apart(sublayer.function, mean, deviation)
            found.append(_distance(mean, deviation))
    return found


def attended_apart(attention: Any, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Apply attention to a stream given as mean ``(B, 1, D)`` and deviations ``(B, T, D)``; return the same of it."""
    import torch
    from torch.nn import functional as F

    weight, bias, heads = attention.query_key_value.weight, attention.query_key_value.bias, attention.number_of_heads

    def projected(part: Tensor, bias: Tensor | None) -> Sequence[Tensor]:
        batch, length, width = part.shape
        return (
            F.linear(part, weight, bias).view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind()
        )

    (query_mean, _, value_mean), (query, key, value) = projected(mean, bias), projected(deviation, None)
    scale = query.shape[-1] ** -0.5
    common = torch.softmax(query_mean @ key.mT * scale, dim=-1)  # (B, H, 1, T)
    excess = torch.expm1(query @ key.mT * scale)  # (B, H, T, T)
    total = (common * excess).sum(-1, keepdim=True)
    differing = (common * (excess - total) / (1 + total)) @ value  # (B, H, T, d_h)
    shared, apart = _centred(differing.transpose(1, 2).flatten(2))
    kept = (value_mean + common @ value).transpose(1, 2).flatten(2) + shared
    return attention.output(kept), F.linear(apart, attention.output.weight)


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Split ``(B, T, D)`` into its mean over tokens and the deviations."""
    mean = x.mean(1, keepdim=True)
    return mean, x - mean


def _distance(mean: Tensor, deviation: Tensor) -> float:
    """``‖R‖/√(T·‖m‖² + ‖R‖²)`` of each row, averaged over rows; the largest deviation is taken out before squaring."""
    import torch

    largest = deviation.abs().amax((1, 2)).clamp_min(1e-300)
    spread = (deviation / largest[:, None, None]).norm(dim=(1, 2)) * largest
    level = deviation.shape[1] ** 0.5 * mean.norm(dim=(1, 2))
    return float((spread / torch.hypot(level, spread)).mean())


def least_exponent(distances: Sequence[float], smallest: float = ROUNDING) -> float | None:
    """Find the smallest ``ln r(l+1) / ln r(l)`` over blocks with r(l) < 0.3 and r(l+1) > ``smallest``.

    A distance that falls as ``r(l+1) = r(l)^p`` falls doubly exponentially, ``r(l) = r(0)^(p^l)``. None if no block
    lies in the window.
    """
    pairs = itertools.pairwise(distances)
    return min(
        (math.log(after) / math.log(before) for before, after in pairs if before < LARGE and after > smallest),
        default=None,
    )
