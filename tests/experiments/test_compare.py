from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_records import make_record
from tiny_runs import make, tiny_run

from experiments.compare import main
from experiments.comparing import RunComparison, ScoredRun, pair_up, read_run, read_side
from experiments.errors import ExperimentError
from experiments.runs.run_folder import read_record, write_record
from experiments.statistics.permutation import sign_flip
from experiments.statistics.rows import mcnemar

Compare = Callable[..., str]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def conditions(work: Path) -> tuple[Path, Path]:
    """Folders of two conditions: one with seeds 0 and 1, one with seeds 0, 1 and, copied from 1, seed 2."""
    for condition in ("pre_ln", "plain"):
        for seed in (0, 1):
            folder = make(tiny_run(work / "cache", condition=condition, seed=seed), work / "results")
    extra = Path(shutil.copytree(folder, folder.with_name("seed_2")))
    write_record(extra, replace(read_record(extra), seed=2))
    return folder.parents[2] / "pre_ln" / "default", folder.parent


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Run the command and return what it prints; a mistake's single line where it fails."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: object) -> str:
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            assert stopped.code == 2
            message = capsys.readouterr().err
            assert message.startswith("error: ") and message.count("\n") == 1
            return message
        return capsys.readouterr().out

    return run


def scored(answers: list[int], labels: list[int], groups: list[str] | None = None) -> ScoredRun:
    """Return a run of three classes that gave these answers, with probability 0.8 each."""
    record = make_record("pre_ln", 0)
    record.data["classes"] = ["a", "b", "c"]
    table = pd.DataFrame({"row": range(len(labels)), "group": groups, "label": labels, "predicted": answers})
    probabilities = np.full((len(labels), 3), 0.1)
    probabilities[np.arange(len(labels)), answers] = 0.8
    return ScoredRun(
        Path("run"), record, table.assign(**{f"probability_{index}": probabilities[:, index] for index in range(3)})
    )


@pytest.mark.parametrize("size", [1, 10])
def test_the_difference_over_rows_is_resampled_by_group(size: int) -> None:
    labels = [0, 1, 2] * 20
    right = [row // 10 % 2 == 0 for row in range(60)]  # the second model is right in every other ten rows
    second = [label if is_right else (label + 1) % 3 for label, is_right in zip(labels, right, strict=True)]
    groups = [f"file_{row // size}" for row in range(60)] if size > 1 else None
    comparison = RunComparison([(scored(labels, labels, groups), scored(second, labels, groups))])
    difference = comparison.row_difference()
    assert difference is not None
    assert difference.unit == ("group" if size > 1 else "row")
    assert 0 < difference.low < 0.5 < difference.high <= 1
    # Three of six groups differ, so that two of eight swaps are as far apart; of thirty rows hardly any.
    assert difference.p_value == pytest.approx(2 / 8 if size > 1 else 1 / 5000, abs=0.02)
    assert RunComparison(comparison.pairs * 2).row_difference() is None


def test_rows_are_counted_by_who_is_right_per_class() -> None:
    labels = [0, 0, 0, 1, 1, 2, 2, 2]
    first = [0, 0, 1, 1, 0, 2, 0, 0]
    second = [0, 1, 0, 1, 2, 0, 2, 1]
    counts = RunComparison([(scored(first, labels), scored(second, labels))]).counts()
    assert counts.columns.tolist() == ["both", "only_first", "only_second", "neither"]
    assert counts.to_numpy().tolist() == [[1, 1, 1, 0], [1, 0, 0, 1], [0, 1, 1, 1]]
    assert counts.index.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (3, 3), (1, 9), (12, 2), (0, 6), (40, 25)])
def test_mcnemar_is_the_two_sided_binomial_tail(only_first: int, only_second: int) -> None:
    n = only_first + only_second
    tail = sum(comb(n, k) for k in range(min(only_first, only_second) + 1)) / 2**n
    assert mcnemar(only_first, only_second) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


@pytest.mark.parametrize("differences", [[0.3], [1.0, -1.0], [1.0, 2.0, 3.0], [2.0, -1.0, 3.0, 1.0, 1.0, -2.0]])
def test_sign_flips_of_a_few_differences_are_counted_out(differences: list[float]) -> None:
    sums = [abs(sum(sign * d for sign, d in zip(signs, differences, strict=True)))
            for signs in itertools.product((-1, 1), repeat=len(differences))]  # fmt: skip
    expected = np.mean([value >= abs(sum(differences)) - 1e-12 for value in sums])
    assert sign_flip(np.array(differences)) == pytest.approx(expected)


def test_many_sign_flips_are_drawn_and_come_near_the_binomial() -> None:
    """Of 40 equal differences, 28 one way: at least as many one way or the other, by chance."""
    differences = np.array([1.0] * 28 + [-1.0] * 12)
    exact = mcnemar(28, 12)
    assert sign_flip(differences) == pytest.approx(exact, abs=4 * np.sqrt(exact / 9_999))
    assert sign_flip(differences) == sign_flip(differences)


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip(np.zeros(4)) == 1.0
    assert sign_flip(np.array([])) == 1.0


def test_independent_rows_get_mcnemar_and_grouped_rows_flip_by_group() -> None:
    labels = [0] * 12
    first, second = [0] * 10 + [1, 1], [1] * 8 + [0] * 4
    alone = RunComparison([(scored(first, labels), scored(second, labels))]).row_test()
    assert alone.name == "McNemar's exact test" and alone.units == 10
    assert alone.p_value == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    groups = ["x"] * 5 + ["y"] * 5 + ["z"] * 2
    grouped = RunComparison([(scored(first, labels, groups), scored(second, labels, groups))]).row_test()
    assert grouped.name == "sign-flip permutation by group" and grouped.units == 3
    assert grouped.p_value == pytest.approx(4 / 8)  # sums 5 + 3 - 2 = 6: as far are (+, +, ±) and (-, -, ±)


def test_rows_that_hang_together_are_weaker_evidence_than_independent_ones() -> None:
    labels = [0] * 60
    first, second = [0] * 60, [1] * 30 + [0] * 30
    groups = [f"file {row // 10}" for row in range(60)]
    alone = RunComparison([(scored(first, labels), scored(second, labels))]).row_test()
    grouped = RunComparison([(scored(first, labels, groups), scored(second, labels, groups))]).row_test()
    assert alone.p_value < 1e-6
    assert grouped.p_value == pytest.approx(2 / 2**3)


def test_disagreements_are_all_rows_answered_differently_and_the_confident_come_first() -> None:
    labels = [0, 1, 2, 0]
    first, second = scored([0, 1, 2, 1], labels), scored([0, 2, 2, 0], labels)
    second.predictions.loc[3, ["probability_0", "probability_1"]] = [0.9, 0.0]
    found = RunComparison([(first, second)]).disagreements()
    assert found[["row", "label", "first", "second"]].to_numpy().tolist() == [[3, 0, 1, 0], [1, 1, 1, 2]]
    assert found["second_probability"].tolist() == [0.9, 0.8]


def test_runs_that_scored_other_rows_are_refused() -> None:
    with pytest.raises(ExperimentError, match="scored other rows"):
        RunComparison([(scored([0, 1], [0, 1]), scored([0, 1], [0, 2]))])


def test_a_pair_of_runs_shows_their_own_numbers(conditions: tuple[Path, Path], compare: Compare) -> None:
    folders = [condition / "seed_0" for condition in conditions]
    first, second = (pd.read_parquet(folder / "predictions.parquet") for folder in folders)
    records = [read_record(folder) for folder in folders]
    assert records[0].test is not None and records[1].test is not None
    right = [(table["predicted"] == table["label"]).to_numpy() for table in (first, second)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    printed = compare(*folders, "--rows", "3")
    lines = [line.split() for line in printed.splitlines()]
    totals = [int((right[0] & right[1]).sum()), only_first, only_second, int((~right[0] & ~right[1]).sum())]
    assert ["all", *map(str, totals)] in lines
    difference = f"{records[0].test.metrics['accuracy'] - records[1].test.metrics['accuracy']:.4f}".replace("-", "−")
    accuracies = [f"{record.test.metrics['accuracy']:.3f}" for record in records if record.test]
    assert ["accuracy", *accuracies, difference] in lines
    p = mcnemar(only_first, only_second)
    assert f"McNemar's exact test: p = {p:.3f} " in printed or (p < 0.001 and "p < 0.001" in printed)
    assert f"They answer {(first['predicted'] != second['predicted']).sum()} rows differently" in printed


def test_disagreements_come_with_their_texts(conditions: tuple[Path, Path], compare: Compare) -> None:
    folders = [condition / "seed_0" for condition in conditions]
    found = RunComparison(pair_up(*(read_side(str(folder)) for folder in folders))).disagreements()
    assert len(found) >= 3
    printed = compare(*folders, "--rows", "3")
    assert printed.count("]") >= 3 and ("MAX" in printed or "MIN" in printed)
    for row in found["row"][:3]:
        assert str(row) in printed
    assert compare(*folders, "--rows", "0").count("MAX") == 0


def test_without_the_corpus_the_rows_are_shown_without_texts(
    conditions: tuple[Path, Path], compare: Compare, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(conditions[0] / "seed_0", tmp_path / "seed_0"))
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("train_rows: 300", "train_rows: 310"))
    printed = compare(copy, conditions[1] / "seed_0", "--rows", "2")
    assert "without their texts: the corpus listops has changed" in printed
    assert "MAX" not in printed.partition("without their texts")[2]
    config.unlink()
    assert "without their texts" in compare(copy, conditions[1] / "seed_0", "--rows", "2")


def test_conditions_are_paired_over_the_seeds_that_both_have(conditions: tuple[Path, Path], compare: Compare) -> None:
    from scipy.stats import t, ttest_rel

    printed = compare(*conditions, "--rows", "0")
    assert "paired over seeds 0, 1\n" in printed
    values = [[read_run(condition / f"seed_{seed}").score("accuracy") for seed in (0, 1)] for condition in conditions]
    comparison = RunComparison(pair_up(*(read_side(str(condition)) for condition in conditions)))
    accuracy = comparison.metrics()[0].difference
    interval = ttest_rel(*values).confidence_interval(0.95)
    assert accuracy.mean == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    if np.ptp(np.subtract(*values)) > 0:
        assert (accuracy.low, accuracy.high) == pytest.approx(tuple(interval))
        assert t.ppf(0.975, 1) > 12  # two seeds say very little
    assert "sign-flip permutation by row" in printed


def test_a_run_without_predictions_is_left_out_of_its_condition_and_named(
    conditions: tuple[Path, Path], compare: Compare, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(conditions[0], tmp_path / "default"))
    record = read_record(copy / "seed_1")
    record.outcome = replace(record.outcome, status="diverged", reason="The loss became nan at step 3.")
    write_record(copy / "seed_1", record)
    (copy / "seed_1" / "predictions.parquet").unlink()
    printed = compare(copy, conditions[1], "--rows", "0")
    assert "left out" in printed and "diverged (The loss became nan at step 3.)" in printed
    assert "paired over seeds 0\n" in printed
    assert "diverged" in compare(copy / "seed_1", conditions[1] / "seed_1")


def test_runs_of_another_corpus_stage_or_kind_are_refused(
    conditions: tuple[Path, Path], work: Path, compare: Compare, tmp_path: Path
) -> None:
    run = conditions[0] / "seed_0"
    tuned = make(tiny_run(work / "cache", stage="tune"), tmp_path)
    assert "their stage differs" in compare(run, tuned)
    for name, message in (("fingerprint", "fingerprint differs"), ("split_hash", "split hash differs")):
        copy = Path(shutil.copytree(run, tmp_path / name))
        record = read_record(copy)
        record.data[name] = "another"
        write_record(copy, record)
        assert message in compare(run, copy)
    assert "one side is a run and the other a condition" in compare(run, conditions[1])
    assert "neither a run folder" in compare(run, work)
    assert "does not exist" in compare(run, work / "absent")
    assert "cannot be negative" in compare(run, run, "--rows", "-1")
    copy = Path(shutil.copytree(run, tmp_path / "damaged"))
    (copy / "predictions.parquet").write_bytes((run / "predictions.parquet").read_bytes()[:100])
    assert "is damaged" in compare(run, copy)
    (copy / "run.json").unlink()
    assert "is not finished" in compare(run, copy)


def test_comparing_without_texts_imports_no_torch(conditions: tuple[Path, Path]) -> None:
    script = (
        "import sys; from experiments.compare import main; main(sys.argv[1:]); "
        "sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    )
    folders = [str(condition / "seed_0") for condition in conditions]
    done = subprocess.run([sys.executable, "-c", script, *folders, "--rows", "0"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
