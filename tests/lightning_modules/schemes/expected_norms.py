"""Norms, and what takes their place, by hand; the placement is that of Pre-LN where nothing else is said."""

from __future__ import annotations

import math
from typing import Any

import torch
from expected import HEADS, WIDTH, Expected, Norm, Step, and_final, both
from scheme_weights import Weights
from torch import Tensor


def unit(x: Tensor) -> Tensor:
    return x / (x * x).sum(-1, keepdim=True).sqrt()


def standard(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / ((centred**2).mean(-1, keepdim=True) + 1e-5).sqrt()


def partial(w: Weights, x: Tensor, n: str) -> Tensor:
    return w[f"{n}.gain"] * x / (x[..., :1].square() + 1e-5).sqrt()  # ⌈0.0625·16⌉ is one feature


def centred(w: Weights, x: Tensor, n: str) -> Tensor:
    whole = torch.cat([x, -x.sum(-1, keepdim=True)], dim=-1)  # the vector of mean zero that x stands for
    return w[f"{n}.gain"] * w.rms(whole)[..., :-1]


def group(w: Weights, x: Tensor, n: str) -> Tensor:
    return torch.cat([standard(part) for part in x.chunk(4, -1)], -1) * w[f"{n}.gain"] + w[f"{n}.bias"]


def detach(w: Weights, x: Tensor, n: str) -> Tensor:
    deviation = (x.detach().var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    return (x - x.detach().mean(-1, keepdim=True)) / deviation


def ada(w: Weights, x: Tensor, n: str) -> Tensor:
    y = standard(x)
    return (1 - 0.1 * y.detach()) * y


def seed(w: Weights, x: Tensor, n: str) -> Tensor:
    strength = torch.tanh(torch.einsum("btd,d->bt", x, w[f"{n}.direction"]))
    return (strength[..., None] * w[f"{n}.response"] + w[f"{n}.gain"]) * w.rms(x)


def gated(w: Weights, x: Tensor, n: str) -> Tensor:
    y = w.rms(x, n)
    hidden = y @ w[f"{n}.down.weight"].T
    return y / (1 + (-(hidden / (1 + (-hidden).exp())) @ w[f"{n}.up.weight"].T).exp())


def over_a_row(w: Weights, x: Tensor, n: str) -> Tensor:
    rows = []
    for row, real in zip(x, w.mask, strict=True):
        values = row[real]
        deviation = ((values - values.mean()).square().mean() + 1e-5).sqrt()
        rows.append((row - values.mean()) / deviation)
    return w[f"{n}.gain"] * torch.stack(rows) + w[f"{n}.bias"]


def batch(w: Weights, x: Tensor, n: str) -> Tensor:
    normed = (x - w[f"{n}.running_mean"]) / (w[f"{n}.running_variance"] + 1e-5).sqrt()
    return w[f"{n}.gain"] * normed + w[f"{n}.bias"]


def power(w: Weights, x: Tensor, n: str) -> Tensor:
    x = torch.cat([w.rms(part) for part in x.chunk(HEADS, -1)], -1)
    return unified(w, x, n)


def unified(w: Weights, x: Tensor, n: str) -> Tensor:
    return w[f"{n}.gain"] * x / (w[f"{n}.running_square"] + 1e-5).sqrt() + w[f"{n}.bias"]


def taper(w: Weights, x: Tensor, n: str) -> Tensor:
    """At step 1250 of a fall from 1000 to 2000."""
    if "final" in n:
        return w.rms(x, n)
    gate, sums = (1 + math.cos(math.pi / 4)) / 2, w[f"{n}.sums"]
    return gate * w.rms(x, n) + (1 - gate) * sums[0] / sums[1] * w[f"{n}.gain"] * x


def saturating(function: Any) -> Norm:
    def norm(w: Weights, x: Tensor, n: str) -> Tensor:
        z = w[f"{n}.alpha"] * x + w.get(f"{n}.shift", 0)
        return w[f"{n}.gain"] * function(z) + w.get(f"{n}.bias", 0)

    return norm


def tanh(z: Tensor) -> Tensor:
    return 1 - 2 / ((2 * z).exp() + 1)


def bounded(w: Weights, x: Tensor, n: str, square: Tensor | None = None) -> Tensor:
    square = x.square().mean(-1, keepdim=True) if square is None else square
    return w[f"{n}.gain"] * tanh(w[f"{n}.rate"] * x / (10 * (square + 1e-6).sqrt()))


def bhyt(sublayers: list[Weights], x: Tensor) -> Tensor:
    for a, f in zip(sublayers[::2], sublayers[1::2], strict=True):
        square = x.square().mean(-1, keepdim=True)
        x = x + a.f(bounded(a, x, "input.0", square))
        value = a["function.query_key_value.weight"][2 * WIDTH :].detach()
        product = a["function.output.weight"].detach() @ value
        gain = product.square().sum() / (512 * WIDTH)
        x = x + f.f(bounded(f, x, "input.0", square + gain * (a["input.0.rate"].detach() / 10) ** 2))
    return x


def pre(norm: Norm) -> Step:
    return lambda w, x: x + w.f(norm(w, x, "input.0"))


def with_norm(norm: Norm, parameters: int, **more: Any) -> Expected:
    """Pre-LN with another norm, which has so many parameters."""

    def count(layers: int) -> int:
        return parameters * (2 * layers + 1)

    settings = {"final": True, "norm": norm, "own": count, "norm_parameters": None, **more}
    return Expected(pre(norm), and_final, both, **settings)


def pre_rms(w: Weights, x: Tensor) -> Tensor:
    x = x - x.mean(-1, keepdim=True) if w.place.index == 0 else x
    y = w.f(w.rms(x, "input.0"))
    return x + y - y.mean(-1, keepdim=True)


D = WIDTH
NORMS: dict[str, Expected] = {
    "layer_norm_no_bias": with_norm(lambda w, x, n: w[f"{n}.gain"] * standard(x), D),
    "layer_norm_simple": with_norm(lambda w, x, n: standard(x), 0),
    "rms_norm": with_norm(lambda w, x, n: w.rms(x, n), D),
    "rms_norm_unit_offset": with_norm(lambda w, x, n: (1 + w[f"{n}.gain"]) * w.rms(x), D),
    "rms_norm_plain": with_norm(lambda w, x, n: w.rms(x), 0),
    "partial_rms_norm": with_norm(partial, D),
    "centred_rms_norm": with_norm(centred, D),
    "simple_rms_norm": with_norm(lambda w, x, n: math.sqrt(D) * unit(x), 0),
    "scale_norm": with_norm(lambda w, x, n: w[f"{n}.gain"] * unit(x), 1),
    "fix_norm": Expected(
        pre(lambda w, x, n: w[f"{n}.gain"] * unit(x)),
        lambda layers: 2 * layers + 2,
        both,
        tokens=lambda w, x: math.sqrt(D) * x / (x.square().sum(-1, keepdim=True).sqrt() + 1e-300),
        final=True,
        norm=lambda w, x, n: w[f"{n}.gain"] * unit(x),
        own=and_final,
        norm_parameters=None,
    ),
    "l2_norm": with_norm(lambda w, x, n: unit(x), 0),
    "group_norm": with_norm(group, 2 * D),
    "pre_rms_norm": Expected(pre_rms, and_final, both, final=True, norm=lambda w, x, n: w.rms(x, n), norm_parameters=1),
    "detach_norm": with_norm(detach, 0),
    "ada_norm": with_norm(ada, 0),
    "seed_norm": with_norm(seed, 3 * D),
    "gated_norm": with_norm(gated, D + 2 * 16 * D),
    "pre_affine_rms_norm": with_norm(lambda w, x, n: w[f"{n}.gain"] * w.rms(w[f"{n}.before"] * x), 2 * D),
    "global_norm": with_norm(over_a_row, 2 * D),
    "batch_norm": with_norm(batch, 2 * D),
    "power_norm": with_norm(power, 2 * D),
    "unified_norm": with_norm(unified, 2 * D),
    "taper_norm": with_norm(taper, D),
    "dyt": with_norm(saturating(tanh), 2 * D + 1),
    "dyt_llama": with_norm(
        saturating(tanh),
        0,
        tokens=lambda w, x: w["embeddings.tokens.0.gain"] * x,
        own=lambda layers: (D + 1) * (2 * layers + 1) + 1,
    ),
    "derf": with_norm(saturating(torch.erf), 2 * D + 2),
    "point_wise": with_norm(saturating(lambda z: 2 / math.pi * torch.atan(z)), 2 * D + 2),
    "bhyt_star": with_norm(bounded, D + 1),
    "bhyt": with_norm(bounded, D + 1, whole=bhyt),
}
