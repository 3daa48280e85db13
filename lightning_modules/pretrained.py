"""Networks in Hugging Face's format whose weights our networks can take: where they are, and how they are built.

Free of torch. Nothing is downloaded, and no code that comes with a network runs: only ``config.json`` and, later,
``model.safetensors`` are read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

from lightning_modules.errors import ConfigurationError, reject_unknown, shortened

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PACKAGE = "package:"
"""Beginning of a ``model.pretrained`` that names a folder inside an installed package."""
LARGEST_CONFIG = 1_000_000
"""Bytes of a ``config.json``; real ones have a few thousand."""
SIZES = (
    *("layers", "width", "heads", "feed_forward_width", "activation", "norm_epsilon", "embedding_norm", "causal"),
    *("positions", "elsewhere"),
)
"""Fields of a model's configuration that follow from its pretrained network."""
ACTIVATIONS = {
    "gelu": "gelu",
    "relu": "relu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}
"""Our name of an activation by Hugging Face's."""


@dataclass(frozen=True, kw_only=True)
class PretrainedNetwork:
    """A network that was trained elsewhere."""

    folder: Path
    family: str
    """``model_type`` of its ``config.json``."""
    settings: Mapping[str, Any]
    """Fields of :class:`~lightning_modules.config.ModelConfig`, without the variant, with which our network computes
    the same."""
    variant: str
    """The variant that its blocks are of."""
    first_position: int
    """Row of its table of positions that belongs to the first token."""
    positions: int
    """Most tokens of a row."""

    @property
    def commit(self) -> str | None:
        """Commit of the Hub's repository that it was taken from, as the Hub's cache names its folders; else None."""
        found = re.fullmatch(r"[0-9a-f]{40}", self.folder.name)
        return found[0] if found and self.folder.parent.name == "snapshots" else None

    @property
    def sha256(self) -> str:
        """SHA-256 of its file of weights."""
        path = self.folder / WEIGHTS
        state = path.stat()
        return _sha256(path, state.st_size, state.st_mtime_ns)


def pretrained_name(name: str) -> str:
    """Return what a network is called in records: its package, or the last part of its folder or id."""
    return name.removeprefix(PACKAGE).partition("/")[0] if name.startswith(PACKAGE) else PurePath(name).name


def pretrained_network(name: str) -> PretrainedNetwork:
    """Find the network that ``model.pretrained`` names, and read how it is built.

    Args:
        name: a folder; ``package:NAME/FOLDER`` for one inside an installed package; or a Hub id that is in the Hub's
            cache on this machine.

    Raises:
        ConfigurationError: it is not there, has no safetensors, or is of a family that our network is not equal to.
    """
    folder = _folder_of(name)
    if not (folder / WEIGHTS).is_file():
        raise ConfigurationError(
            f"model.pretrained: {shortened(name)} has no {WEIGHTS}; only one file of safetensors is read, so save the "
            "network anew with save_pretrained"
        )
    path = folder / CONFIG
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError
        content = json.loads(path.read_text(encoding="utf-8"))
        family = content["model_type"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise ConfigurationError(
            f"model.pretrained: {shortened(name)} has no readable {CONFIG} with a model_type"
        ) from None
    reject_unknown("model.pretrained: model_type", str(family), FAMILIES)
    try:
        return FAMILIES[family](folder, content)
    except (LookupError, TypeError) as error:
        raise ConfigurationError(
            f"model.pretrained: the {CONFIG} of {shortened(name)} lacks {error}, which a {family} has"
        ) from None


def _folder_of(name: str) -> Path:
    if name.startswith(PACKAGE):
        return _packaged(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        from huggingface_hub import try_to_load_from_cache

        try:
            found = try_to_load_from_cache(name, CONFIG)
        except ValueError:  # the Hub's own rules for ids
            found = None
        if isinstance(found, str):
            return Path(found).parent
    raise ConfigurationError(
        f"model.pretrained is {shortened(name)!r}, neither a folder nor a network in the Hub's cache here; fetch it "
        f"once where there is network (`hf download {shortened(name)}`), or name its folder"
    )


def _packaged(name: str) -> Path:
    package, _, inside = name.removeprefix(PACKAGE).partition("/")
    found = find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise ConfigurationError(
            f"model.pretrained is {shortened(name)!r}, and there is no package {shortened(package)!r}; install it"
        )
    folder = Path(next(iter(found.submodule_search_locations))) / inside
    if ".." in Path(inside).parts or not folder.is_dir():
        raise ConfigurationError(f"model.pretrained is {shortened(name)!r}, and the package has no such folder")
    return folder


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _activation(content: Mapping[str, Any], name: str, default: str) -> str:
    given = str(content.get(name, default))
    reject_unknown(f"model.pretrained: {name}", given, ACTIVATIONS)
    return ACTIVATIONS[given]


def _refuse(content: Mapping[str, Any], **usual: Any) -> None:
    """Refuse a setting under which the network computes something that ours cannot compute."""
    for name, value in usual.items():
        given = content.get(name, value)
        if given != value:
            raise ConfigurationError(
                f"model.pretrained: {name} is {given!r}, and our network is equal to {value!r} only"
            )


def _bert(folder: Path, content: Mapping[str, Any]) -> PretrainedNetwork:
    """BERT (Devlin et al. 2018, arXiv:1810.04805) and RoBERTa (Liu et al. 2019, arXiv:1907.11692).

    RoBERTa counts positions from the id of the padding token plus one.
    """
    _refuse(content, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    first = 0 if content["model_type"] == "bert" else int(content.get("pad_token_id", 1)) + 1
    settings = {
        "layers": content["num_hidden_layers"],
        "width": content["hidden_size"],
        "heads": content["num_attention_heads"],
        "feed_forward_width": content["intermediate_size"],
        "activation": _activation(content, "hidden_act", "gelu"),
        "norm_epsilon": content.get("layer_norm_eps", 1e-12),
        "embedding_norm": True,
        "causal": False,
    }
    return _network(folder, content, settings, "post_ln", content["max_position_embeddings"], first)


def _distilbert(folder: Path, content: Mapping[str, Any]) -> PretrainedNetwork:
    """DistilBERT (Sanh et al. 2019, arXiv:1910.01108): BERT without token types, under other names."""
    _refuse(content, sinusoidal_pos_embds=False)
    settings = {
        "layers": content["n_layers"],
        "width": content["dim"],
        "heads": content["n_heads"],
        "feed_forward_width": content["hidden_dim"],
        "activation": _activation(content, "activation", "gelu"),
        "norm_epsilon": 1e-12,
        "embedding_norm": True,
        "causal": False,
    }
    return _network(folder, content, settings, "post_ln", content["max_position_embeddings"])


def _gpt2(folder: Path, content: Mapping[str, Any]) -> PretrainedNetwork:
    """GPT-2 (Radford et al. 2019): Pre-LN, causal, GELU by its tanh approximation."""
    _refuse(content, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    settings = {
        "layers": content["n_layer"],
        "width": content["n_embd"],
        "heads": content["n_head"],
        "feed_forward_width": content.get("n_inner") or 4 * content["n_embd"],
        "activation": _activation(content, "activation_function", "gelu_new"),
        "norm_epsilon": content.get("layer_norm_epsilon", 1e-5),
        "embedding_norm": False,
        "causal": True,
    }
    return _network(folder, content, settings, "pre_ln", content["n_positions"])


def _network(
    folder: Path,
    content: Mapping[str, Any],
    settings: Mapping[str, Any],
    variant: str,
    rows: int,
    first_position: int = 0,
) -> PretrainedNetwork:
    return PretrainedNetwork(
        folder=folder,
        family=content["model_type"],
        settings={**settings, "positions": "learned"},
        variant=variant,
        first_position=first_position,
        positions=rows - first_position,
    )


FAMILIES: dict[str, Callable[[Path, Mapping[str, Any]], PretrainedNetwork]] = {
    "bert": _bert,
    "roberta": _bert,
    "xlm-roberta": _bert,
    "distilbert": _distilbert,
    "gpt2": _gpt2,
}
"""Reads a ``config.json`` by its ``model_type``."""
