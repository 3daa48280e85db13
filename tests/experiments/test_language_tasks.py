"""Language models as tasks: runs, records, tables, baselines and the rule of collapse."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_train_cli import fit, numbers
from tiny_runs import make
from transformers import AutoModelForCausalLM, pipeline

from data_modules.batches.windows import IGNORED
from data_modules.config import DataConfig
from data_modules.token_stream import TokenStream
from experiments import ablation, evaluate, export, predict
from experiments.errors import ExperimentError
from experiments.planning.grid import Grid
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.planning.runs import Run
from experiments.planning.yaml_files import write_yaml
from experiments.runs.ngrams import DEFAULT_DISCOUNT, Trigram
from experiments.runs.run_folder import read_record
from experiments.runs.writing import TrainedLanguageModel
from experiments.tasks import TASKS
from lightning_modules.config import ModelConfig
from lightning_modules.tasks.causal_lm import CausalLanguageModel

SUBJECTS = ["the old heron", "a grey boat", "the quiet river", "some willow", "a farmer", "the miller's son"]
VERBS = ["waits under", "drifts past", "turns toward", "looks at", "sings of"]
OBJECTS = ["the bridge", "a field of rye", "the northern town", "two small islands", "its own shadow"]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw, path = np.random.default_rng(0), tmp_path_factory.mktemp("text") / "book.txt"
    sentences = [f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(OBJECTS)} {n}." for n in range(600)]
    path.write_text("\n\n".join(sentences))
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def language_run(book: Path, cache: Path, task: str = "causal_lm", condition: str = "pre_ln", **values: Any) -> Run:
    data = DataConfig(
        corpus="text", train_file=str(book), stage="final", tokenizer="bpe", vocabulary_size=300, lowercase=False,
        label_column=None, max_length=24, batch_size=16, cache_dir=str(cache), near_duplicate_threshold=None,
    )  # fmt: skip
    config = RunConfig(
        model=ModelConfig(layers=1, width=16, heads=2, learning_rate=1e-2),
        data=data,
        trainer=TrainerConfig(max_epochs=3, accelerator="cpu"),
        task=task,
    )
    baseline = condition in TASKS[task].baselines
    return Run(
        grid="tiny",
        corpus="book",
        condition=condition,
        stage="final",
        seed=0,
        config=config.with_values(values).with_seed(0),
        baseline=baseline,
    )


@pytest.fixture(scope="module")
def folder(book: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(language_run(book, cache), tmp_path_factory.mktemp("results"))


def test_a_record_has_perplexity_bits_per_byte_and_the_sizes_of_the_text(folder: Path, book: Path, cache: Path) -> None:
    record = read_record(folder)
    assert record.task == "causal_lm" and record.outcome.status == "trained"
    scores = record.scores["test"].metrics
    assert set(scores) == {"loss", "perplexity", "bits_per_byte", "token_accuracy"}
    assert scores["perplexity"] == pytest.approx(math.exp(scores["loss"] or 0), rel=1e-6)
    tokens, size = record.data["tokens"]["test"], record.data["bytes"]["test"]
    assert scores["bits_per_byte"] == pytest.approx((scores["loss"] or 0) * tokens / size / math.log(2), rel=1e-5)
    assert (folder / "tokenizer.json").is_file() and not (folder / "predictions.parquet").exists()
    assert record.progress["tokens_seen"] == 3 * record.data["tokens"]["train"]


def test_the_loss_is_that_of_the_weights_in_the_best_checkpoint(folder: Path, book: Path, cache: Path) -> None:
    module = CausalLanguageModel.load_from_checkpoint(folder / "best.ckpt")
    data = TokenStream.from_config(language_run(book, cache).config.data)
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in data.test_dataloader():
            logits = module.network(batch["input_ids"], batch["attention_mask"]).double().log_softmax(-1)
            chosen = batch["targets"] != IGNORED
            total -= float(logits[chosen].gather(1, batch["targets"][chosen][:, None]).sum())
            count += int(chosen.sum())
    assert read_record(folder).score("test", "loss") == pytest.approx(total / count, rel=1e-5)


def test_train_gives_the_numbers_of_a_grid(folder: Path, tmp_path: Path) -> None:
    again = fit(folder / "config.yaml", tmp_path)
    assert numbers(read_record(again)) == numbers(read_record(folder))
    assert read_record(again).config_hash == read_record(folder).config_hash


def test_a_run_that_learned_nothing_but_frequencies_has_collapsed(book: Path, cache: Path, tmp_path: Path) -> None:
    record = read_record(make(language_run(book, cache, **{"model.learning_rate": 1e-9}), tmp_path))
    assert record.outcome.status == "collapsed" and "the unigram model's" in record.outcome.reason


def test_a_masked_model_has_a_pseudo_perplexity_and_tells_pairs(book: Path, cache: Path, tmp_path: Path) -> None:
    run = language_run(book, cache, "masked_lm", **{"data.next_sentence": True})
    record = read_record(make(run, tmp_path))
    assert set(record.scores["validation"].metrics) == {
        "loss", "pseudo_perplexity", "token_accuracy", "sentence_accuracy",
    }  # fmt: skip


def test_a_word_vocabulary_reports_its_share_of_unknown_words(book: Path, cache: Path, tmp_path: Path) -> None:
    run = language_run(book, cache, **{"data.tokenizer": "word", "data.vocabulary_size": 20})
    record = read_record(make(run, tmp_path))
    scores = record.scores["test"].metrics
    assert "bits_per_byte" not in scores
    assert scores["unknown_share"] == pytest.approx(record.data["unknown_share"]["test"]) and scores["unknown_share"]


def brute_force(tokens: list[int], size: int, first: int, second: int, word: int) -> float:
    """Interpolated Kneser-Ney by its definition, with counts in dictionaries."""
    triples = Counter(zip(tokens, tokens[1:], tokens[2:], strict=False))
    pairs: dict[Any, set[int]] = defaultdict(set)
    for a, b, c in triples:
        pairs[b, c].add(a)
    words: dict[int, set[int]] = defaultdict(set)
    for b, c in pairs:
        words[c].add(b)
    counts_2 = {key: len(found) for key, found in pairs.items()}
    counts_1 = {key: len(found) for key, found in words.items()}

    def discount(counts: dict[Any, int]) -> float:
        once, twice = (sum(value == n for value in counts.values()) for n in (1, 2))
        return once / (once + 2 * twice) if once and twice else DEFAULT_DISCOUNT

    def level(counts: dict[Any, int], known: Any, key: Any, lower: float) -> float:
        after = [value for found, value in counts.items() if known(found)]
        if not after:
            return lower
        d = discount(counts)
        return (max(counts.get(key, 0) - d, 0) + d * len(after) * lower) / sum(after)

    share = level(counts_1, lambda found: True, word, 1 / size)
    share = level(counts_2, lambda found: found[0] == second, (second, word), share)
    return level(dict(triples), lambda found: found[:2] == (first, second), (first, second, word), share)


def test_the_trigram_follows_its_definition_and_sums_to_one() -> None:
    draw = np.random.default_rng(0)
    tokens, size = draw.choice(6, 200, p=[0.4, 0.25, 0.2, 0.1, 0.04, 0.01]), 7
    model = Trigram(tokens, size)
    for first, second in ((0, 1), (5, 5), (6, 0), (-1, 2), (-1, -1)):
        shares = model.share(*(np.full(size, each) for each in (first, second)), np.arange(size))
        assert shares.sum() == pytest.approx(1)
        for word in range(size):
            assert shares[word] == pytest.approx(brute_force(tokens.tolist(), size, first, second, word)), (first, word)


def test_baselines_are_scored_on_what_networks_predict(book: Path, cache: Path, tmp_path: Path) -> None:
    data = TokenStream.from_config(language_run(book, cache).config.data)
    records = {
        name: read_record(make(language_run(book, cache, condition=name), tmp_path)) for name in ("unigram", "trigram")
    }
    counts = np.bincount(data.split("train").tokens, minlength=300) + 1
    expected = -np.log(counts / counts.sum())[data.split("test").tokens].mean()
    assert records["unigram"].score("test", "loss") == pytest.approx(expected)
    assert data.facts.unigram_losses["validation"] == pytest.approx(records["unigram"].score("validation", "loss"))
    best, worst = (records[name].score("test", "bits_per_byte") for name in ("trigram", "unigram"))
    assert best is not None and worst is not None and best < worst
    masked = read_record(make(language_run(book, cache, "masked_lm", "trigram"), tmp_path / "masked"))
    assert masked.score("test", "pseudo_perplexity") is not None


GRID = """
task: causal_lm
conditions: [pre_ln, plain]
baselines: [unigram, trigram]
seeds: 1
model: {layers: 1, width: 16, heads: 2, learning_rate: 1.0e-2}
data: {corpus: text, vocabulary_size: 300, max_length: 24, near_duplicate_threshold: null}
trainer: {max_epochs: 2, accelerator: cpu}
"""


def test_a_grid_of_language_models_plans_runs_and_reports(
    book: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "languages.yaml"
    path.write_text(GRID)
    options = [str(path), "--results", str(tmp_path / "results"), "--data.train_file", str(book)]
    options += ["--data.cache_dir", str(cache)]
    grid = Grid.load(str(path), {"data": {"train_file": str(book)}})
    assert grid.conditions[0].config.data.tokenizer == "bpe" and not grid.conditions[0].config.data.lowercase
    ablation.main(["plan", *options])
    assert "trigram/default/seed_0" in capsys.readouterr().out
    ablation.main(["run", *options, "--workers", "1"])
    tables = tmp_path / "results" / "local" / "languages" / "book"
    rows = {row["variant"]: row for row in csv.DictReader((tables / "summary.csv").open(newline=""))}
    assert list(rows) == ["pre_ln", "plain", "unigram", "trigram"] and rows["pre_ln"]["perplexity"]
    report = (tables / "report.md").read_text()
    assert "perplexity" in report and "macro F1" not in report and "TF-IDF" not in report


def test_a_budget_in_tokens_takes_as_many_steps_as_have_them(book: Path, cache: Path, tmp_path: Path) -> None:
    run = language_run(book, cache, **{"trainer.max_tokens": 3000})
    record = read_record(make(run, tmp_path))
    tokens = record.data["tokens"]["train"]
    steps = math.ceil(tokens / 24 / 16)
    assert record.progress["steps"] == math.ceil(3000 * steps / tokens)


def test_a_resumed_language_model_equals_an_undisturbed_one(
    book: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(language_run(book, cache, "masked_lm").config)
    write_yaml(tmp_path / "masked.yaml", config.as_dict())
    undisturbed = fit(tmp_path / "masked.yaml", tmp_path / "undisturbed")

    def interrupt(module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if module.current_epoch == 1 and batch_idx == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("lightning_modules.tasks.masked_lm.MaskedLanguageModel.on_train_batch_end", interrupt)
        fit(tmp_path / "masked.yaml", tmp_path / "resumed")
    resumed = fit(tmp_path / "masked.yaml", tmp_path / "resumed", "--ckpt_path", "last")
    assert numbers(read_record(resumed)) == numbers(read_record(undisturbed))


def test_a_run_writes_on_the_same_with_and_without_a_cache(
    folder: Path, capsys: pytest.CaptureFixture[str], fails_with_one_line: Any
) -> None:
    texts = []
    for options in (["--cache", "true"], ["--cache", "false"]):
        predict.main([str(folder), "--prompt", "the old", "--tokens", "8", *options])
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and texts[0].startswith("the old")
    predict.main([str(folder), "--prompt", "", "--tokens", "500", "--temperature", "1", "--top_k", "9", "--seed", "3"])
    assert "reads 24 tokens" in capsys.readouterr().err
    long = " ".join(["the old heron waits under the bridge"] * 9)
    assert "and the model reads 24; shorten it" in fails_with_one_line(predict.main, folder, "--prompt", long)
    assert "which writes on: give --prompt" in fails_with_one_line(predict.main, folder, "--text", "a <mask>")


def test_a_masked_run_fills_one_gap(
    book: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails_with_one_line: Any
) -> None:
    folder = make(language_run(book, cache, "masked_lm"), tmp_path)
    predict.main([str(folder), "--text", "the old <mask> waits"])
    lines = [line for line in capsys.readouterr().out.splitlines() if re.search(r"0\.\d{3}", line)]
    shares = [float(re.findall(r"0\.\d{3}", line)[0]) for line in lines]
    assert len(lines) == 5 and shares == sorted(shares, reverse=True)
    assert "has no <mask>" in fails_with_one_line(predict.main, folder, "--text", "the old heron")
    assert "has 2 <mask>" in fails_with_one_line(predict.main, folder, "--text", "<mask> old <mask>")
    assert "fills gaps: give --text" in fails_with_one_line(predict.main, folder, "--prompt", "the old")
    (folder / "tokenizer.json").unlink()
    assert "is missing or damaged" in fails_with_one_line(predict.main, folder, "--text", "the <mask>")


@pytest.mark.parametrize("task", ["causal_lm", "masked_lm"])
def test_the_perplexity_of_the_own_test_text_is_that_of_the_record(
    task: str, folder: Path, book: Path, cache: Path, tmp_path: Path
) -> None:
    run = language_run(book, cache, task)
    trained = folder if task == "causal_lm" else make(run, tmp_path)
    documents = tmp_path / "test.jsonl"
    lines = [json.dumps({"text": text}) for text in TokenStream.from_config(run.config.data).texts("test")]
    documents.write_text("\n".join(lines))
    evaluate.main(
        [str(trained), "--data.corpus", "jsonl", "--data.test_file", str(documents), "--to", str(tmp_path / "to")]
    )
    with (tmp_path / "to" / "metrics.csv").open() as file:
        found = {row["metric"]: row for row in csv.DictReader(file)}
    record = read_record(trained)
    assert record.test is not None
    for name, row in found.items():
        assert float(row["value"]) == pytest.approx(record.test.metrics[name], rel=1e-5)
    main = found[TASKS[task].primary]
    assert 0.8 * float(main["value"]) < float(main["low"]) < float(main["value"]) < float(main["high"])


def test_a_language_model_is_scored_on_plain_text(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.txt").write_text(
        "the old heron waits under the bridge 7.\n\na farmer looks at its own shadow 3.\n"
    )
    evaluate.main([str(folder), "--data.corpus", "text", "--data.test_file", str(tmp_path / "new.txt")])
    assert "of 2 documents" in capsys.readouterr().out


def test_an_exported_causal_model_writes_what_predict_writes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export.main([str(folder), "--to", str(tmp_path / "model")])
    predict.main([str(folder), "--prompt", " <b>the old</b>  heron", "--tokens", "8"])
    expected = capsys.readouterr().out.splitlines()[-1]
    import_module("experiments.hub")  # the one import that a person needs
    writer = pipeline("text-generation", model=str(tmp_path / "model"))
    (answer,) = writer(" <b>the old</b>  heron", max_new_tokens=8, do_sample=False, return_full_text=False)
    assert expected == "the old heron" + answer["generated_text"].replace("<eos>", "")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_an_exported_masked_model_fills_gaps_as_predict_does(book: Path, cache: Path, tmp_path: Path) -> None:
    run = make(language_run(book, cache, "masked_lm", **{"model.language_head": "free"}), tmp_path / "results")
    export.main([str(run), "--to", str(tmp_path / "model")])
    expected = TrainedLanguageModel.load(run).fill("the old <mask> waits under")
    import_module("experiments.hub")
    fill = pipeline("fill-mask", model=str(tmp_path / "model"), top_k=20)
    special = {"<pad>", "<unk>", "<cls>", "<eos>", "<mask>"}
    answers = [each for each in fill("<i>the old</i> <mask> waits under") if each["token_str"].strip() not in special]
    assert [each["token_str"].strip() for each in answers[:5]] == [word for word, _ in expected]
    ratios = [each["score"] / share for each, (_, share) in zip(answers, expected, strict=False)]
    assert ratios == pytest.approx([ratios[0]] * 5, rel=1e-4)  # predict leaves special tokens out of the sum


def test_a_graph_of_a_language_model_is_refused(
    folder: Path, tmp_path: Path, fails_with_one_line: Callable[..., str]
) -> None:
    said = fails_with_one_line(export.main, folder, "--to", tmp_path / "new", "--format", "onnx")
    assert "writes classifiers" in said and not (tmp_path / "new").exists()


def test_weights_that_are_not_those_of_the_record_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    with (copy / "best.ckpt").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ExperimentError, match="SHA-256"):
        TrainedLanguageModel.load(copy)
