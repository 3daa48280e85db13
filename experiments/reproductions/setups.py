"""The setup of every measurement: all sizes and seeds, as a claim file must state them. Free of torch.

Nothing has a default: what decides a number stands in the claim file. All networks are at initialisation, without
dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from experiments.errors import ExperimentError
from lightning_modules.config import Initialisation, ModelConfig, Positions
from lightning_modules.errors import reject_unknown
from lightning_modules.schemes.variants import VARIANTS


@dataclass(frozen=True, kw_only=True)
class Start:
    """Size and initial weights of the networks."""

    name: str
    """Name in tables."""

    width: int
    """Width D of the stream."""

    heads: int
    """Attention heads."""

    initialisation: Initialisation
    """``xavier`` or ``gaussian`` (sd 0.02); embeddings have sd 0.02 with both."""

    def __post_init__(self) -> None:
        ModelConfig(width=self.width, heads=self.heads, initialisation=self.initialisation)  # which checks the name


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every measurement at initialisation states."""

    keys: ClassVar[tuple[str, ...]]
    """Columns that tell the rows of one seed's measurement apart."""

    values: ClassVar[tuple[str, ...]]
    """Columns that are measured."""

    seeds: int
    """Independent draws of weights and tokens: seeds 0, 1, …"""

    layers: list[int]
    """Numbers of blocks L."""

    rows: int
    """Rows of tokens in the batch, B."""

    length: int
    """Tokens in each row, T."""

    def __post_init__(self) -> None:
        if self.seeds < 3:
            raise ExperimentError(f"setup.seeds is {self.seeds}; a measurement needs at least 3 for an interval")
        sizes = {"rows": self.rows, "length": self.length, **{f"layers[{i}]": n for i, n in enumerate(self.layers)}}
        for name, size in sizes.items():
            if size < 1:
                raise ExperimentError(f"setup.{name} is {size}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class NetworkSetup(Setup):
    """A measurement on whole networks that read tokens drawn from Zipf's law."""

    variants: list[str]
    """Residual and normalisation schemes."""

    vocabulary: int
    """Number of tokens and of output classes, V; token 0 is padding and never drawn."""

    positions: Positions
    """Position embedding: ``learned``, ``sinusoidal`` or ``none``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for variant in self.variants:
            reject_unknown("setup.variants", variant, VARIANTS)
        ModelConfig(positions=self.positions)  # which checks the name


@dataclass(frozen=True, kw_only=True)
class GradientByDepth(NetworkSetup):
    """Gradient of the last block's second feed-forward matrix against depth."""

    keys = ("variant", "layers")
    values = ("token_gradient_norm", "batch_gradient_norm")

    start: Start
    """Size and initial weights."""


@dataclass(frozen=True, kw_only=True)
class RankCollapse(Setup):
    """Distance of the tokens from rank one by depth, in stacks with and without their parts."""

    keys = ("start", "stack", "block")
    values = ("rank_one_distance",)

    stacks: list[str]
    """Stacks to compare, by their names in ``measures/rank_collapse.py``."""

    starts: list[Start]
    """Sizes and initial weights; the first one decides the verdict."""


@dataclass(frozen=True, kw_only=True)
class TokenAlignment(NetworkSetup):
    """Cosine between tokens, and gradients of the queries against those of the values, by block and depth."""

    keys = ("variant", "layers", "block")
    values = ("token_cosine", "query_to_value_gradient")

    start: Start
    """Size and initial weights."""


@dataclass(frozen=True, kw_only=True)
class JacobianIsometry(Setup):
    """Singular values of the Jacobian of a stack of L blocks; one block is the stack of L = 1."""

    keys = ("variant", "layers")
    values = ("smallest", "lower_decile", "median", "upper_decile", "largest", "largest_deviation")

    variants: list[str]
    """Residual and normalisation schemes."""

    start: Start
    """Size and initial weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for variant in self.variants:
            reject_unknown("setup.variants", variant, VARIANTS)


@dataclass(frozen=True, kw_only=True)
class StreamVariance(NetworkSetup):
    """Variance of the residual stream by block."""

    keys = ("start", "variant", "layers", "block")
    values = ("variance",)

    starts: list[Start]
    """Sizes and initial weights; the first one decides the verdict."""


@dataclass(frozen=True, kw_only=True)
class UpdateSize(NetworkSetup):
    """Change of a language model's logits by one optimiser step, divided by the rate, as the rate goes to zero."""

    keys = ("variant", "layers", "optimizer", "parameters")
    values = ("logit_change",)

    start: Start
    """Size and initial weights."""

    optimizers: list[str]
    """``sgd`` and ``adam``."""

    step: float
    """Rate of the central difference that stands for the limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for optimizer in self.optimizers:
            reject_unknown("setup.optimizers", optimizer, ("sgd", "adam"))


@dataclass(frozen=True, kw_only=True)
class AdamStability:
    """Ordinary training runs of a grid, made by ``experiments.ablation`` and judged by their records."""

    keys: ClassVar[tuple[str, ...]] = ("variant", "learning_rate", "beta2")
    values: ClassVar[tuple[str, ...]] = ("converged", "macro_f1")

    grid: str
    """Grid of ``experiments/grids`` whose records are judged."""

    variants: list[str]
    """Conditions of that grid to compare."""


SETUPS: dict[str, type[Setup | AdamStability]] = {
    "gradient_by_depth": GradientByDepth,
    "rank_collapse": RankCollapse,
    "token_alignment": TokenAlignment,
    "jacobian_isometry": JacobianIsometry,
    "adam_stability": AdamStability,
    "stream_variance": StreamVariance,
    "update_size": UpdateSize,
}
"""Setups by the name of their measurement, which is also the name of its modules."""
