"""T10: by how much one optimiser step changes what a network computes (Wang et al. 2022, arXiv:2203.00555)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.reproductions.measurements import Row
from experiments.reproductions.measures.inputs import input_generator, network, token_logits, zipf_tokens
from experiments.reproductions.setups import UpdateSize
from lightning_modules.network.context import Context
from lightning_modules.network.network import Network
from lightning_modules.network.sites import Norm

ADAM_EPSILON = 1e-8

DIRECTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sgd": lambda gradient: -gradient,
    "adam": lambda gradient: -gradient / (gradient.abs() + ADAM_EPSILON),
}
"""First step of an optimiser divided by its rate. Adam's corrected moments are then g and g² (arXiv:1412.6980)."""


def measure(setup: UpdateSize, seed: int) -> list[Row]:
    """Return the root mean square change of the logits of a probe batch, per unit of rate, as the rate goes to zero.

    The network is a decoder-only language model: causal attention, the head at every token, the next token as
    target. One step is taken on one batch, with some of the parameters or all, and the logits of another batch are
    read. For a step of rate η in the direction u, in float64::

        rms((f(θ + η·u) - f(θ - η·u)) / 2η)
    """
    generator = input_generator(seed)
    batch = zipf_tokens(setup.vocabulary, setup.rows, setup.length, generator)
    probe = zipf_tokens(setup.vocabulary, setup.rows, setup.length, generator)
    return [
        {"variant": variant, "layers": layers, "optimizer": optimizer, "parameters": group, "logit_change": change}
        for variant in setup.variants
        for layers in setup.layers
        for optimizer, group, change in changes(
            network(setup, setup.start, variant, layers, seed).double(), batch, probe, setup
        )
    ]


def changes(network: Network, batch: Tensor, probe: Tensor, setup: UpdateSize) -> Iterator[tuple[str, str, float]]:
    """Yield the change of the logits by optimiser and group of parameters."""
    parameters: list[Tensor] = list(network.parameters())
    gradients = torch.autograd.grad(next_token_loss(network, batch), parameters)
    for optimizer in setup.optimizers:
        steps = dict(zip(parameters, map(DIRECTIONS[optimizer], gradients), strict=True))
        for group, members in parameter_groups(network).items():
            step = [(parameter, steps[parameter]) for parameter in members]
            yield optimizer, group, logit_change(network, step, probe, setup.step)


def parameter_groups(network: Network) -> dict[str, list[Tensor]]:
    """Return the matrices of the sublayers, the gains and biases of the norms, and all parameters."""
    linear = [module for module in network.blocks.modules() if isinstance(module, nn.Linear)]
    norms = [module for module in network.modules() if isinstance(module, Norm)]
    return {
        "matrices": [module.weight for module in linear],
        "norms": [parameter for module in norms for parameter in module.parameters()],
        "all": list(network.parameters()),
    }


def causal_logits(network: Network, tokens: Tensor) -> Tensor:
    """Return the logits of the next token at every token of ``tokens`` ``(B, T)``, ``(B, T, V)``."""
    context = Context(torch.ones(tokens.shape, dtype=torch.bool), causal=True)
    return token_logits(network, network.blocks(network.backbone.embeddings(tokens), context))


def next_token_loss(network: Network, tokens: Tensor) -> Tensor:
    """Return the mean cross-entropy of every token but the first given those before it."""
    return F.cross_entropy(causal_logits(network, tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


@torch.no_grad()
def logit_change(network: Network, step: Sequence[tuple[Tensor, Tensor]], probe: Tensor, rate: float) -> float:
    """Return the root mean square of the derivative of the probe's logits along ``step``; parameters are restored."""
    before = [parameter.clone() for parameter, _ in step]
    moved = []
    for sign in (1, -1):
        for (parameter, direction), value in zip(step, before, strict=True):
            parameter.copy_(value + sign * rate * direction)
        moved.append(causal_logits(network, probe))
    for (parameter, _), value in zip(step, before, strict=True):
        parameter.copy_(value)
    return ((moved[0] - moved[1]) / (2 * rate)).square().mean().sqrt().item()
