"""How far answers depend on padding: not at all where it is masked, through and through under the article's norm."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from pandas import DataFrame
from tiny_runs import make, tiny_run
from torch import Tensor, nn

from data_modules.config import ListOpsOptions
from experiments.errors import ExperimentError
from experiments.paths import REPOSITORY
from experiments.reporting.render import to_csv
from experiments.runs.run_folder import read_record
from experiments.studies.__main__ import main
from experiments.studies.padding_leak import (
    ALONE,
    AS_TESTED,
    COLUMNS,
    MORE_COLUMNS,
    answers_to,
    finding,
    lengthened,
    measure,
    more,
    networks_of,
    read_rows,
    report,
    rows_alone,
    runs_table,
    scores,
)
from experiments.studies.study import Row
from lightning_modules.facts import TaskFacts
from lightning_modules.tasks.classification import TextClassifier

LEAKING = "article_layer_norm_dim1"
FACTS = TaskFacts(
    vocabulary_size=9, class_names=("a", "b"), class_counts=(5, 5), padding_id=0, max_length=12, steps_per_epoch=1
)
REAL = torch.tensor([[True, True, True, False, False], [True] * 5])
BATCH = {
    "input_ids": torch.tensor([[5, 6, 7, 0, 0], [1, 2, 3, 4, 5]]),
    "attention_mask": REAL,
    "labels": torch.tensor([1, 0]),
    "rows": torch.tensor([1, 0]),
}


class AnswersByPadding(nn.Module):
    """Gives class b a probability of 0.9 where a row has two columns of padding or more, else 0.2."""

    facts, device = FACTS, torch.device("cpu")
    evaluation_loss = nn.CrossEntropyLoss()
    observe, observations = TextClassifier.observe, TextClassifier.observations

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        second = torch.where((~batch["attention_mask"]).sum(dim=1) >= 2, 0.9, 0.2)
        return torch.stack((1 - second, second), dim=1).log()


def classifier(variant: str, **settings: Any) -> TextClassifier:
    """Return an untrained network whose norms scale and shift, as those of a trained one do."""
    module = TextClassifier(variant=variant, layers=2, width=16, heads=2, **settings)
    module.build(FACTS)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("gain", "bias")):
                parameter.add_(torch.randn(parameter.shape, generator=generator))
    return module.eval()


def test_a_lengthened_batch_has_masked_padding_on_the_right_as_far_as_the_positions_reach() -> None:
    longer = lengthened(BATCH, 2, padding_id=8, longest=12)
    assert longer["input_ids"].tolist() == [[5, 6, 7, 0, 0, 8, 8], [1, 2, 3, 4, 5, 8, 8]]
    assert longer["attention_mask"].tolist() == [[*row, False, False] for row in REAL.tolist()]
    assert torch.equal(longer["labels"], BATCH["labels"]) and torch.equal(longer["rows"], BATCH["rows"])
    assert lengthened(BATCH, 2, padding_id=8, longest=6)["input_ids"].shape == (2, 6)
    assert lengthened(BATCH, 2, padding_id=8, longest=5)["input_ids"].shape == (2, 5)


def test_a_row_alone_has_no_padding_but_where_it_is_empty() -> None:
    first, second = rows_alone(BATCH)
    assert first["input_ids"].tolist() == [[5, 6, 7]] and second["input_ids"].tolist() == [[1, 2, 3, 4, 5]]
    assert first["attention_mask"].all() and second["attention_mask"].all()
    assert (first["rows"].tolist(), first["labels"].tolist()) == ([1], [1])
    (empty,) = rows_alone({name: values[:1] for name, values in BATCH.items()} | {"attention_mask": REAL[:1] & False})
    assert empty["attention_mask"].tolist() == [[False]]


def test_effects_are_counted_against_the_answers_as_tested() -> None:
    effects = {effect["batches"]: effect for effect in measure(cast(TextClassifier, AnswersByPadding()), [BATCH])}
    assert list(effects) == [ALONE, AS_TESTED, *map(more, MORE_COLUMNS)]
    assert effects[AS_TESTED] == {
        "batches": AS_TESTED, "padding": 1.0, "padded_otherwise": 0.0, "changed": 0.0, "classes": 2,
        "macro_f1": 1.0, "f1_difference": 0.0, "largest_change": 0.0,
    }  # fmt: skip
    # Alone no row has padding, so both are called a; with more columns both are called b.
    for name, padding, otherwise in ((ALONE, 0.0, 0.5), (more(8), 8.0, 1.0), (more(32), 8.0, 1.0)):
        assert effects[name] == {
            "batches": name, "padding": padding, "padded_otherwise": otherwise, "changed": 0.5, "classes": 1,
            "macro_f1": pytest.approx(1 / 3), "f1_difference": pytest.approx(-2 / 3),
            "largest_change": pytest.approx(0.7),
        }  # fmt: skip


@pytest.mark.parametrize("variant", ["post_ln", "pre_ln", "no_norm"])
@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_a_network_that_masks_its_padding_answers_alike_in_every_arrangement(variant: str, pooling: str) -> None:
    for effect in measure(classifier(variant, pooling=pooling), [BATCH]):
        assert effect["changed"] == 0 and effect["largest_change"] < 1e-5


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_under_the_norm_over_tokens_every_other_arrangement_gives_other_answers(pooling: str) -> None:
    for effect in measure(classifier(LEAKING, pooling=pooling), [BATCH]):
        assert effect["largest_change"] == 0 if effect["batches"] == AS_TESTED else effect["largest_change"] > 1e-3


def test_without_padding_the_norm_over_tokens_leaves_the_mean_over_tokens_nothing_but_its_bias() -> None:
    module = classifier(LEAKING)
    alone = answers_to(module, list(rows_alone(BATCH)), FACTS.class_names).probabilities
    last = list(module.network.blocks.children())[-1]
    bias = dict(last.named_parameters())["feed_forward.post.0.bias"]
    expected = module.network.head.linear(bias).softmax(dim=0).detach().numpy()
    np.testing.assert_allclose(alone, np.broadcast_to(expected, alone.shape), atol=1e-5)


def run_rows(condition: str, changed: float, cell: str = "default", seed: int = 0) -> list[Row]:
    """A run in which every arrangement but the tested one changes so many rows, and macro-F1 from 0.8 to 0.5."""
    rows = []
    for name in (ALONE, AS_TESTED, *map(more, MORE_COLUMNS)):
        is_changed = bool(changed) and name != AS_TESTED
        rows.append({
            "run": f"{condition}/{cell}/seed_{seed}", "condition": condition, "corpus": "corpus", "rows": 10,
            "longest": 12, "batches": name, "padding": 1.0, "padded_otherwise": 1.0,
            "changed": changed if is_changed else 0.0, "classes": 2, "macro_f1": 0.5 if is_changed else 0.8,
            "f1_difference": -0.3 if is_changed else 0.0, "largest_change": 0.1 if is_changed else 0.0,
        })  # fmt: skip
    return rows


def test_the_finding_says_what_was_computed_and_none_only_where_no_run_changed_a_row() -> None:
    runs = [*run_rows(LEAKING, 0.1), *run_rows("post_ln", 0.0), *run_rows(LEAKING, 0.3, seed=1)]
    networks = networks_of(DataFrame(runs))
    assert finding(networks) == (
        "32 more columns of padding change the predicted class of no row under Post-LN and of 20.0 % under Article's "
        "norm (dim=1)."
    )
    assert scores(networks) == (
        "Without padding, macro F1 is 0.800 instead of 0.800 under Post-LN and 0.500 instead of 0.800 under Article's "
        "norm (dim=1) (corpus, 1 to 2 runs each)."
    )
    assert "of 0.0 % under Post-LN" in finding(networks_of(DataFrame(run_rows("post_ln", 1e-4))))


def test_seeds_are_put_together_and_two_cells_of_a_condition_are_told_apart() -> None:
    rows = [row for seed in (0, 1) for cell in ("layers=2", "layers=6") for row in run_rows("post_ln", 0, cell, seed)]
    found = [(network.label, list(dict.fromkeys(network.rows.run))) for network in networks_of(DataFrame(rows))]
    assert found == [
        (f"Post-LN (post_ln/{cell})", [f"post_ln/{cell}/seed_0", f"post_ln/{cell}/seed_1"])
        for cell in ("layers=2", "layers=6")
    ]


@pytest.mark.parametrize("corpus", ["docstrings", "thucnews10"])
def test_committed_pages_are_rebuilt_from_committed_measurements(corpus: str, tmp_path: Path) -> None:
    """Everything but the picture is equal to the byte; that depends on the machine's font rendering."""
    committed, copy = REPOSITORY / "results" / "padding_leak" / corpus, tmp_path / "padding_leak" / corpus
    copy.mkdir(parents=True)
    shutil.copy(committed / "padding_leak.csv", copy)
    own = tmp_path / "local" / "padding_leak" / corpus
    assert report(tmp_path, tmp_path / "local") == [own / "padding_leak.md", own / "padding_leak.png"]
    assert [path.name for path in copy.iterdir()] == ["padding_leak.csv"]
    assert (own / "padding_leak.md").read_bytes() == (committed / "padding_leak.md").read_bytes()
    assert to_csv(runs_table(read_rows(copy / "padding_leak.csv"))).encode() == (copy / "padding_leak.csv").read_bytes()


@pytest.mark.parametrize("text", ["", "run,condition\na,b\n", ",".join(COLUMNS), ",".join(COLUMNS) + "\na,b\n"])
def test_a_table_without_rows_or_with_other_columns_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "padding_leak.csv"
    path.write_text(text)
    with pytest.raises(ExperimentError, match=r"padding_leak\.csv (is no table|must have rows)"):
        read_rows(path)


Fails = Callable[..., str]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("padding")


@pytest.fixture(scope="module")
def masked(work: Path) -> Path:
    return make(tiny_run(work / "cache"), work / "results")


@pytest.fixture(scope="module")
def leaking(work: Path) -> Path:
    return make(tiny_run(work / "cache", condition=LEAKING), work / "results")


@pytest.fixture
def fails(fails_with_one_line: Fails) -> Fails:
    """Run this command, which must fail with one line, and return that line."""
    return lambda *arguments: fails_with_one_line(main, "run", "padding_leak", "--runs", *arguments)


def test_the_command_measures_trained_runs_and_writes_table_page_and_figure(
    masked: Path, leaking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["--runs", str(masked), str(leaking), "--output", str(tmp_path / "new")]
    main(["run", "padding_leak", *arguments])
    printed = capsys.readouterr().out
    with (tmp_path / "new" / "padding_leak.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (2 + len(MORE_COLUMNS))
    for folder in (masked, leaking):
        record = read_record(folder)
        assert record.test is not None
        (tested,) = [row for row in rows if (row["condition"], row["batches"]) == (record.condition, AS_TESTED)]
        assert float(tested["macro_f1"]) == pytest.approx(record.test.metrics["macro_f1"], abs=1e-6)
    for row in rows:
        if row["condition"] == "pre_ln":
            assert float(row["changed"]) == 0 and float(row["largest_change"]) < 1e-5
        elif row["batches"] != AS_TESTED:
            assert float(row["largest_change"]) > 1e-3
    assert "change the predicted class of no row under Pre-LN" in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if line.startswith(("batches", "alone", "+")))
    page = (tmp_path / "new" / "padding_leak.md").read_text(encoding="utf-8")
    assert "| Pre-LN | +32 columns |" in page and "(padding_leak.png)" in page
    assert (tmp_path / "new" / "padding_leak.png").read_bytes().startswith(b"\x89PNG")


def test_a_mistake_on_the_command_line_is_one_line(masked: Path, work: Path, tmp_path: Path, fails: Fails) -> None:
    assert "does not exist" in fails(tmp_path / "absent")
    (tmp_path / "file").touch()
    assert "cannot be read or written" in fails(masked, "--output", tmp_path / "file" / "below")
    copy = Path(shutil.copytree(masked, tmp_path / "copy"))
    (copy / "best.ckpt").unlink()
    assert "has no best.ckpt" in fails(copy)
    trial = make(tiny_run(work / "cache", stage="tune"), work / "trials")
    assert "never reads the test split" in fails(trial)
    fewer = ListOpsOptions(train_rows=300, evaluation_rows=70, levels=1)
    other = make(tiny_run(work / "cache", listops=fewer), work / "others")
    assert "different test rows" in fails(masked, other)
    shuffled = make(tiny_run(work / "cache", shuffle_words=True), work / "shuffled")
    assert "shuffled in one alone" in fails(masked, shuffled)


def test_options_that_do_not_fit_together_are_one_line(
    fails_with_one_line: Fails, masked: Path, tmp_path: Path
) -> None:
    assert "with --runs" in fails_with_one_line(main, "run", "padding_leak")
    assert "belong to `run padding_leak`" in fails_with_one_line(main, "run", "T1", "--runs", masked)
    assert "belong to `run padding_leak`" in fails_with_one_line(main, "report", "--output", tmp_path)
