"""Runs that start from other runs: what is taken and trained, how grids are joined, and parents that are not fit."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_language_tasks import language_run
from test_train_cli import fit
from tiny_runs import make

from data_modules.config import DataConfig, ProseOptions
from data_modules.labelled_text import TextDataModule
from experiments import ablation, predict, train
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig, StartConfig, TrainerConfig
from experiments.planning.runs import Run
from experiments.planning.yaml_files import write_yaml
from experiments.runs.parents import refuse_seen
from experiments.runs.run_folder import read_record
from experiments.runs.single import changed_values
from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.facts import TaskFacts
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.optimization import parameter_groups
from lightning_modules.training.starting import WeightStart, WordStart

PLACES = ["river", "bridge", "meadow", "harbour", "orchard", "valley"]
ANIMALS = ["heron", "badger", "otter", "swallow", "hare", "mole"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a book and a table of its sentences, whose class is the animal's half of the list."""
    folder, draw = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    rows = []
    for number in range(500):
        animal = int(draw.integers(len(ANIMALS)))
        rows.append((f"a {ANIMALS[animal]} by the {draw.choice(PLACES)} sees {number}", animal % 2))
    (folder / "book.txt").write_text("\n\n".join(text for text, _ in rows))
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(folder / "rows.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def parent(texts: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = language_run(texts / "book.txt", cache, "masked_lm", **{"trainer.max_epochs": 6, "model.layers": 2})
    folder = make(run, tmp_path_factory.mktemp("parents"))
    assert read_record(folder).outcome.status == "trained"
    return folder


def child_run(parent: Path, texts: Path, cache: Path, **values: Any) -> Run:
    data = DataConfig(
        corpus="csv", train_file=str(texts / "rows.csv"), stage="final", max_length=16, batch_size=32,
        cache_dir=str(cache), near_duplicate_threshold=None,
    )  # fmt: skip
    config = RunConfig(
        model=ModelConfig(layers=2, width=16, heads=2, learning_rate=1e-2),
        data=data,
        trainer=TrainerConfig(max_epochs=1, accelerator="cpu"),
        start=StartConfig(run=str(parent), parent=read_record(parent).config_hash),
    )
    config = config.with_values(values).with_seed(0)
    return Run(grid="tiny", corpus="rows", condition="pre_ln", stage="final", seed=0, config=config)


def state(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]


def test_a_classifier_takes_the_backbone_and_the_tokenizer_and_names_its_parent(
    parent: Path, texts: Path, cache: Path, tmp_path: Path
) -> None:
    folder = make(child_run(parent, texts, cache, **{"start.train": "head"}), tmp_path)
    record, theirs = read_record(folder), read_record(parent)
    assert record.parent is not None and record.parent["config_hash"] == theirs.config_hash
    assert record.parent["weights_sha256"] == theirs.model["weights_sha256"]
    assert record.parent["run"] == "tiny/book/pre_ln/default/seed_0"
    assert record.data["vocabulary_size"] == theirs.data["vocabulary_size"]
    before, after = state(parent), state(folder)
    for name, tensor in after.items():
        if name.startswith("network.backbone.") and "positions" not in name and name != "network.backbone.step":
            assert torch.equal(tensor, before[name]), f"{name} is frozen"
    positions = "network.backbone.embeddings.positions.embedding.weight"
    assert torch.equal(after[positions], before[positions][:16])
    assert record.model["parameters"] == 2 * 16 + 2
    predict.main([str(folder), "--text", "a heron by the river"])


def test_everything_below_the_top_blocks_is_frozen(parent: Path, texts: Path, cache: Path, tmp_path: Path) -> None:
    folder = make(child_run(parent, texts, cache, **{"start.train": "top_1"}), tmp_path)
    before, after = state(parent), state(folder)
    moved = {
        name
        for name in after
        if name in before
        and before[name].shape == after[name].shape
        and not torch.equal(before[name], after[name])
        and name != "network.backbone.step"
    }
    assert moved and all(name.startswith(("network.backbone.blocks.1.", "network.backbone.final.")) for name in moved)


def test_a_run_from_scratch_has_no_parent_and_another_hash(
    parent: Path, texts: Path, cache: Path, tmp_path: Path
) -> None:
    started = read_record(make(child_run(parent, texts, cache), tmp_path / "started"))
    run = child_run(parent, texts, cache)
    fresh = replace(run, config=replace(run.config, start=StartConfig()))
    scratch = read_record(make(fresh, tmp_path / "scratch"))
    assert scratch.parent is None and scratch.config_hash != started.config_hash
    assert "parent" not in scratch.to_json() and "start" not in scratch.config


def test_the_hash_names_the_parent_and_not_its_folder(parent: Path, texts: Path, cache: Path) -> None:
    run = child_run(parent, texts, cache)
    moved = replace(run.config, start=replace(run.config.start, run="elsewhere/run"))
    other = replace(run.config, start=replace(run.config.start, parent="0123456789abcdef"))
    assert moved.hash() == run.config.hash() != other.hash()
    assert str(parent) not in str(run.config.identity())


def test_of_a_start_only_what_is_set_names_the_folder(parent: Path, texts: Path, cache: Path) -> None:
    values = changed_values(child_run(parent, texts, cache, **{"start.train": "head"}).config)
    assert {name for name in values if name.startswith("start.")} == {"start.train", "start.parent"}


def test_rates_fall_with_depth(parent: Path) -> None:
    facts = TaskFacts(**torch.load(parent / "best.ckpt", weights_only=True)["facts"])
    facts = replace(facts, class_names=("no", "yes"), class_counts=(1, 1))
    module = TextClassifier(layers=2, width=16, heads=2, learning_rate=1.0)
    weights = {name.removeprefix("network."): tensor for name, tensor in state(parent).items()}
    module.start = WeightStart(weights=weights, rate_per_block=0.5)
    module.build(facts)
    groups = parameter_groups(module.config, module.network, module.start.rates(module.network))
    rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    backbone = module.network.backbone
    parts = [module.network.head, backbone.final, backbone.blocks[1], backbone.blocks[0], backbone.embeddings]
    assert [{rate_of[id(p)] for p in part.parameters()} for part in parts] == [{1.0}, {1.0}, {1.0}, {0.5}, {0.25}]


def test_going_on_takes_the_head_too_and_starts_where_the_parent_ended(
    parent: Path, texts: Path, cache: Path, tmp_path: Path
) -> None:
    config = language_run(texts / "book.txt", cache, "masked_lm", **{"model.layers": 2}).config
    write_yaml(tmp_path / "more.yaml", config.as_dict())
    options = ["--start.run", str(parent), "--start.part", "all", "--model.learning_rate", "1e-12"]
    record = read_record(fit(tmp_path / "more.yaml", tmp_path / "results", *options))
    assert record.score("validation", "loss") == pytest.approx(
        read_record(parent).score("validation", "loss"), rel=1e-4
    )


def complaint(parent: Path, texts: Path, cache: Path, tmp_path: Path, **values: Any) -> str:
    with pytest.raises((ExperimentError, ConfigurationError)) as refused:
        make(child_run(parent, texts, cache, **values), tmp_path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_start_of_another_shape_scheme_length_or_task_is_refused(
    parent: Path, texts: Path, cache: Path, tmp_path: Path
) -> None:
    def said(**values: Any) -> str:
        return complaint(parent, texts, cache, tmp_path, **values)

    assert "repeat its settings: --model.width 16" in said(**{"model.width": 32})
    assert "--model.variant pre_ln --model.layers 2" in said(**{"model.variant": "post_ln", "model.layers": 1})
    assert "has learned 24 positions" in said(**{"data.max_length": 100})
    assert "is of the task masked_lm instead of classification" in said(**{"start.part": "all"})
    assert "asks for 3 blocks, and the network has 2" in said(**{"start.train": "top_3"})
    with pytest.raises(ExperimentError, match="top_N"):
        StartConfig(train="top_0")
    with pytest.raises(ExperimentError, match="rate_per_block"):
        StartConfig(rate_per_block=0.0)


def deleted(folder: Path) -> None:
    shutil.rmtree(folder)


def cleaned(folder: Path) -> None:
    (folder / "best.ckpt").unlink()


def changed(folder: Path) -> None:
    checkpoint = torch.load(folder / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["network.backbone.final.0.gain"] += 1
    torch.save(checkpoint, folder / "best.ckpt")


def cut(folder: Path) -> None:
    content = (folder / "best.ckpt").read_bytes()
    (folder / "best.ckpt").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (deleted, "there is no run to start from"),
        (cleaned, "has no best.ckpt"),
        (changed, "does not hold the weights of its record"),
        (cut, "is damaged or is no checkpoint"),
    ],
)
def test_a_parent_that_is_not_fit_is_an_outcome_of_a_grid_and_one_line_of_train(
    harm: Callable[[Path], None],
    expected: str,
    parent: Path,
    texts: Path,
    cache: Path,
    tmp_path: Path,
    fails_with_one_line: Callable[..., str],
) -> None:
    own = tmp_path / "parents" / parent.name
    shutil.copytree(parent, own)
    run = child_run(own, texts, cache)
    harm(own)
    record = read_record(make(run, tmp_path))
    assert record.outcome.status == "no_parent" and expected in record.outcome.reason and not record.scores
    write_yaml(tmp_path / "child.yaml", run.config.as_dict())
    arguments = ("fit", "--config", tmp_path / "child.yaml", "--results", tmp_path / "train")
    assert expected in fails_with_one_line(train.main, *arguments)


PARENTS = """
task: masked_lm
conditions: [{variant: pre_ln, model: {learning_rate: 1.0e-2}}, {variant: plain, model: {learning_rate: 1.0e-9}}]
seeds: 2
model: {layers: 1, width: 16, heads: 2}
data: {corpus: text, vocabulary_size: 300, max_length: 24, batch_size: 16, near_duplicate_threshold: null}
trainer: {max_epochs: 3, accelerator: cpu}
"""
CHILDREN = """
conditions: [pre_ln, plain, {name: scratch, title: From scratch, variant: pre_ln, start: {grid: null}}]
seeds: 3
model: {layers: 1, width: 16, heads: 2, learning_rate: 1.0e-2}
data: {corpus: csv, max_length: 16, near_duplicate_threshold: null}
trainer: {max_epochs: 1, accelerator: cpu}
start: {grid: GRID, train: head}
"""


def test_a_grid_starts_from_another_by_condition_and_seed_and_counts_parents_that_collapsed(
    texts: Path, cache: Path, tmp_path: Path
) -> None:
    files = f"{{corpus: text, train_file: {texts / 'book.txt'}, cache_dir: {cache},"
    (tmp_path / "parents.yaml").write_text(PARENTS.replace("{corpus: text,", files))
    (tmp_path / "children.yaml").write_text(CHILDREN.replace("GRID", str(tmp_path / "parents.yaml")))
    results = ["--results", str(tmp_path / "results"), "--workers", "1"]
    ablation.main(["run", str(tmp_path / "parents.yaml"), *results])
    folder = tmp_path / "results" / "runs" / "parents" / "book"
    endings = {name: read_record(folder / name / "default" / "seed_0").outcome.status for name in ("pre_ln", "plain")}
    assert endings["plain"] == "collapsed" and endings["pre_ln"] == "trained"
    more = ["--data.train_file", str(texts / "rows.csv"), "--data.cache_dir", str(cache)]
    ablation.main(["run", str(tmp_path / "children.yaml"), *results, *more])
    children = tmp_path / "results" / "runs" / "children" / "rows"
    for seed in range(3):
        record = read_record(children / "pre_ln" / "default" / f"seed_{seed}")
        assert record.parent is not None and record.parent["run"] == f"parents/book/pre_ln/default/seed_{seed % 2}"
        orphan = read_record(children / "plain" / "default" / f"seed_{seed}")
        assert orphan.outcome.status == "no_parent" and "collapsed" in orphan.outcome.reason
        assert read_record(children / "scratch" / "default" / f"seed_{seed}").parent is None
    table = tmp_path / "results" / "local" / "children" / "rows"
    rows = {row["variant"]: row for row in csv.DictReader((table / "summary.csv").open(newline=""))}
    assert rows["plain"]["no_parent"] == "3" and rows["pre_ln"]["no_parent"] == "0"
    assert "3 of 9 final runs had no start to train from" in (table / "report.md").read_text()


def test_prose_that_has_what_docstrings_evaluates_on_is_no_start_for_it() -> None:
    clean = DataConfig(corpus="prose")
    refuse_seen(clean, DataConfig(corpus="docstrings"))
    refuse_seen(replace(clean, prose=ProseOptions(withhold_docstrings=False)), DataConfig(corpus="listops"))
    with pytest.raises(ExperimentError, match="withhold_docstrings true"):
        refuse_seen(replace(clean, prose=ProseOptions(withhold_docstrings=False)), DataConfig(corpus="docstrings"))
    with pytest.raises(ExperimentError, match=r"data\.split_seed"):
        refuse_seen(clean, DataConfig(corpus="docstrings", split_seed=1))
    more = replace(clean, more_text=("corpora/trec",))
    refuse_seen(more, DataConfig(corpus="trec"))
    with pytest.raises(ExperimentError, match=r"rows of trec, and data\.validation_fraction"):
        refuse_seen(more, DataConfig(corpus="trec", validation_fraction=0.2))


def test_embeddings_start_from_word_vectors_and_the_record_says_how_many(
    parent: Path, texts: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(0)
    words = {word: draw.normal(size=16) for word in [*ANIMALS, *PLACES, "unheard"]}
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{word} {' '.join(f'{v:.6f}' for v in vector)}\n" for word, vector in words.items()))
    run = child_run(parent, texts, cache, **{"model.word_vectors": str(path), "model.learning_rate": 1e-12})
    run = replace(run, config=replace(run.config, start=StartConfig()))
    folder = make(run, tmp_path)
    record = read_record(folder)
    assert record.model["word_vectors_found"] == 12
    assert record.config["model"]["word_vectors"].startswith("vectors.txt ") and str(tmp_path) not in record.to_json()
    vocabulary = TextDataModule.from_config(run.config.data).encoded.tokenizer.backend.get_vocab()
    table = state(folder)["network.backbone.embeddings.table.weight"]
    for word in ANIMALS:
        assert table[vocabulary[word]].tolist() == pytest.approx(words[word].tolist(), abs=1e-5)
    narrow = replace(run, config=run.config.with_values({"model.width": 8}))
    with pytest.raises(ConfigurationError, match=r"have 16 numbers, and model\.width is 8"):
        make(narrow, tmp_path)
    projected = replace(narrow, config=narrow.config.with_values({"model.word_vectors_width": "projected"}))
    assert read_record(make(projected, tmp_path)).model["word_vectors_found"] == 12
    before = run.config.hash()
    path.write_text(path.read_text() + "more " + "1 " * 15 + "1\n")
    assert run.config.hash() != before


@pytest.mark.parametrize("width", [8, 32])
def test_a_projection_keeps_distances_exactly_to_a_greater_width_and_on_average_to_a_smaller(width: int) -> None:
    module = TextClassifier(layers=0, width=width, heads=2)
    values = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))
    module.words = WordStart(ids=torch.arange(400), values=values, projected=True)
    module.build(
        TaskFacts(vocabulary_size=401, padding_id=400, max_length=4, steps_per_epoch=1, class_names=("a", "b"))
    )
    table = module.network.backbone.embeddings.table.weight[:400]
    ratios = torch.pdist(table) / torch.pdist(values)
    assert ratios.mean().item() == pytest.approx(1, abs=0.03)
    assert width == 8 or ratios.sub(1).abs().max() < 1e-4
