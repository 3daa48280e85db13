"""All measures of a network on one batch, by depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor

from lightning_modules.network.network import Network
from lightning_modules.probes import signal
from lightning_modules.probes.attention_entropy import (
    attention_entropy,
    attention_entropy_share,
    attention_probabilities,
)
from lightning_modules.probes.gradients import gradient_norms, update_ratios
from lightning_modules.probes.jacobian import block_singular_values
from lightning_modules.probes.observation import Observation, SublayerObservation, observed, tensors_of
from lightning_modules.probes.saturation import dead_unit_share, inactive_share

Measures = dict[str, list[float]]
"""A list by depth for every measure. The last value belongs to the last block; a measure of the stream has one value
more than there are blocks, and its first is that of the embeddings. NaN where a measure has no value."""

STREAM_MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "stream_rms": signal.rms,
    "stream_mean": signal.mean,
    "token_cosine": signal.token_cosine,
    "rank_one_distance": signal.rank_one_distance,
    "effective_rank": signal.effective_rank,
    "kurtosis": signal.kurtosis,
}
"""Measures of the stream ``(B, T, D)`` under its mask ``(B, T)``, after the embedding and after every block."""

JACOBIAN_INPUTS = 512
"""Inputs of the Jacobians: this many features of the first tokens of a row, and two tokens at least."""


def measure(
    network: Network,
    input_ids: Tensor,
    attention_mask: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    weights_before: Mapping[Tensor, Tensor] | None = None,
) -> Measures:
    """Measure ``network`` on one batch, forwards and backwards, in evaluation mode and double precision.

    A copy in float64 is measured: in float32, what vanishes with depth (distance to rank one, gradients, singular
    values) would end at the rounding. Apple's GPUs have no float64, so the copy stays in float32 there. The network
    itself, its gradients and PyTorch's generators are left as they were.

    Args:
        network: in any mode.
        input_ids: ``(B, T)``.
        attention_mask: ``(B, T)`` bool, True at real tokens.
        loss: maps logits ``(B, K)``, of that precision, to the scalar whose gradients are measured.
        weights_before: the parameters before the latest optimiser step, for ``update_ratio_…``.
    """
    devices = [input_ids.device] if input_ids.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        original, network = network, precise_copy(network)
        with torch.enable_grad(), observed(network) as observation:
            value = loss(network(input_ids, attention_mask))
        measures = backward_measures(network, observation, value)
        with torch.no_grad():
            measures |= stream_measures(observation, attention_mask)
            measures |= by_block([sublayer_measures(block, attention_mask) for block in observation.blocks])
            measures |= by_block(jacobian_measures(network, observation, attention_mask))
            if weights_before is not None:
                measures |= by_block(
                    [prefixed("update_ratio", update_ratios(b, weights_before)) for b in original.blocks.children()]
                )
    return measures


def precise_copy(network: Network) -> Network:
    """Return a copy of a network in evaluation mode, in float64, or in float32 if its device has no float64."""
    device = next(network.parameters()).device
    return deepcopy(network).eval().to(torch.float32 if device.type == "mps" else torch.float64)


def stream_measures(observation: Observation, attention_mask: Tensor) -> Measures:
    """Return what the stream looks like at every depth."""
    streams = observation.streams()
    return {
        name: [float(function(stream, attention_mask)) for stream in streams]
        for name, function in STREAM_MEASURES.items()
    }


def sublayer_measures(block: Sequence[SublayerObservation], attention_mask: Tensor) -> dict[str, float]:
    """Return how much the sublayers of one block write, how widely they look and how many of their units rest."""
    measures: dict[str, Tensor] = {}
    for seen in block:
        assert seen.update is not None, "the network has not run yet"
        before = seen.stream_before() if seen.kept is None else seen.kept
        measures[f"update_share_{seen.sublayer.place.role}"] = signal.update_share(seen.update, before, attention_mask)
        if seen.query is not None and seen.key is not None:
            probabilities = attention_probabilities(seen.query, seen.key, attention_mask)
            measures["attention_entropy"] = attention_entropy(probabilities, attention_mask)
            measures["attention_entropy_share"] = attention_entropy_share(probabilities, attention_mask)
        if seen.preactivation is not None:
            measures["inactive_share"] = inactive_share(seen.preactivation, attention_mask)
            measures["dead_unit_share"] = dead_unit_share(seen.preactivation, attention_mask)
    return {name: float(value) for name, value in measures.items()}


def backward_measures(network: Network, observation: Observation, loss: Tensor) -> Measures:
    """Return the gradient norms of the stream at every depth and of the weight matrices of every block."""
    states = [tensors_of(state) for state in observation.states()]
    weights = [parameter for parameter in network.blocks.parameters() if parameter.requires_grad]
    inputs = [*(tensor for tensors in states for tensor in tensors), *weights]
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    gradients = {
        tensor: torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(inputs, found, strict=True)
    }
    norms = [torch.nn.utils.get_total_norm([gradients[tensor] for tensor in tensors]) for tensors in states]
    by_matrix = [prefixed("gradient_norm", gradient_norms(block, gradients)) for block in network.blocks.children()]
    return {"stream_gradient_norm": [float(norm) for norm in norms]} | by_block(by_matrix)


def jacobian_measures(network: Network, observation: Observation, attention_mask: Tensor) -> list[dict[str, float]]:
    """Return the largest, the median and the smallest singular value of every block's Jacobian.

    The Jacobian is taken at the first tokens of the longest row.
    """
    row = int(attention_mask.sum(dim=1).argmax())
    found = []
    for block, stream in zip(network.blocks.children(), observation.streams(), strict=False):
        tokens = max(2, JACOBIAN_INPUTS // stream.shape[-1])
        values = block_singular_values(block, stream[row][attention_mask[row]][:tokens])
        largest, median, smallest = float(values[0]), float(values.median()), float(values[-1])
        found.append({"jacobian_largest": largest, "jacobian_median": median, "jacobian_smallest": smallest})
    return found


def prefixed(prefix: str, values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the values as numbers, with a prefix before their names."""
    return {f"{prefix}_{name}": float(value) for name, value in values.items()}


def by_block(blocks: Sequence[Mapping[str, float]]) -> Measures:
    """Turn the measures of every block into lists by block; NaN where a block has no such measure."""
    names = dict.fromkeys(name for block in blocks for name in block)
    return {name: [block.get(name, float("nan")) for block in blocks] for name in names}
