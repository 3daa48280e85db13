"""Which runs can be members of one population; free of torch, so that a plan can ask."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError, reject_unknown

OWN_VALUES = frozenset(
    {"learning_rate", "warmup_fraction", "weight_decay", "initialisation_gain", "seed", "decay", "schedule_epochs"}
)
"""Fields of the model's configuration in which members may differ; all others are the population's."""

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
"""Optimisers that a population has."""

PRECISIONS = ("32-true", "bf16-mixed")
"""Precisions that a population has, by Lightning's names."""

PADDING_DEPENDENT_NORM = "layer_norm_over_tokens"
"""The one norm whose output depends on how far a batch is padded."""


def refuse_unlike(configs: Sequence[ModelConfig]) -> None:
    """Refuse members that cannot be one batched model.

    Raises:
        ConfigurationError: where there is no member, one asks for what a population does not have, or two differ in a
            field that is not each member's own.
    """
    if not configs:
        raise ConfigurationError("a population needs at least one member")
    for config in configs:
        reject_unknown("model.optimizer of a population", config.optimizer, OPTIMIZERS)
        if config.scheme.norm == PADDING_DEPENDENT_NORM:
            raise ConfigurationError(
                f"{config.variant} normalises over tokens, so it depends on how far a batch is padded, and a "
                "population pads its members' batches to one length; train its runs one at a time"
            )
        for name in config.__dataclass_fields__:
            ours, theirs = getattr(configs[0], name), getattr(config, name)
            if name not in OWN_VALUES and ours != theirs:
                raise ConfigurationError(
                    f"model.{name} is {ours!r} in one member of a population and {theirs!r} in another; "
                    f"members may differ in {', '.join(sorted(OWN_VALUES))} alone"
                )
