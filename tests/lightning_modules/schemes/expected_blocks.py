"""Placements, weights, gates and starts by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from expected import FIRST, HEAD, HEADS, HIDDEN, WIDTH, Expected, Step, Whole, both, none, one, rms
from expected_norms import standard, unit
from scheme_weights import Weights
from torch import Tensor

D = WIDTH
PRE, POST, NO_NORM = FIRST["pre_ln"], FIRST["post_ln"], FIRST["no_norm"]


def pre(step: Step, **more: object) -> Expected:
    """Another step between Pre-LN's norms."""
    return replace(PRE, step=step, **more)


def norm_of_all_heads(w: Weights, x: Tensor, name: str) -> Tensor:
    together = x.transpose(1, 2).flatten(2)
    return w.by_head(w.rms(together)) * w[f"{name}.gain"]


def attending(w: Weights, x: Tensor, change: object) -> Tensor:
    """Self-attention whose queries, keys and values are changed before they are used."""
    q, k, v = change(w, *w.projected(x))
    return w.joined(w.shares(q @ k.mT / math.sqrt(HEAD)) @ v)


def with_qk(change: object) -> Step:
    def step(w: Weights, x: Tensor) -> Tensor:
        n = w.ln(x, "input.0")
        return x + (attending(w, n, change) if w.is_attention else w.f(n))

    return step


def olmo2(w: Weights, x: Tensor) -> Tensor:
    y = attending(w, x, whole_qk) if w.is_attention else w.f(x)
    return x + w.rms(y, "output.0")


def whole_qk(w: Weights, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return norm_of_all_heads(w, q, "function.query.0"), norm_of_all_heads(w, k, "function.key.0"), v


def l2_qk(w: Weights, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return w["function.query.1.gain"] * math.sqrt(HEAD) * unit(q), unit(k), v


def head_qk(w: Weights, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return w["function.query.0.gain"] * standard(q), w["function.key.0.gain"] * standard(k), v


def parallel(two: bool) -> Step:
    def step(w: Weights, x: Tensor) -> Tensor:
        total = x
        for role in ("attention", "feed_forward"):
            norm = f"function.{role}.input.0" if two else "input.0"
            total = total + w.f(w.ln(x, norm), f"function.{role}.function")
        return total

    return step


def sub_ln(w: Weights, x: Tensor) -> Tensor:
    n = w.ln(x, "input.0")
    if w.is_attention:
        q, k, v = w.projected(n)
        inner = (w.shares(q @ k.mT / math.sqrt(HEAD)) @ v).transpose(1, 2).flatten(2)
    else:
        inner = w.linear(n, "function.hidden").clamp(min=0)
    return x + w.linear(w.ln(inner, "function.inner.0"), "function.output")


def norm_former(w: Weights, x: Tensor) -> Tensor:
    n = w.ln(x, "input.0")
    if w.is_attention:
        q, k, v = w.projected(n)
        mixed = w["function.heads.0.gain"] * (w.shares(q @ k.mT / math.sqrt(HEAD)) @ v)
        return x + w.ln(w.joined(mixed), "output.0")
    hidden = w.ln(w.linear(n, "function.hidden").clamp(min=0), "function.inner.0")
    return w["skip.0.gain"] * x + w.linear(hidden, "function.output")


def hybrid(star: bool) -> Whole:
    def run(sublayers: list[Weights], x: Tensor) -> Tensor:
        for a, f in zip(sublayers[::2], sublayers[1::2], strict=True):
            first = star and a.block == 1
            q, k, v = a.projected(a.rms(x, "input.0") if first else x)
            q, k, v = (a.rms(t, f"function.{n}.0") for t, n in ((q, "query"), (k, "key"), (v, "value")))
            z = x + a.joined(a.shares(q @ k.mT / math.sqrt(HEAD)) @ v)
            n = f.rms(z, "input.0") if first else a.rms(z, "post.0")
            x = (z if first else n) + f.f(n)
        return x

    return run


def keel(w: Weights, x: Tensor) -> Tensor:
    alpha = 1 if w.block == 1 else 2 * w.blocks
    x = alpha * x + w.f(w.rms(x, "input.0"))
    return w.rms(x, "post.0") if w.place.index > 0 else x


def u_mup(w: Weights, x: Tensor) -> Tensor:
    tau = 1 / math.sqrt(w.blocks + w.place.index)  # all α = 1: τ² = 1/(n/2 + i)
    return (x + tau * w.f(w.ln(x, "input.0"))) / math.sqrt(1 + tau**2)


def highway(w: Weights, x: Tensor) -> Tensor:
    g = 1 / (1 + (-w.linear(x, "residual.gate")).exp())
    return (1 - g) * x + g * w.f(x)


def gtrxl(w: Weights, x: Tensor) -> Tensor:
    y = w.f(w.ln(x, "input.0")).clamp(min=0)
    wr, wz, wg = w["residual.of_update.weight"].chunk(3)
    ur, uz = w["residual.of_stream.weight"].chunk(2)
    r, z = torch.sigmoid(y @ wr.T + x @ ur.T), torch.sigmoid(y @ wz.T + x @ uz.T - w["residual.bias"])
    return (1 - z) * x + z * torch.tanh(y @ wg.T + (r * x) @ w["residual.of_reset.weight"].T)


def shared(step: object) -> Whole:
    """A step that takes the gate of its block's first sublayer."""

    def run(sublayers: list[Weights], x: Tensor) -> Tensor:
        for a, f in zip(sublayers[::2], sublayers[1::2], strict=True):
            for w in (a, f):
                x = step(w, x, a)
        return x

    return run


def gpas(w: Weights, x: Tensor, first: Weights) -> Tensor:
    gate = first["residual.gate"]
    x = x + w.f(w.ln(x, "input.0"))
    return x - gate * torch.sigmoid(gate) * x.detach()


def laurel(w: Weights, x: Tensor) -> Tensor:
    alpha, beta = 2 * w["residual.weights"].exp() / w["residual.weights"].exp().sum()
    return alpha * w.f(w.ln(x, "input.0")) + beta * x


def low_rank(w: Weights, x: Tensor) -> Tensor:
    return w.f(w.ln(x, "input.0")) + x + x @ (w["residual.up.weight"] @ w["residual.down.weight"]).T


def orthogonal(w: Weights, x: Tensor) -> Tensor:
    y = w.f(w.ln(x, "input.0"))
    return x + y - (y * x).sum(-1, keepdim=True) / (x.square().sum(-1, keepdim=True) + 1e-6) * x


def deep_delta(w: Weights, x: Tensor) -> Tensor:
    n = w.ln(x, "input.0")
    k = unit(w.f(n))
    beta = 2 * torch.sigmoid(w.linear(n, "residual.beta"))
    v = 4 * torch.sigmoid(w.linear(x, "residual.value"))
    erase = torch.eye(D, dtype=x.dtype) - beta[..., None] * k[..., :, None] * k[..., None, :]
    return (erase @ x[..., None])[..., 0] + beta * v * k


def mv_split(w: Weights, x: Tensor) -> Tensor:
    y = w.f(w.ln(x, "input.0"))
    new = []
    for row, update, real in zip(x, y, w.mask, strict=True):
        of_update, of_row = update[real].mean(0), row[real].mean(0)
        alpha, beta = w["residual.alpha"], w["residual.beta"]
        new.append(row + beta * (update - of_update) + alpha * (of_update - of_row))
    return torch.stack(new)


def nag(w: Weights, x: Tensor) -> Tensor:
    rho = x.square().mean(-1, keepdim=True).sqrt()
    f = w.f(w.ln(x, "input.0"))
    f = f - f.mean(-1, keepdim=True)
    along = unit(x)
    u = math.sqrt(D) * unit(f - (f * along).sum(-1, keepdim=True) * along)
    p = w["residual.shares"].exp() / w["residual.shares"].exp().sum()
    opened = torch.sigmoid(w.linear(x / rho, "residual.gates"))
    m = (opened * p).sum(-1, keepdim=True) ** w["residual.power"]
    return x + rho * w["residual.rate"] * m * u


def fixup(w: Weights, x: Tensor) -> Tensor:
    shifted = x - w["input.0.bias"]
    if w.is_attention:
        y = w.f(shifted)
    else:
        hidden = (w.linear(shifted, "function.hidden") - w["function.before_activation.0.bias"]).clamp(min=0)
        y = w.linear(hidden - w["function.inner.0.bias"], "function.output")
    return x + w["output.0.gain"] * y


def ramp(steps: float, w: Weights) -> float:
    return min(w.step / steps, 1)


def scaled_shift(w: Weights, x: Tensor, name: str) -> Tensor:
    return w["final.1.gain"] * (x - w["final.0.bias"])


BLOCKS: dict[str, Expected] = {
    "sandwich_ln": pre(lambda w, x: x + w.ln(w.f(w.ln(x, "input.0")), "output.0"), norms=lambda layers: 4 * layers + 1),
    "res_post_norm": pre(lambda w, x: x + w.ln(w.f(x), "output.0")),
    "olmo2": pre(olmo2, norms=lambda layers: 4 * layers + 1, norm=rms, norm_parameters=1, biases=False),
    "parallel": pre(parallel(False), norms=lambda layers: layers + 1, skips=one),
    "parallel_two_norms": pre(parallel(True), skips=one),
    "sub_ln": pre(
        sub_ln,
        norms=lambda layers: 4 * layers + 1,
        norm_parameters=None,
        own=lambda layers: 2 * D * (2 * layers + 1) + 2 * (D + HIDDEN) * layers,
    ),
    "norm_former": pre(
        norm_former,
        norms=lambda layers: 4 * layers + 1,
        norm_parameters=None,
        own=lambda layers: 2 * D * (2 * layers + 1) + (2 * (D + HIDDEN) + HEADS + D) * layers,
    ),
    "hybrid_norm": Expected(
        None,
        lambda layers: 4 * layers + 1,
        both,
        whole=hybrid(False),
        final=True,
        norm=rms,
        norm_parameters=None,
        own=lambda layers: (3 * HEAD + D) * layers + D,
    ),
    "hybrid_norm_star": Expected(
        None,
        lambda layers: 4 * layers + 2,
        both,
        whole=hybrid(True),
        final=True,
        norm=rms,
        norm_parameters=None,
        own=lambda layers: (3 * HEAD + D) * layers + 2 * D,
    ),
    "mix_ln": pre(lambda w, x: w.ln(x + w.f(x), "post.0") if "post.0.gain" in w else x + w.f(w.ln(x, "input.0"))),
    "keel": Expected(keel, lambda layers: 4 * layers - 1, both, norm_parameters=1, biases=False),
    "value_norm": pre(
        with_qk(lambda w, q, k, v: (q, k, w.rms(v, "function.value.0"))),
        norms=lambda layers: 3 * layers + 1,
        norm_parameters=None,
        own=lambda layers: 2 * D * (2 * layers + 1) + HEAD * layers,
    ),
    "qk_norm_l2": pre(
        with_qk(l2_qk),
        norms=lambda layers: 4 * layers + 1,
        norm_parameters=None,
        own=lambda layers: 2 * D * (2 * layers + 1) + layers,
    ),
    "qk_norm_head": pre(
        with_qk(head_qk),
        norms=lambda layers: 4 * layers + 1,
        norm_parameters=None,
        own=lambda layers: 2 * D * (2 * layers + 1) + 2 * HEAD * layers,
    ),
    "qk_norm_whole": pre(
        with_qk(whole_qk),
        norms=lambda layers: 4 * layers + 1,
        norm_parameters=None,
        own=lambda layers: 2 * D * (2 * layers + 1) + 2 * D * layers,
    ),
    "qk_norm_plain": pre(
        with_qk(lambda w, q, k, v: (w.rms(q), w.rms(k), v)),
        norms=lambda layers: 4 * layers + 1,
        norm_parameters=None,
        own=lambda layers: 2 * D * (2 * layers + 1),
    ),
    # Weights of branch and skip.
    "depth_scaled_pre_ln": pre(lambda w, x: x + w.f(w.ln(x, "input.0")) / math.sqrt(w.blocks)),
    "skip_init": pre(lambda w, x: x + w["output.0.gain"] * w.f(w.ln(x, "input.0")), own=both),
    "layer_scale": pre(
        lambda w, x: x + w["output.0.gain"] * w.f(w.ln(x, "input.0")), own=lambda layers: 2 * layers * D
    ),
    "fixed_residual": pre(lambda w, x: math.sqrt(0.9) * x + math.sqrt(0.1) * w.f(w.ln(x, "input.0"))),
    "running_mean": pre(
        lambda w, x: (
            math.sqrt((w.place.index + 1) / (w.place.index + 2)) * x
            + math.sqrt(1 / (w.place.index + 2)) * w.f(w.ln(x, "input.0"))
        )
    ),
    "u_mup_residual": pre(u_mup),
    "projection_shortcut": replace(
        NO_NORM, step=lambda w, x: x @ w["skip.0.linear.weight"].T + w.f(x), own=lambda layers: 2 * layers * D * D
    ),
    # Branches that change with the step, or are dropped in training alone.
    "branch_norm": replace(POST, step=lambda w, x: w.ln(x + ramp(4000, w) * w.f(x), "post.0")),
    "pro_res": pre(lambda w, x: x + ramp(1000 * w.block, w) * w.f(w.ln(x, "input.0"))),
    "stochastic_depth": PRE,
    "layer_drop": PRE,
    # Gates.
    "rezero_shared": replace(
        NO_NORM, step=None, whole=shared(lambda w, x, first: x + first["residual.gain"] * w.f(x)), own=one
    ),
    "highway": replace(NO_NORM, step=highway, own=lambda layers: 2 * layers * (D * D + D)),
    "gtrxl": pre(gtrxl, own=lambda layers: 2 * layers * (6 * D * D + D)),
    "gpas": pre(None, whole=shared(gpas), own=one),
    "laurel_rw": pre(laurel, own=lambda layers: 4 * layers),
    "laurel_lr": pre(low_rank, own=lambda layers: 2 * layers * 2 * 16 * D),
    "orthogonal": pre(orthogonal),
    "deep_delta": pre(deep_delta, own=lambda layers: 2 * layers * 2 * (D + 1)),
    "mv_split": pre(mv_split, own=lambda layers: 4 * layers * D),
    "nag": pre(nag, own=lambda layers: 2 * layers * (32 * D + 2 * 32 + 2)),
    # Starts.
    "gpt2_start": PRE,
    "lingua_start": PRE,
    "layer_start": PRE,
    "ds_init": POST,
    "fixup": Expected(
        fixup,
        none,
        both,
        final=True,
        norm=scaled_shift,
        own=lambda layers: 6 * layers + 2,
        biases=False,
    ),
    "t_fixup": NO_NORM,
    "dt_fixup": NO_NORM,
    "admin": replace(
        POST, step=lambda w, x: w.ln(w["skip.0.gain"] * x + w.f(x), "post.0"), own=lambda layers: 2 * layers * D
    ),
    "complete_p": pre(lambda w, x: x + 2 / w.blocks * w.f(w.ln(x, "input.0"))),
}
