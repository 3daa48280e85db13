"""The weights of a network in Hugging Face's format, under our names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lightning_modules.errors import ConfigurationError
from lightning_modules.pretrained import WEIGHTS, PretrainedNetwork

QUERY_KEY_VALUE, ATTENTION_OUTPUT = "attention.function.query_key_value", "attention.function.output"
HIDDEN, OUTPUT = "feed_forward.function.hidden", "feed_forward.function.output"
NORM_NAMES = {"weight": "gain", "bias": "bias"}
"""What we call the parameters of a norm."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names of a family's modules; several in a row are the equal parts of one module of ours."""

    table: str
    positions: str
    types: str | None = None
    """Vectors of token types; the first is added to every position, as texts here have one type."""
    block: str
    """Beginning of the names of a block, with ``{}`` for its number."""
    linear: Mapping[str, tuple[str, ...]]
    norms: Mapping[str, str]
    outer_norms: Mapping[str, str]
    transposed: bool = False
    """Whether matrices are stored as (inputs, outputs)."""


BERT = Layout(
    table="embeddings.word_embeddings.weight",
    positions="embeddings.position_embeddings.weight",
    types="embeddings.token_type_embeddings.weight",
    block="encoder.layer.{}.",
    linear={
        QUERY_KEY_VALUE: ("attention.self.query", "attention.self.key", "attention.self.value"),
        ATTENTION_OUTPUT: ("attention.output.dense",),
        HIDDEN: ("intermediate.dense",),
        OUTPUT: ("output.dense",),
    },
    norms={"attention.post.0": "attention.output.LayerNorm", "feed_forward.post.0": "output.LayerNorm"},
    outer_norms={"embeddings.embedding.0": "embeddings.LayerNorm"},
)
DISTILBERT = Layout(
    table=BERT.table,
    positions=BERT.positions,
    block="transformer.layer.{}.",
    linear={
        QUERY_KEY_VALUE: ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        ATTENTION_OUTPUT: ("attention.out_lin",),
        HIDDEN: ("ffn.lin1",),
        OUTPUT: ("ffn.lin2",),
    },
    norms={"attention.post.0": "sa_layer_norm", "feed_forward.post.0": "output_layer_norm"},
    outer_norms=BERT.outer_norms,
)
GPT2 = Layout(
    table="wte.weight",
    positions="wpe.weight",
    block="h.{}.",
    linear={
        QUERY_KEY_VALUE: ("attn.c_attn",),
        ATTENTION_OUTPUT: ("attn.c_proj",),
        HIDDEN: ("mlp.c_fc",),
        OUTPUT: ("mlp.c_proj",),
    },
    norms={"attention.input.0": "ln_1", "feed_forward.input.0": "ln_2"},
    outer_norms={"final.0": "ln_f"},
    transposed=True,
)
LAYOUTS = {"bert": BERT, "roberta": BERT, "xlm-roberta": BERT, "distilbert": DISTILBERT, "gpt2": GPT2}


def borrowed_weights(network: PretrainedNetwork, sha256: str) -> dict[str, Tensor]:
    """Return the weights of a pretrained network's backbone under our names, float32.

    Args:
        network: where it is and what it is.
        sha256: of the file of weights that is meant.

    Raises:
        ConfigurationError: the file is another one, is damaged, or lacks a weight.
    """
    if network.sha256 != sha256:
        raise ConfigurationError(
            f"model.pretrained: the weights there have SHA-256 {network.sha256[:16]}…, and {sha256[:16]}… is meant; "
            "the file has changed"
        )
    try:
        stored = load_file(network.folder / WEIGHTS)
    except (OSError, SafetensorError, ValueError) as error:
        raise ConfigurationError(f"model.pretrained: {WEIGHTS} is damaged ({error})") from None
    layout = LAYOUTS[network.family]
    # Old checkpoints call the parameters of a norm gamma and beta.
    names = {name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): name
             for name in stored}  # fmt: skip
    found = next((name for name in names if name.endswith(layout.table)), layout.table)
    prefix = found.removesuffix(layout.table)  # a network with a head names its body first

    def weight(name: str) -> Tensor:
        if prefix + name not in names:
            raise ConfigurationError(f"model.pretrained: {WEIGHTS} has no {prefix}{name}")
        return stored[names[prefix + name]].float()

    positions = weight(layout.positions)[network.first_position :]
    if layout.types is not None:
        positions = positions + weight(layout.types)[0]
    ours = {"embeddings.table.weight": weight(layout.table), "embeddings.positions.embedding.weight": positions}
    pairs = [*_norms_and_maps(layout, network.settings["layers"])]
    for name, parts in pairs:
        whole = torch.cat([weight(part) for part in parts])
        ours[name] = whole.T.contiguous() if layout.transposed and whole.ndim == 2 else whole
    return {f"backbone.{name}": tensor for name, tensor in ours.items()}


def _norms_and_maps(layout: Layout, layers: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each parameter of ours, except for the embeddings', and the names of its parts."""
    for own, name in layout.outer_norms.items():
        for theirs, parameter in NORM_NAMES.items():
            yield f"{own}.{parameter}", [f"{name}.{theirs}"]
    for number in range(layers):
        block = layout.block.format(number)
        for own, name in layout.norms.items():
            for theirs, parameter in NORM_NAMES.items():
                yield f"blocks.{number}.{own}.{parameter}", [f"{block}{name}.{theirs}"]
        for own, names in layout.linear.items():
            for parameter in ("weight", "bias"):
                yield f"blocks.{number}.{own}.{parameter}", [f"{block}{name}.{parameter}" for name in names]
