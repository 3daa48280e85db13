"""The networks that studies measure, and their inputs. Only this file knows how our networks are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.studies.study import NetworkStudy, Start
from lightning_modules.config import ModelConfig, Positions
from lightning_modules.network.context import Context
from lightning_modules.network.heads import ClassificationHead
from lightning_modules.network.initialisation import initialise
from lightning_modules.network.network import Network, build_network
from lightning_modules.network.parts import Function
from lightning_modules.network.sites import Norm
from lightning_modules.network.sublayer import build_sublayer
from lightning_modules.schemes.place import Place, Role

INPUTS = 1_000_003
"""Distance between the seed of the weights and that of the tokens, so that the two draws share nothing."""

ROLES = (Role.ATTENTION, Role.FEED_FORWARD)
"""Sublayers of a block, in order."""


def input_generator(seed: int) -> torch.Generator:
    """Make the generator of the inputs that belong to a seed."""
    return torch.Generator().manual_seed(seed + INPUTS)


def zipf_tokens(vocabulary: int, rows: int, length: int, generator: torch.Generator) -> Tensor:
    """Draw tokens 1 … V - 1 with probability proportional to 1/token (Zipf's law), ``(B, T)``."""
    weights = 1 / torch.arange(1, vocabulary, dtype=torch.float64)
    return 1 + torch.multinomial(weights, rows * length, replacement=True, generator=generator).view(rows, length)


def token_batches(study: NetworkStudy, seed: int) -> Iterator[Tensor]:
    """Draw batches of tokens ``(B, T)``, one after the other, as many as are asked for."""
    generator = input_generator(seed)
    while True:
        yield zipf_tokens(study.vocabulary, study.rows, study.length, generator)


def normal_stream(rows: int, length: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw a stream of independent standard normal features, ``(B, T, D)``, float64."""
    return torch.randn(rows, length, width, generator=generator, dtype=torch.float64)


def model_config(start: Start, variant: str, layers: int, seed: int, positions: Positions = "none") -> ModelConfig:
    """Configure a network without dropout."""
    return ModelConfig(
        variant=variant,
        layers=layers,
        width=start.width,
        heads=start.heads,
        initialisation=start.initialisation,
        positions=positions,
        dropout=0.0,
        seed=seed,
    )


def build(config: ModelConfig, vocabulary: int, length: int) -> Network:
    """Build a network with as many classes as tokens, float32, in evaluation mode."""
    return build_network(config, vocabulary_size=vocabulary, outputs=vocabulary, max_length=length, padding_id=0).eval()


def networks(study: NetworkStudy, start: Start, seed: int) -> Iterator[tuple[str, int, Network]]:
    """Build the network of every variant and depth of a study, with its name and number of blocks."""
    for variant in study.variants:
        for layers in study.layers:
            config = model_config(start, variant, layers, seed, study.positions)
            yield variant, layers, build(config, study.vocabulary, study.length)


def all_real(inputs: Tensor) -> Context:
    """Make the context of inputs ``(B, T)`` or ``(B, T, D)`` without padding."""
    return Context(torch.ones(inputs.shape[:2], dtype=torch.bool))


def stream_by_block(blocks: Iterable[Callable[[Tensor, Context], Tensor]], x: Tensor) -> Iterator[Tensor]:
    """Yield the stream ``x`` ``(B, T, D)`` and what it is after each block."""
    context = all_real(x)
    yield x
    for block in blocks:
        x = block(x, context)
        yield x


def network_stream(network: Network, tokens: Tensor) -> Iterator[Tensor]:
    """Yield the stream ``(B, T, D)`` that ``tokens`` ``(B, T)`` open, and what it is after each block."""
    return stream_by_block(network.blocks.children(), network.backbone.embeddings(tokens))


def token_logits(network: Network, x: Tensor) -> Tensor:
    """Apply the head to every token of the last block's output ``x`` ``(B, T, D)``: ``(B, T, V)``."""
    assert isinstance(network.head, ClassificationHead)
    return network.head.linear(network.backbone.final(x))


def token_loss(network: Network, x: Tensor, targets: Tensor) -> Tensor:
    """Average the cross-entropy over all tokens of the last block's output ``x`` against ``targets`` ``(B, T)``."""
    return F.cross_entropy(token_logits(network, x).flatten(0, 1), targets.flatten())


def last_feed_forward_matrix(network: Network) -> nn.Linear:
    """Find the second matrix W₂ of the last block's feed-forward network."""
    matrix = list(network.blocks.children())[-1].get_submodule("feed_forward.function.output")
    assert isinstance(matrix, nn.Linear)
    return matrix


def parameter_groups(network: Network) -> dict[str, list[Tensor]]:
    """Collect the matrices of the sublayers, the gains and biases of the norms, and all parameters."""
    linear = [module for module in network.blocks.modules() if isinstance(module, nn.Linear)]
    norms = [module for module in network.modules() if isinstance(module, Norm)]
    return {
        "matrices": [module.weight for module in linear],
        "norms": [parameter for module in norms for parameter in module.parameters()],
        "all": list(network.parameters()),
    }


def causal_logits(network: Network, tokens: Tensor) -> Tensor:
    """Predict the next token at every token of ``tokens`` ``(B, T)``: logits ``(B, T, V)``."""
    context = Context(torch.ones(tokens.shape, dtype=torch.bool), causal=True)
    return token_logits(network, network.blocks(network.backbone.embeddings(tokens), context))


class Sublayers(nn.ModuleList):
    """Sublayers in order, as one block."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Apply every sublayer to the stream ``x`` ``(B, T, D)``."""
        for sublayer in self:
            x = sublayer(x, context)
        return x


def partial_blocks(variant: str, roles: Sequence[str], start: Start, blocks: int, seed: int) -> list[Sublayers]:
    """Build blocks of a variant that have only the sublayers of these roles, float64.

    The global generator is left as it was.
    """
    config = model_config(start, variant, blocks, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = []
        for block in range(blocks):
            indices = [2 * block + ROLES.index(Role(role)) for role in roles]
            places = [
                Place(width=config.width, heads=config.heads, index=index, sublayers=2 * blocks, role=Role(role))
                for index, role in zip(indices, roles, strict=True)
            ]
            sublayers = Sublayers(build_sublayer(config, place) for place in places)
            for sublayer in sublayers:
                assert isinstance(sublayer.function, Function)
                initialise(sublayer.function, start.initialisation)
            built.append(sublayers.double())
    return built
