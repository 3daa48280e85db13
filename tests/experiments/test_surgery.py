"""Runs that start from a network in Hugging Face's format: what their records say, and what they leave works alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_train_cli import fit
from tiny_runs import make
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from data_modules.config import DataConfig
from data_modules.token_stream import TokenStream
from experiments import compare, predict, train
from experiments.cluster.ray_cluster import refuse_unsendable
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig, StartConfig, TrainerConfig
from experiments.planning.runs import Run
from experiments.planning.yaml_files import write_yaml
from experiments.runs.run_folder import read_record
from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError

ANIMALS, PLACES = ["heron", "badger", "otter", "hare"], ["river", "bridge", "meadow"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, draw = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    rows = [
        (f"A {(a := draw.choice(ANIMALS))} by the {draw.choice(PLACES)} {n}", ANIMALS.index(a) % 2) for n in range(240)
    ]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(folder / "rows.csv", index=False)
    (folder / "book.txt").write_text("\n\n".join(text for text, _ in rows))
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT at random weights with a tokenizer that lower-cases, opens and ends each row."""
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "by", "the", *ANIMALS, *PLACES]
    cut = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    cut.normalizer, cut.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    cut.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    PreTrainedTokenizerFast(tokenizer_object=cut, **names).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=16, **SIZES)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    symbols = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    cut = Tokenizer(models.BPE({symbol: number for number, symbol in enumerate(symbols)}, []))
    cut.pre_tokenizer, cut.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=cut, eos_token="<|endoftext|>").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 24, "vocab_size": len(symbols)}
    network = GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, **sizes))
    for parameter in network.parameters():
        parameter.data.normal_(std=0.3)
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run_of(pretrained: Path, texts: Path, cache: Path, *, task: str = "classification", **values: Any) -> Run:
    language = task != "classification"
    data = DataConfig(
        corpus="text" if language else "csv", train_file=str(texts / ("book.txt" if language else "rows.csv")),
        label_column=None if language else "label", stage="final", max_length=16, batch_size=32, cache_dir=str(cache),
        near_duplicate_threshold=None,
    )  # fmt: skip
    variant = values.pop("model.variant", "pre_ln" if language else "post_ln")
    config = RunConfig(
        model=ModelConfig(variant=variant, pretrained=str(pretrained), learning_rate=1e-2),
        data=data,
        trainer=TrainerConfig(max_epochs=3, accelerator="cpu"),
        task=task,
    ).with_values(values)
    return Run(grid="tiny", corpus="rows", condition=variant, stage="final", seed=0, config=config.with_seed(0))


@pytest.fixture(scope="module")
def folder(bert: Path, texts: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned run whose pretrained network is gone."""
    place = tmp_path_factory.mktemp("elsewhere") / bert.name
    shutil.copytree(bert, place)
    made = make(run_of(place, texts, cache), tmp_path_factory.mktemp("results"))
    shutil.rmtree(place)
    return made


def state(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]


def test_a_record_names_the_network_its_digest_and_what_was_taken(folder: Path, bert: Path) -> None:
    record = read_record(folder)
    noted = record.model["pretrained"]
    assert (noted["name"], noted["family"], noted["commit"]) == ("tiny-bert", "bert", None)
    assert noted["weights_sha256"] == ModelConfig(variant="post_ln", pretrained=str(bert)).pretrained_sha256
    assert (noted["taken"], noted["fresh"], noted["left_out"]) == (28, 0, 0)
    assert (record.model["norms"], record.model["skips"]) == (5, 4)
    assert record.data["vocabulary_size"] == 15


def test_the_trained_run_answers_without_the_pretrained_network(folder: Path, capsys: Any) -> None:
    predict.main([str(folder), "--text", "a HERON by the river"])
    assert "a HERON" in capsys.readouterr().out


def test_the_hash_knows_the_weights_and_not_their_place(bert: Path, texts: Path, cache: Path, folder: Path) -> None:
    run = run_of(bert, texts, cache)
    assert run.config.hash() == read_record(folder).config_hash
    other = replace(run.config.model, pretrained_sha256="0" * 64)
    assert replace(run.config, model=other).hash() != run.config.hash()
    assert str(bert) not in str(run.config.identity())


def test_a_frozen_network_trains_its_head_alone(bert: Path, texts: Path, cache: Path, tmp_path: Path) -> None:
    values = {"start.train": "head", "model.variant": "no_norm"}
    made = make(run_of(bert, texts, cache, **values), tmp_path)
    record, weights = read_record(made), state(made)
    assert record.model["parameters"] == 2 * 16 + 2 and record.model["norms"] == 0
    assert record.model["pretrained"]["left_out"] == 10
    stored = BertModel.from_pretrained(bert).encoder.layer[1].output.dense.weight
    assert torch.equal(weights["network.backbone.blocks.1.feed_forward.function.output.weight"], stored)


def test_two_cuts_are_compared(folder: Path, bert: Path, texts: Path, cache: Path, tmp_path: Path, capsys: Any) -> None:
    values = {"model.variant": "no_residual", "model.only_block": 2, "model.elsewhere": "post_ln"}
    cut = run_of(bert, texts, cache, **values)
    made = make(cut, tmp_path / "cut")
    assert read_record(made).model["skips"] == 2
    compare.main([str(folder), str(made)])
    assert "macro F1" in capsys.readouterr().out


def test_a_run_starts_from_a_finished_one_whose_pretrained_network_is_gone(
    folder: Path, bert: Path, texts: Path, cache: Path, tmp_path: Path
) -> None:
    start, fresh = StartConfig(run=str(folder), parent=read_record(folder).config_hash), run_of(bert, texts, cache)
    model = replace(fresh.config.model, pretrained="gone")
    child = replace(fresh, config=replace(fresh.config, model=model, start=start))
    record = read_record(make(child, tmp_path / "child"))
    assert record.parent is not None and "pretrained" not in record.model
    assert record.parent["weights_sha256"] == read_record(folder).model["weights_sha256"]
    other = replace(child, config=child.config.with_values({"model.norm": "rms_norm"}))
    with pytest.raises(ExperimentError, match=r"model\.norm None"):
        make(other, tmp_path / "other")


def test_gpt2_goes_on_as_a_language_model_from_its_own_loss(
    gpt2: Path, texts: Path, cache: Path, tmp_path: Path, capsys: Any
) -> None:
    run = run_of(gpt2, texts, cache, task="causal_lm", **{"model.learning_rate": 1e-12})
    made = make(run, tmp_path)
    record = read_record(made)
    (batch,) = TokenStream.from_config(run.config.text).val_dataloader()
    original = GPT2LMHeadModel.from_pretrained(gpt2).eval()
    logits = original(batch["input_ids"], attention_mask=batch["attention_mask"].long()).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten())
    assert record.score("validation", "loss") == pytest.approx(expected.item(), rel=1e-5)
    assert record.score("validation", "bits_per_byte") is not None
    predict.main([str(made), "--prompt", "A heron", "--tokens", "4"])
    assert "A heron" in capsys.readouterr().out


def test_gpt2_classifies_causally(gpt2: Path, texts: Path, cache: Path, tmp_path: Path) -> None:
    run = run_of(gpt2, texts, cache, **{"model.variant": "pre_ln"})
    assert run.config.model.causal and run.config.model.activation == "gelu_tanh"
    assert read_record(make(run, tmp_path)).outcome.status in ("trained", "collapsed")


def test_the_command_line_makes_the_run_of_a_grid_and_resumes_it(
    folder: Path, bert: Path, texts: Path, cache: Path, tmp_path: Path
) -> None:
    config = run_of(bert, texts, cache).config.as_dict()
    config["model"] = {"variant": "post_ln", "pretrained": str(bert), "learning_rate": 1e-2}
    write_yaml(tmp_path / "run.yaml", config)
    made = fit(tmp_path / "run.yaml", tmp_path)
    assert read_record(made).scores["test"] == read_record(folder).scores["test"]
    assert made.parent.name.startswith("batch_size=32") and "pretrained=tiny-bert" in made.parent.name
    assert "width" not in made.parent.name
    again = fit(tmp_path / "run.yaml", tmp_path, "--ckpt_path", "last")
    assert read_record(again).scores["test"] == read_record(folder).scores["test"]


def test_a_node_is_sent_no_run_that_needs_more_than_its_text(bert: Path, texts: Path, cache: Path) -> None:
    run = run_of(bert, texts, cache)
    plain = replace(run.config, model=ModelConfig())
    refuse_unsendable([replace(run, config=plain)])
    with pytest.raises(ExperimentError, match="starts from earlier weights"):
        refuse_unsendable([run])
    with pytest.raises(ExperimentError, match="reads further corpora"):
        refuse_unsendable([replace(run, config=plain.with_values({"data.more_text": ["trec"]}))])


def test_what_cannot_be_done_is_refused_in_one_line(
    bert: Path, gpt2: Path, texts: Path, cache: Path, fails_with_one_line: Callable[..., str]
) -> None:
    for values, kind in [
        ({"task": "masked_lm"}, "cannot be trained for masked_lm"),
        ({"task": "causal_lm", "pretrained": bert, "model.variant": "post_ln"}, "cannot be trained for causal_lm"),
        ({"model.word_vectors": "glove.txt"}, "two starts of the embeddings"),
    ]:
        pretrained = values.pop("pretrained", bert)
        with pytest.raises(ExperimentError, match=kind):
            run_of(pretrained, texts, cache, **values)
    with pytest.raises(ExperimentError, match=r"has 16 positions, and data.max_length is 17"):
        _ = run_of(bert, texts, cache, **{"data.max_length": 17}).config.text
    changed = run_of(bert, texts, cache, **{"model.norm_epsilon": 1e-5})
    with pytest.raises(ConfigurationError, match=r"model.norm_epsilon is 1e-05, and the pretrained network has 1e-12"):
        make(changed, cache)
    options = [
        "fit",
        "--data.corpus",
        "csv",
        "--data.train_file",
        texts / "rows.csv",
        "--model.pretrained",
        "gone/here",
    ]
    assert "neither a folder nor a network" in fails_with_one_line(train.main, *options)
