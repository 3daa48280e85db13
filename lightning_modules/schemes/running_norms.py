"""Norms over other tokens, other rows, or earlier steps. They differ between training and use."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.context import Context
from lightning_modules.network.parts import op
from lightning_modules.network.sites import Norm
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import PRE_LN
from lightning_modules.schemes.variants import INPUT, ROWS, TIME, register, use

EPSILON = 1e-5


def real_tokens(context: Context, x: Tensor) -> Tensor:
    """Return the mask ``(B, T, 1)`` as numbers of the kind of ``x``."""
    return context.attention_mask[..., None].to(x.dtype)


@op("global_norm")
class GlobalNorm(Norm):
    """Global layer normalisation: mean and variance over all features of all real tokens of a row.

    Luo & Mesgarani 2019, arXiv:1809.07454 (gLN).
    """

    uses_context = True

    def __init__(self, width: int, place: Place) -> None:
        super().__init__(width, place)
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        real = real_tokens(context, x)
        values = (real.sum((1, 2), keepdim=True) * self.width).clamp(min=1)
        mean = (x * real).sum((1, 2), keepdim=True) / values
        variance = ((x - mean).square() * real).sum((1, 2), keepdim=True) / values
        return self.gain * (x - mean) * torch.rsqrt(variance + EPSILON) + self.bias


@op("masked_batch_norm")
class MaskedBatchNorm(Norm):
    """Mean and variance of each feature over the real tokens of a batch; running ones in evaluation.

    Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2; running statistics move by 0.1 a step.
    """

    uses_context = True
    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, width: int, place: Place, momentum: float = 0.1) -> None:
        super().__init__(width, place)
        self.momentum = momentum
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_variance", torch.ones(width))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Normalise ``x`` ``(B, T, D)`` by the statistics of real tokens; in evaluation by the running ones."""
        if self.training:
            real = real_tokens(context, x)
            count = real.sum()
            mean = (x * real).sum((0, 1)) / count
            variance = ((x - mean).square() * real).sum((0, 1)) / count
            with torch.no_grad():
                unbiased = variance * count / (count - 1).clamp(min=1)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_variance.lerp_(unbiased.to(self.running_variance.dtype), self.momentum)
        else:
            mean, variance = self.running_mean, self.running_variance
        return self.gain * (x - mean) * torch.rsqrt(variance + EPSILON) + self.bias


class RunningBackward(torch.autograd.Function):
    """``z = x/ψ`` forward; backward ``(g - ν·z)/ψ``, which has the running ν in place of the batch's mean of g·z.

    ν takes up the mean of ``(g - ν·z)·z`` over real tokens (arXiv:2003.07845).
    """

    @staticmethod
    def forward(context: Any, x: Tensor, psi: Tensor, nu: Tensor, real: Tensor, kept: float) -> Tensor:
        z = x / psi
        context.save_for_backward(z, psi, nu, real)
        context.kept = kept
        return z

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        z, psi, nu, real = context.saved_tensors
        approximate = gradients[0] - nu * z
        mean = (approximate * z * real).sum((0, 1)) / real.sum()
        nu.add_(mean.to(nu.dtype), alpha=1 - context.kept)
        return approximate / psi, None, None, None, None


@op("power_norm")
class PowerNorm(Norm):
    """PowerNorm: a running quadratic mean of each feature over real tokens (Shen et al. 2020, arXiv:2003.07845)::

        x ← x/RMS(x) by head,   y = γ ⊙ x/ψ + β,   ψ² ← α·ψ² + (1 - α)·mean(x²),   α = 0.9

    During the first ``warmup`` steps ψ² is the batch's own mean. The backward pass is that of
    :class:`RunningBackward`.
    """

    uses_context = True
    running_square: Tensor
    running_gradient: Tensor

    def __init__(self, width: int, place: Place, warmup: int = 4000, momentum: float = 0.9) -> None:
        super().__init__(width, place)
        self.warmup, self.momentum, self.groups = warmup, momentum, place.heads
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_square", torch.ones(width))
        self.register_buffer("running_gradient", torch.zeros(width))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Divide ``x`` ``(B, T, D)`` by ψ: the root mean square of real tokens in warm-up, then the running one."""
        groups = x.unflatten(-1, (self.groups, -1))
        x = (groups * torch.rsqrt(groups.square().mean(-1, keepdim=True) + EPSILON)).flatten(-2)
        if not self.training:
            return self.gain * x / (self.running_square + EPSILON).sqrt() + self.bias
        real = real_tokens(context, x)
        with torch.no_grad():
            square = ((x.square() * real).sum((0, 1)) / real.sum()).to(self.running_square.dtype)
            step = torch.zeros((), device=x.device) if context.step is None else context.step
            psi = (torch.where(step >= self.warmup, self.running_square, square) + EPSILON).sqrt()
            self.running_square.lerp_(square, 1 - self.momentum)
        z = RunningBackward.apply(x, psi, self.running_gradient, real, self.momentum)
        return self.gain * z + self.bias


class WindowBackward(torch.autograd.Function):
    """``z = x/√(v + ε)`` forward; backward ``(r·g - ν·z)/√(v + ε)`` with the running ν of Unified Normalization."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, root: Tensor, ratio: Tensor, nu: Tensor, window: Tensor, now: Tensor, real: Tensor
    ) -> Tensor:
        z = x / root
        context.save_for_backward(z, root, ratio, nu, window, now, real)
        return z

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        z, root, ratio, nu, window, now, real = context.saved_tensors
        g = ratio * gradients[0]
        mean = ((g * z * real).sum((0, 1)) / real.sum()).to(nu.dtype)
        index, is_young = now[0], now[1]
        window.index_copy_(0, index[None] % len(window), mean[None])
        nu.mul_(UnifiedNorm.kept).add_(torch.where(is_young > 0, mean, window.mean(0)), alpha=1 - UnifiedNorm.kept)
        return (g - nu * z) / root, None, None, None, None, None, None


@op("unified_norm")
class UnifiedNorm(Norm):
    """Unified Normalization: the geometric mean of the last four batches' mean squares of each feature.

    Yang et al. 2022 (ACM Multimedia), the authors' class ``UN1d``::

        y = γ ⊙ x/√(v + ε) + β,   v = exp(mean(log s)) over the last 4 batches,   s = mean(x²) over real tokens

    In the first ``warmup`` steps v is the batch's own s. The backward pass takes ``r·g - ν·z`` for the gradient g of z,
    and r times the gradient of γ, with a running ν and ``r = √(v + ε)/√(running v + ε)``. During warm-up r is 1, then
    it is kept between 1/5 and 5. Evaluation uses the running v.
    """

    uses_context = True
    kept = 0.9
    """Share of a running value that a step keeps."""
    window = 4

    running_square: Tensor
    running_gradient: Tensor
    squares: Tensor
    gradients: Tensor
    iterations: Tensor

    def __init__(self, width: int, place: Place, warmup: int = 4000) -> None:
        super().__init__(width, place)
        self.warmup = warmup
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_square", torch.ones(width))
        self.register_buffer("running_gradient", torch.zeros(width))
        self.register_buffer("squares", torch.zeros(self.window, width))
        self.register_buffer("gradients", torch.zeros(self.window, width))
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Divide ``x`` ``(B, T, D)`` by the geometric mean of the window's squares; while it fills, by its own."""
        if not self.training:
            return self.gain * x / (self.running_square + EPSILON).sqrt() + self.bias
        real = real_tokens(context, x)
        with torch.no_grad():
            self.iterations += 1
            now = self.iterations
            square = ((x.square() * real).sum((0, 1)) / real.sum()).to(self.squares.dtype)
            self.squares.index_copy_(0, now[None] % self.window, square[None])
            is_young = (now <= self.window) | (now < self.warmup)
            value = torch.where(is_young, square, self.squares.log().mean(0).exp())
            root = (value + EPSILON).sqrt()
            ratio = (root / (self.running_square + EPSILON).sqrt()).clamp(1 / 5, 5)
            ratio = torch.where(now <= max(1000, self.warmup), torch.ones_like(ratio), ratio)
            self.running_square.lerp_(value, 1 - self.kept)
            when = torch.stack((now, is_young.to(now.dtype)))
        z = WindowBackward.apply(x, root, ratio, self.running_gradient, self.gradients, when, real)
        gain = ratio * self.gain + ((1 - ratio) * self.gain).detach()  # the gain itself, with r times its gradient
        return gain * z + self.bias


@op("taper_norm")
class TaperNorm(Norm):
    """``y = g·RMSNorm(x) + (1 - g)·c·(γ ⊙ x)``, a norm that training does away with (arXiv:2602.10408).

    The gate g is 1 for ``start`` steps, then falls to 0 along a cosine of ``steps`` steps. While g is 1, c is measured:
    it is the running ratio of ``‖γ ⊙ x‖²/RMS(x)`` to ``‖γ ⊙ x‖²`` over real tokens.
    """

    uses_context = True
    sums: Tensor

    def __init__(self, width: int, place: Place, start: int = 1000, steps: int = 1000, momentum: float = 0.99) -> None:
        super().__init__(width, place)
        self.start, self.steps, self.momentum = float(start), float(steps), momentum
        self.gain = nn.Parameter(torch.ones(width))
        self.register_buffer("sums", torch.ones(2))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Fade from RMSNorm of ``x`` ``(B, T, D)`` to a linear map with a running scale, by the step."""
        step = torch.zeros((), device=x.device) if context.step is None else context.step
        share = (step.to(torch.promote_types(x.dtype, torch.float32)) - self.start) / self.steps
        gate = 0.5 + 0.5 * (math.pi * share.clamp(0, 1)).cos()
        linear = self.gain * x
        if self.training:
            with torch.no_grad():
                squares = linear.square().sum(-1) * context.attention_mask
                rms = (x.square().mean(-1) + EPSILON).sqrt()
                own = torch.stack([(squares / rms).sum(), squares.sum()]).to(self.sums.dtype)
                self.sums.lerp_(own, (1 - self.momentum) * (gate == 1).to(own.dtype))
        gate = gate.to(x.dtype)
        tapered = (self.sums[0] / self.sums[1]) * linear
        return gate * F.rms_norm(x, (self.width,), self.gain, EPSILON) + (1 - gate) * tapered


register(
    PRE_LN.derive(
        "global_norm",
        title="Global layer norm",
        formula="x + F(N(x)), N over all features of all real tokens of a row",
        source="Luo & Mesgarani 2019, arXiv:1809.07454",
        norm="global_norm",
        mixes=frozenset({TIME}),
        unverified="the paper was not read; the formula is as libraries for speech have it",
    )
)
register(
    PRE_LN.derive(
        "batch_norm",
        title="Masked BatchNorm",
        formula="x + F(N(x)), N of each feature over the batch's real tokens",
        source="Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2; Shen et al. 2020, arXiv:2003.07845",
        norm=use("masked_batch_norm", momentum=0.1),
        mixes=frozenset({TIME, ROWS}),
        pitfalls="The code of arXiv:2003.07845 first divides each token by its RMS and fills padding with the mean, "
        "which shrinks the variance. Gradient accumulation changes what a batch is.",
    )
)
register(
    PRE_LN.derive(
        "power_norm",
        title="PowerNorm",
        formula="x + F(N(x)), N(x) = γ ⊙ x/ψ + β, ψ² a running mean square",
        source="Shen et al. 2020, arXiv:2003.07845",
        norm=use("power_norm", warmup=4000, momentum=0.9),
        mixes=frozenset({TIME, ROWS}),
        unverified="the warm-up: the authors' code moves ψ² twice a step in it, takes gradient means over padding too, "
        "and divides by the batch's variance",
        pitfalls="It depends on the step and on buffers. A run shorter than the warm-up never has running statistics.",
        tune="warmup",
    )
)
register(
    PRE_LN.derive(
        "unified_norm",
        title="Unified Normalization",
        formula="x + F(N(x)), N(x) = γ ⊙ x/√v + β, v the geometric mean of 4 batches' mean squares",
        source="Yang et al. 2022 (ACM Multimedia), the authors' class UN1d",
        norm=use("unified_norm", warmup=4000),
        mixes=frozenset({TIME, ROWS}),
        pitfalls="Without the filter of outliers, as for the authors' texts. Gradient means leave padding out, "
        "which their code includes. It counts forward passes, so gradient accumulation speeds its clock.",
        tune="warmup",
    )
)
register(
    PRE_LN.derive(
        "taper_norm",
        title="TaperNorm",
        formula="x + F(N(x)), N(x) = g·RMSNorm(x) + (1 - g)·c·γ ⊙ x, g from 1 to 0 over the steps",
        source="Kanavalau et al. 2026, arXiv:2602.10408, through notes and third-party code",
        norm="rms_norm",
        sites=PRE_LN.sites | {INPUT: use("taper_norm", start=1000, steps=1000, momentum=0.99)},
        unverified="the steps at which the gate starts and ends, and the rate of the running mean",
        differs="One γ serves both branches; in the paper the linear one learns a copy of its own from the switch on.",
        pitfalls="Without the final norm, cross-entropy lets the logits grow.",
        tune="start, steps",
    )
)
