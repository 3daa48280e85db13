"""Streams, memories of depth, attention functions and the hypersphere by hand."""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from expected import FIRST, HEAD, HEADS, HIDDEN, OUTPUTS, WIDTH, Expected, Whole, and_final, both, none, one, rms
from expected_blocks import pre
from expected_norms import unit
from scheme_weights import Weights
from torch import Tensor

D, N = WIDTH, 4


def hyper(sublayers: list[Weights], x: Tensor) -> Tensor:
    h = [x, x, x, x]
    for w in sublayers:
        read, mix, write = w["residual.read"], w["residual.mix"], w["residual.write"]
        y = w.f(w.ln(sum(read[n] * h[n] for n in range(N)), "input.0"))
        h = [sum(mix[n, m] * h[n] for n in range(N)) + write[m] * y for m in range(N)]
    return h[0] + h[1] + h[2] + h[3]


def dynamic_hyper(sublayers: list[Weights], x: Tensor) -> Tensor:
    h = torch.stack([x] * N, -2)
    for w in sublayers:
        d = torch.tanh(w.ln(h, "residual.norm") @ w["residual.dynamic.weight"].T)
        a, b = w["residual.scale_of_a"], w["residual.scale_of_b"]
        read, mix = a * d[..., 0] + w["residual.read"], a * d[..., 1:5] + w["residual.mix"]
        write = b * d[..., 5] + w["residual.write"]
        y = w.f(w.ln(torch.einsum("btn,btnd->btd", read, h), "input.0"))
        h = torch.einsum("btnm,btnd->btmd", mix, h) + write[..., None] * y[..., None, :]
    return h.sum(-2)


def mhc(sublayers: list[Weights], x: Tensor) -> Tensor:
    h = torch.stack([x] * N, -2)
    for w in sublayers:
        raw = w.rms(h.flatten(2)) @ w["residual.dynamic.weight"].T
        s, b = w["residual.scales"], w["residual.bias"]
        read = torch.sigmoid(s[0] * raw[..., :4] + b[:4])
        write = 2 * torch.sigmoid(s[1] * raw[..., 4:8] + b[4:8])
        mix = (s[2] * raw[..., 8:] + b[8:]).unflatten(-1, (N, N)).exp()
        for _ in range(20):
            mix = mix / mix.sum(-1, keepdim=True)
            mix = mix / mix.sum(-2, keepdim=True)
        y = w.f(w.rms(torch.einsum("btn,btnd->btd", read, h), "input.0"))
        h = torch.einsum("btnm,btmd->btnd", mix, h) + torch.einsum("btn,btd->btnd", write, y)
    return h.sum(-2)


def frac(w: Weights, x: Tensor) -> Tensor:
    parts, read, mix = x.chunk(N, -1), w["residual.read"], w["residual.mix"]
    inputs = torch.cat([sum(read[n, m] * parts[n] for n in range(N)) for m in range(N)], -1)
    y = w.f(w.ln(inputs, "input.0")).chunk(N, -1)
    kept = [sum(mix[n, m] * parts[n] for n in range(N)) for m in range(N)]
    return torch.cat([kept[m] + w["residual.write"][m] * y[m] for m in range(N)], -1)


def siamese(sublayers: list[Weights], x: Tensor) -> tuple[Tensor, Tensor]:
    y = x
    for w in sublayers:
        x = w.ln(x, "post.0")
        z = w.f(w.ln(x + w.ln(y, "residual.norm"), "input.0"))
        x, y = x + z / math.sqrt(2 * w.block), y + z
    return x, y


def resi_dual(sublayers: list[Weights], x: Tensor) -> tuple[Tensor, Tensor]:
    r = x
    for w in sublayers:
        z = w.f(x)
        x, r = w.ln(x + z, "post.0"), r + z
    return x, r


def dense_former(sublayers: list[Weights], x: Tensor) -> Tensor:
    outputs = [x]
    for a, f in zip(sublayers[::2], sublayers[1::2], strict=True):
        x = x + a.f(a.ln(x, "input.0"))
        outputs.append(x + f.f(f.ln(x, "input.0")))
        x = torch.einsum("j,jbtd->btd", f["residual.weights"], torch.stack(outputs))
    return x


def mudd(sublayers: list[Weights], x: Tensor) -> Tensor:
    outputs, ways = [x], [x, x, x, x]
    for a, f in zip(sublayers[::2], sublayers[1::2], strict=True):
        inputs = [a.rms(way, f"residual.norms.{n}") for n, way in enumerate(ways[:3])]
        weights, biases = (a[f"function.query_key_value.{n}"].chunk(3) for n in ("weight", "bias"))
        q, k, v = (a.by_head(i @ w.T + b) for i, w, b in zip(inputs, weights, biases, strict=True))
        x = ways[3] + a.joined(a.shares(q @ k.mT / math.sqrt(HEAD)) @ v)
        x = x + f.f(f.rms(x, "input.0"))
        outputs.append(x)
        count, seen = (1 if f.place.is_last else 4), len(outputs)
        made = F.gelu(f.rms(x) @ f["residual.first.weight"].T) @ f["residual.second.weight"].T
        made = made.reshape(*x.shape[:2], count, seen) + f["residual.start"]
        ways = [sum(made[:, :, c, j, None] * outputs[j] for j in range(seen)) for c in range(count)]
    return ways[-1]


def mudd_parameters(layers: int) -> int:
    total = D * (5 * layers + 1) - D * layers  # norms with gains: all but that of each block's output
    for block in range(1, layers + 1):
        ways, seen = (1 if block == layers else 4), block + 1
        units = ways * seen * (4 if block == layers else 1)
        total += D * units + units * ways * seen + ways * seen
    return total


def attention_residuals(group: int) -> Whole:
    def gather(values: list[Tensor], w: Weights, which: str) -> Tensor:
        v = torch.stack(values)
        scores = (w.rms(v, f"residual.{which}norm") * w[f"residual.{which}query"]).sum(-1).exp()
        return ((scores / scores.sum(0))[..., None] * v).sum(0)

    def run(sublayers: list[Weights], x: Tensor) -> Tensor:
        values = [x]
        for index, w in enumerate(sublayers):
            y = w.f(w.rms(gather(values, w, ""), "input.0"))
            values = [*values, y] if index % group == 0 else [*values[:-1], values[-1] + y]
        return gather(values, sublayers[-1], "last_")

    return run


def bottom_to_top(sublayers: list[Weights], x: Tensor) -> Tensor:
    for a, f in zip(sublayers[::2], sublayers[1::2], strict=True):
        z = a.ln(x + a.f(x), "post.0")
        x = f.ln(x + z + f.f(z), "post.0")
    return x


def x0_lambdas(sublayers: list[Weights], x: Tensor) -> Tensor:
    start = x
    for w in sublayers:
        if w.is_attention:
            x = w["residual.stay"] * x + w["residual.back"] * start
        x = x + w.f(w.ln(x, "input.0"))
    return x


def unet(sublayers: list[Weights], x: Tensor) -> Tensor:
    saved: list[Tensor] = []
    for a, f in zip(sublayers[::2], sublayers[1::2], strict=True):
        if a.block > a.blocks - a.blocks // 2:
            x = x + a["residual.weight"] * saved[a.blocks - a.block]  # block L + 1 - i receives from block i
        x = x + a.f(a.ln(x, "input.0"))
        x = x + f.f(f.ln(x, "input.0"))
        saved.append(x)
    return x


def with_values(mix: object) -> Whole:
    """Pre-LN whose values are made of the first block's and the block's own."""

    def run(sublayers: list[Weights], x: Tensor) -> Tensor:
        first = None
        for w in sublayers:
            n = w.ln(x, "input.0")
            if not w.is_attention:
                x = x + w.f(n)
                continue
            q, k, *own = w.projected(n)
            first = own[0] if first is None else first
            x = x + w.joined(w.shares(q @ k.mT / math.sqrt(HEAD)) @ mix(w, first, own))
        return x

    return run


def real_former(sublayers: list[Weights], x: Tensor) -> Tensor:
    before: Tensor | float = 0.0
    for w in sublayers:
        if not w.is_attention:
            x = w.ln(x + w.f(x), "post.0")
            continue
        q, k, v = w.projected(x)
        before = q @ k.mT / math.sqrt(HEAD) + before
        x = w.ln(x + w.joined(w.shares(before) @ v), "post.0")
    return x


def shaped(w: Weights, x: Tensor, name: str = "function") -> Tensor:
    q, k, *v = w.projected(x, name)
    value = v[0] if v else w.by_head(x)
    alpha, beta, gamma = (w[f"{name}.{n}"] for n in ("alpha", "beta", "gamma"))
    even = w.shares(torch.zeros(q.shape[0], 1, q.shape[2], q.shape[2], dtype=x.dtype))
    matrix = alpha * torch.eye(q.shape[2], dtype=x.dtype) + beta * w.shares(q @ k.mT / math.sqrt(HEAD)) - gamma * even
    return w.joined(matrix @ value, name)


def sas(w: Weights, x: Tensor) -> Tensor:
    n = w.rms(x, "input.0")
    if w.is_attention:
        return w["output.0.gain"] * shaped(w, n)
    return w["skip.0.gain"] * x + w["output.0.gain"] * w.f(n)


def sas_p(w: Weights, x: Tensor) -> Tensor:
    n = w.rms(x, "input.0")
    of_attention = w["function.attention.output.0.gain"] * shaped(w, n, "function.attention.function")
    return of_attention + w["function.feed_forward.output.0.gain"] * w.f(n, "function.feed_forward.function")


def value_skip(w: Weights, x: Tensor) -> Tensor:
    n = w.ln(x, "input.0")
    if not w.is_attention:
        return x + w.f(n)
    q, k, v = w.projected(n)
    gathered = w.shares(q @ k.mT / math.sqrt(HEAD)) @ v
    return w.joined(w["function.alpha"] * v + w["function.beta"] * gathered)


def first_weights(length: int, block: int, blocks: int) -> Tensor:
    """E-SPA's A_l from the ratio of neighbours ``exp(-γ)``, by another library's root."""
    kept, places = 1 - math.exp(-2 * 0.005), np.arange(length)
    ratios = [math.sqrt(1 - kept ** (each / blocks)) for each in (block - 1, block)]
    below, above = (scipy.linalg.sqrtm(ratio ** np.abs(places[:, None] - places)) for ratio in ratios)
    return torch.from_numpy(np.linalg.solve(below.T, above.T).T)


def e_spa(w: Weights, x: Tensor) -> Tensor:
    x = w.ln(x, "input.0") if "input.0.gain" in w else x
    if not w.is_attention:
        return w.linear(math.sqrt(2) * w.linear(x, "function.hidden").clamp(min=0), "function.output")
    q, k, v = w.projected(x)
    rows = []
    for row, length in enumerate(w.mask.sum(-1).tolist()):
        start = first_weights(length, w.block, w.blocks)
        weights = start * (q[row, :, :length] @ k[row, :, :length].mT / math.sqrt(HEAD)).exp()
        weights = start.sum(-1)[:, None] * weights / weights.sum(-1, keepdim=True)
        rows.append(F.pad(weights @ v[row, :, :length], (0, 0, 0, x.shape[1] - length)))
    return w.joined(torch.stack(rows))


def ngpt(w: Weights, x: Tensor) -> Tensor:
    if w.is_attention:
        q, k, v = w.projected(x)
        s = w["function.scale.vector"] * math.sqrt(D)
        y = w.joined(w.shares((s * unit(q)) @ (s * unit(k)).mT * math.sqrt(HEAD)) @ v)
    else:
        scaled = math.sqrt(D) * w["function.before_activation.0.vector"] * w.linear(x, "function.hidden")
        y = w.linear(scaled.clamp(min=0), "function.output")
    alpha = (w["residual.rate.vector"] * 0.05 * math.sqrt(D)).abs()
    return unit(unit(x) + alpha * (unit(y) - unit(x)))


def without_values(layers: int) -> int:
    """SVFormer: all blocks but the first lack the values' matrix and bias."""
    return (layers - 1) * (D * D + D)


def simplified(layers: int) -> int:
    """SAS: no output projection, and values in the first block alone."""
    return layers * (D * D + D) + (layers - 1) * (D * D + D)


def rms_everywhere(layers: int) -> int:
    return D * (2 * layers + 1)


MEMORY: dict[str, Expected] = {
    "hyper_connections": pre(None, whole=hyper, own=lambda layers: 2 * layers * N * (N + 2)),
    "dynamic_hyper_connections": pre(
        None,
        whole=dynamic_hyper,
        norms=lambda layers: 4 * layers + 1,
        own=lambda layers: 2 * layers * (N * (N + 2) + D * (N + 2) + 2),
    ),
    "mhc": Expected(
        None,
        lambda layers: 4 * layers + 1,
        both,
        whole=mhc,
        final=True,
        norm=rms,
        norm_parameters=None,
        own=lambda layers: rms_everywhere(layers) + 2 * layers * ((N * D + 1) * (N * N + 2 * N) + 3),
    ),
    "frac_connections": pre(frac, own=lambda layers: 2 * layers * (2 * N * N + N)),
    "resi_dual": Expected(None, and_final, both, whole=resi_dual, final=True),
    "siamese": Expected(None, lambda layers: 6 * layers + 1, both, whole=siamese, final=True),
    "dense_former": pre(None, whole=dense_former, own=lambda layers: sum(i + 1 for i in range(1, layers + 1))),
    "mudd": Expected(
        None,
        lambda layers: 5 * layers + 1,
        both,
        whole=mudd,
        final=True,
        norm=rms,
        norm_parameters=None,
        own=mudd_parameters,
    ),
    **{
        name: Expected(
            None,
            lambda layers: 4 * layers + 2,
            both,
            whole=attention_residuals(group),
            final=True,
            norm=rms,
            norm_parameters=1,
            own=lambda layers: D * (2 * layers + 1),
        )
        for name, group in (("attention_residuals", 1), ("block_attention_residuals", 4))
    },
    "bottom_to_top": Expected(None, both, lambda layers: 3 * layers, whole=bottom_to_top),
    "bottom_to_top_scaled": Expected(None, both, lambda layers: 3 * layers, whole=bottom_to_top),
    "post_ln_scaled_start": FIRST["post_ln"],
    "x0_lambdas": pre(None, whole=x0_lambdas, own=both),
    "unet": pre(None, whole=unet, own=lambda layers: layers // 2),
    "value_residual": pre(
        None,
        whole=with_values(lambda w, first, own: w["function.of_first"] * first + w["function.of_own"] * own[0]),
        own=both,
    ),
    "sv_former": pre(None, whole=with_values(lambda w, first, own: first), missing=without_values),
    "real_former": Expected(None, both, both, whole=real_former),
    "shaped_attention": pre(
        lambda w, x: x + (shaped(w, w.ln(x, "input.0")) if w.is_attention else w.f(w.ln(x, "input.0"))),
        own=lambda layers: 3 * HEADS * layers,
    ),
    "sas": Expected(
        sas,
        and_final,
        one,
        final=True,
        norm=rms,
        norm_parameters=1,
        own=lambda layers: (3 * HEADS + 3) * layers,
        missing=simplified,
    ),
    "sas_p": Expected(
        sas_p,
        lambda layers: layers + 1,
        none,
        final=True,
        norm=rms,
        norm_parameters=1,
        own=lambda layers: (3 * HEADS + 2) * layers,
        missing=simplified,
    ),
    "value_skip_init": Expected(value_skip, and_final, one, final=True, own=both),
    "e_spa": Expected(e_spa, none, none),
    "e_spa_norm": Expected(e_spa, and_final, none, final=True),
    "ngpt": Expected(
        ngpt,
        none,
        both,
        logits=lambda w, x: w["logits.0.vector"] * math.sqrt(D) * x,
        own=lambda layers: (3 * D + HIDDEN) * layers + OUTPUTS,
        biases=False,
    ),
}
