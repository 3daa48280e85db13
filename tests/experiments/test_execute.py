"""One run in one folder: what it leaves, that it repeats to the byte, and how it ends."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score, matthews_corrcoef
from tiny_runs import make, tiny_run

from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError
from experiments.making.worker import write_failure
from experiments.planning.runs import Run
from experiments.runs import outcome
from experiments.runs.conclude import Ending, conclude
from experiments.runs.execute import execute
from experiments.runs.run_folder import RECORD_FILE, Busy, locked, read_record, record_mark
from experiments.runs.tfidf import fit_terms
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.evaluation import predict, score

LEFT = {"config.yaml", "run.json", "metrics.csv", "predictions.parquet", "timing.csv", "best.ckpt"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tiny_run(cache), tmp_path_factory.mktemp("results"))


def with_model(run: Run, **values: object) -> Run:
    config = run.config.with_values({f"model.{name}": value for name, value in values.items()})
    return replace(run, config=config)


def test_a_run_leaves_every_file_of_the_contract(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names >= LEFT
    assert [name for name in names if name.startswith("events.out.tfevents")]
    assert folder.parts[-5:] == ("tiny", "listops", "pre_ln", "default", "seed_0")


def test_curves_are_recorded_with_five_significant_digits_and_scores_with_all(folder: Path) -> None:
    record = read_record(folder)
    losses = record.history["validation"]["loss"]
    assert losses and all(loss == float(f"{loss:.4e}") for loss in losses)
    loss = record.score("validation", "loss")
    assert loss is not None and loss != pytest.approx(float(f"{loss:.4e}"), abs=0, rel=1e-12)


def test_scores_are_those_of_the_predictions(folder: Path) -> None:
    record, rows = read_record(folder), pd.read_parquet(folder / "predictions.parquet")
    assert record.test is not None
    assert record.test.metrics["accuracy"] == pytest.approx((rows["label"] == rows["predicted"]).mean())
    expected = f1_score(rows["label"], rows["predicted"], average="macro", zero_division=0)
    assert record.test.metrics["macro_f1"] == pytest.approx(expected, abs=1e-6)
    correlation = matthews_corrcoef(rows["label"], rows["predicted"])
    assert record.score("test", "matthews") == pytest.approx(correlation, abs=1e-6)
    probabilities = rows.filter(like="probability_").to_numpy()
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == rows["predicted"]).all()


def test_the_same_run_twice_is_equal_to_the_byte_and_another_seed_is_not(
    folder: Path, cache: Path, tmp_path: Path
) -> None:
    again = make(tiny_run(cache), tmp_path)
    assert (again / "run.json").read_bytes() == (folder / "run.json").read_bytes()
    assert (again / "predictions.parquet").read_bytes() == (folder / "predictions.parquet").read_bytes()
    other = read_record(make(tiny_run(cache, seed=1), tmp_path))
    assert other.history["train"]["loss"] != read_record(folder).history["train"]["loss"]


def test_a_run_goes_over_what_an_interrupted_one_left(folder: Path, cache: Path, tmp_path: Path) -> None:
    run = tiny_run(cache)
    place = run.folder(tmp_path)
    place.mkdir(parents=True)
    (place / "run.json").write_text("{half a rec")
    (place / "metrics.csv").write_text("old,curves\n1,2\n")
    make(run, tmp_path)
    assert (place / "run.json").read_bytes() == (folder / "run.json").read_bytes()
    assert "old" not in (place / "metrics.csv").read_text()


def test_the_chosen_weights_are_scored_and_the_last_ones_judged(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: dict[str, object] = {}
    nothing_learned = outcome.nothing_learned
    monkeypatch.setattr(outcome, "nothing_learned", lambda **facts: judged.update(facts) or nothing_learned(**facts))
    run = tiny_run(cache)
    data = TextDataModule(**vars(run.config.data))
    chosen, last = (TextClassifier(**{**vars(run.config.model), "seed": seed}) for seed in (1, 2))
    loaders = {"validation": data.val_dataloader, "test": data.test_dataloader}
    expected = []
    for module in (chosen, last):
        module.build(data.facts)
        expected.append(
            {name: score(predict(module, load()), data.facts.class_names) for name, load in loaders.items()}
        )
    path = tmp_path / "best.ckpt"
    torch.save({"global_step": 3, "epoch": 0, "state_dict": chosen.state_dict()}, path)
    ending = Ending(steps=10, epochs=2, tokens=99, history={}, device="cpu", checkpoint=path)
    record = conclude(run, ending, last, data).record
    assert (record.progress["best_step"], record.progress["best_epoch"], record.progress["steps"]) == (3, 1, 10)
    assert record.validation is not None and record.test is not None and "test_last" in record.scores
    assert record.validation.metrics["loss"] == pytest.approx(expected[0]["validation"]["loss"])
    assert record.test.metrics["loss"] == pytest.approx(expected[0]["test"]["loss"])
    assert record.scores["test_last"].metrics["loss"] == pytest.approx(expected[1]["test"]["loss"])
    assert judged["validation_macro_f1"] == expected[1]["validation"]["macro_f1"]
    assert judged["validation_macro_f1"] != expected[0]["validation"]["macro_f1"]
    assert judged["train_counts"] == data.facts.class_counts


def test_a_tune_run_never_touches_the_test_split(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: TextDataModule) -> None:
        raise AssertionError("a tune run asked for the test split")

    monkeypatch.setattr(TextDataModule, "test_dataloader", forbidden)
    record = read_record(make(tiny_run(cache, stage="tune"), tmp_path))
    assert record.test is None and "test_last" not in record.scores
    assert record.validation is not None
    with pytest.raises(AssertionError, match="asked for the test split"):
        execute(tiny_run(cache), tmp_path / "final")


def test_an_exploding_run_has_diverged_and_has_no_scores(cache: Path, tmp_path: Path) -> None:
    run = with_model(tiny_run(cache, condition="no_norm"), learning_rate=1e30, optimizer="sgd", warmup_fraction=0.0)
    record = read_record(make(run, tmp_path))
    assert record.outcome.status == "diverged"
    assert record.outcome.step >= 1 and "step" in record.outcome.reason
    assert record.scores == {}


@pytest.mark.parametrize("rate", [1e8, 1e19, 1e30])
def test_a_run_that_explodes_at_a_kept_step_or_at_the_last_one_leaves_a_readable_record(
    cache: Path, tmp_path: Path, rate: float
) -> None:
    run = with_model(tiny_run(cache, condition="no_norm"), learning_rate=rate, optimizer="sgd", warmup_fraction=0.0)
    trainer = replace(run.config.trainer, log_every_n_steps=1, gradient_clip_val=None)
    one_step = replace(run.config.data, batch_size=300)
    for data in (run.config.data, one_step):
        config = replace(run.config, trainer=trainer, data=data)
        record = read_record(make(replace(run, config=config, condition=f"batch_{data.batch_size}"), tmp_path))
        assert record.outcome.status == "diverged", record.outcome
        assert record.outcome.reason and record.test is None


def test_a_run_that_learns_nothing_has_collapsed_and_keeps_its_scores(cache: Path, tmp_path: Path) -> None:
    record = read_record(make(with_model(tiny_run(cache), learning_rate=1e-12), tmp_path))
    assert record.outcome.status == "collapsed"
    assert record.test is not None and record.outcome.reason


def test_a_record_says_how_many_training_rows_cleaning_took_away(cache: Path, tmp_path: Path) -> None:
    run = tiny_run(cache, near_duplicate_threshold=0.7)
    report = TextDataModule(**vars(run.config.data)).corpus.report
    removed = read_record(make(run, tmp_path)).data["removed"]
    assert removed["empty"] == report["cleaning"]["train"]["empty_rows_removed"]
    assert removed["repeated"] == report["duplicates"]["train_repeated"]
    assert report["rows"]["train"] == report["rows_read"]["train"] - sum(removed.values())


def test_a_baseline_is_a_run_without_a_network(cache: Path, tmp_path: Path) -> None:
    record = read_record(make(tiny_run(cache, condition="tfidf_logistic_regression", baseline=True), tmp_path))
    assert record.model["norms"] == record.model["skips"] == 0
    assert record.test is not None and record.tuned["C"] > 0
    assert record.data["fingerprint"]


def test_terms_of_a_single_row_count_only_where_no_term_is_in_two() -> None:
    shared, unique = ["alpha beta", "beta gamma"], ["alpha beta", "gamma delta"]
    for texts, terms in ((shared, {"beta"}), (unique, {"alpha", "beta", "gamma", "delta"})):
        vectorizer = TfidfVectorizer(min_df=2)
        assert fit_terms(vectorizer, texts).shape == (2, len(terms))
        assert set(vectorizer.get_feature_names_out()) == terms


def test_two_processes_never_make_the_same_run(cache: Path, tmp_path: Path) -> None:
    run = tiny_run(cache)
    with locked(run.folder(tmp_path)), pytest.raises(Busy):
        execute(run, tmp_path)


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ExperimentError, "cannot be written: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "rows.npy"), ExperimentError, "rows.npy cannot be read or"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "gone.npy"), FileNotFoundError, "gone.npy"),
    ],
)
def test_only_what_a_person_can_mend_about_a_file_is_called_a_mistake(
    error: OSError,
    raised: type[Exception],
    message: str,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("experiments.runs.execute.train", failing)
    with pytest.raises(raised, match=message):
        execute(tiny_run(cache), tmp_path)


def test_a_run_that_another_process_made_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "cache")
    folder = run.folder(tmp_path)
    before = record_mark(folder)
    make(run, tmp_path)
    content = (folder / RECORD_FILE).read_bytes()
    with pytest.raises(Busy):
        execute(run, tmp_path, seen=before)
    assert (folder / RECORD_FILE).read_bytes() == content
    execute(run, tmp_path, seen=record_mark(folder))  # who saw this very record wants it replaced
    assert record_mark(folder) is not None


def test_a_failure_replaces_neither_a_finished_record_nor_what_another_process_is_making(tmp_path: Path) -> None:
    finished, unfinished = tiny_run(tmp_path / "cache"), tiny_run(tmp_path / "cache", seed=1)
    folder = make(finished, tmp_path)
    write_failure(finished, tmp_path, "too late")
    assert read_record(folder).outcome.status != "failed"
    with locked(unfinished.folder(tmp_path)):
        write_failure(unfinished, tmp_path, "elsewhere it goes on")
    assert not (unfinished.folder(tmp_path) / RECORD_FILE).exists()
    write_failure(unfinished, tmp_path, "nobody makes it")
    assert read_record(unfinished.folder(tmp_path)).outcome.reason == "nobody makes it"
