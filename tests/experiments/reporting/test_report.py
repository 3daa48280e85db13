"""A report is a pure function of its evidence: the same bytes again, and the numbers of the records behind it.

``UPDATE_GOLDEN=1 pytest`` of this file rewrites the golden files after an intended change.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from sklearn.metrics import f1_score
from synthetic_records import SEEDS, evidence_of, make_record, make_records, write_runs

from experiments.errors import RecordError
from experiments.reporting.console import print_result
from experiments.reporting.frame import Description, covered, first_step_reaching, make_rows
from experiments.reporting.grid_report import write_report
from experiments.reporting.panels import learning_figure, mean_confusion
from experiments.reporting.report_tables import ReportTable, effects_table, per_class_table, summary_table
from experiments.reporting.sentences import findings, trial_outcomes, unfinished
from experiments.reporting.tuned import survival_table, tuning_table
from experiments.runs.naming import run_name
from experiments.runs.record import Record, Status
from experiments.runs.store import Evidence
from experiments.tasks import CLASSIFICATION, TASKS

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_FILES = ("report.md", "summary.csv", "summary.md", "summary.tex", "per_class.csv", "tuning.csv", "effects.csv")
DESCRIPTION = Description(
    arguments="toy",
    title="A toy grid",
    purpose="What do made-up runs look like?",
    data_note="The rows are made up.",
    conditions=("post_ln", "pre_ln", "no_residual", "no_norm", "bag_of_embeddings"),
)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("evidence")
    return Evidence.gather(write_runs(folder / "runs"), folder / "none")


@pytest.fixture(scope="module")
def report(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "toycorpus"
    write_report(evidence, folder, DESCRIPTION, everything=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines_of(table: ReportTable) -> list[dict[str, str]]:
    return [dict(zip(table.data.columns, line, strict=True)) for line in table.data.rows]


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_the_tables_are_the_golden_ones(report: Path, name: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        shutil.copy(report / name, GOLDEN / name)
    assert (report / name).read_text() == (GOLDEN / name).read_text()


def test_the_committed_evidence_alone_rebuilds_every_file_and_what_is_not_the_reports_own_goes(
    report: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clone"
    (folder / "figures").mkdir(parents=True)
    for name in ("records.jsonl.gz", "predictions.parquet", "timing.csv"):
        shutil.copy(report / name, folder / name)
    (folder / "old_table.csv").write_text("left over")
    (folder / "figures" / "old.png").write_bytes(b"left over")
    for name in ("summary.csv", "report.md", "figures/macro_f1.png"):
        (folder / name).write_text("an older one")
    write_report(Evidence.gather(tmp_path / "no runs", folder), folder, DESCRIPTION, everything=True)
    assert contents(folder) == contents(report)


def test_unless_asked_for_everything_a_report_is_its_evidence_and_its_tables(
    evidence: Evidence, report: Path, tmp_path: Path
) -> None:
    write_report(evidence, tmp_path / "toycorpus", DESCRIPTION)
    few, whole = contents(tmp_path / "toycorpus"), contents(report)
    assert set(few) == {name for name in whole if not name.endswith((".png", ".tex"))} - {
        f"{Path(name).stem}.md" for name in whole if name.endswith(".tex")
    }
    assert {name for name in few if few[name] != whole[name]} == {"report.md"}
    text = few["report.md"].decode()
    assert "](figures/" not in text and "`python -m experiments.ablation report toy --all` draws them" in text
    targets = {target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target}
    assert targets and targets <= set(few)


def test_figures_that_other_pages_show_are_drawn_without_the_rest(
    evidence: Evidence, report: Path, tmp_path: Path
) -> None:
    write_report(evidence, tmp_path / "toycorpus", DESCRIPTION, figures={"macro_f1.png"})
    found = contents(tmp_path / "toycorpus")
    assert [name for name in found if name.endswith(".png")] == ["figures/macro_f1.png"]
    assert found["figures/macro_f1.png"] == contents(report)["figures/macro_f1.png"]


def test_a_folder_that_no_report_wrote_is_refused(evidence: Evidence, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(RecordError, match="holds files that no report wrote"):
        write_report(evidence, tmp_path, DESCRIPTION)
    assert contents(tmp_path) == {"thesis.txt": b"ten years of work"}


def test_tuning_trials_alone_are_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no finished final run"):
        write_report(evidence_of(make_record("post_ln", 1000, "tune")), tmp_path / "new", DESCRIPTION)


def test_the_summary_has_the_columns_that_other_programs_rely_on(evidence: Evidence) -> None:
    metrics = [
        f"{metric}{suffix}"
        for metric in ("accuracy", "macro_precision", "macro_recall", "macro_f1")
        for suffix in ("", "_sd", "_ci_low", "_ci_high")
    ]
    assert summary_table(make_rows(evidence, DESCRIPTION)).data.columns == [
        "variant",
        *("norms", "skips", "parameters", "seeds", "trained", "collapsed", "diverged"),
        *("share_trained_low", "share_trained_high", "median_of_trained", "still_rising"),
        *metrics,
        "interval_over",
        "steps_to_target",
        "generalisation_gap",
    ]


def test_swept_values_get_a_column_each_and_sort_as_numbers() -> None:
    records = [
        make_record("post_ln", 0, swept={"model.layers": layers, "model.learning_rate": 1e-3}) for layers in (12, 2, 6)
    ]
    rows = make_rows(evidence_of(*records, make_record("tfidf_logistic_regression", 0)), DESCRIPTION)
    table = summary_table(rows)
    assert table.data.columns[:3] == ["variant", "layers", "learning_rate"]
    assert [line["layers"] for line in lines_of(table)] == ["2", "6", "12", ""]
    assert lines_of(table)[0]["learning_rate"] == "0.001"


def test_means_are_over_the_runs_that_have_scores_and_all_runs_are_counted(evidence: Evidence) -> None:
    lines = {line["variant"]: line for line in lines_of(summary_table(make_rows(evidence, DESCRIPTION)))}
    finals = [record for record in evidence.finals if record.condition == "no_norm" and record.test]
    scores = [record.test.metrics["macro_f1"] for record in finals if record.test]
    line = lines["no_norm"]
    assert len(scores) == 2
    assert (line["seeds"], line["trained"], line["collapsed"], line["diverged"]) == ("3", "2", "0", "1")
    assert float(line["macro_f1"]) == pytest.approx(np.mean(scores), abs=1e-6)
    assert float(line["macro_f1_sd"]) == pytest.approx(np.std(scores, ddof=1), abs=1e-6)
    assert lines["no_residual"]["collapsed"] == "3"
    assert lines["tfidf_logistic_regression"]["macro_f1_sd"] == "", "one run has no spread"


def test_a_condition_without_any_score_keeps_its_row(tmp_path: Path) -> None:
    lost = [make_record("no_norm", seed, diverged=True) for seed in SEEDS]
    evidence = evidence_of(*lost)
    line = lines_of(summary_table(make_rows(evidence, DESCRIPTION)))[0]
    assert (line["diverged"], line["macro_f1"], line["generalisation_gap"]) == ("3", "", "")
    folder = write_runs(tmp_path / "runs", lost)
    write_report(Evidence.gather(folder, tmp_path / "none"), tmp_path / "report", DESCRIPTION)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "None has scores." in text
    assert "No final run of a network has test scores." in text
    assert "nan" not in text.lower().replace("dominant", "")


def test_per_class_rows_hold_the_means_of_the_records(evidence: Evidence) -> None:
    lines = lines_of(per_class_table(make_rows(evidence, DESCRIPTION)))
    mine = next(line for line in lines if (line["variant"], line["class"]) == ("pre_ln", "numpy"))
    recalls = [
        float(record.test.details["per_class"][1]["recall"])
        for record in evidence.finals
        if record.condition == "pre_ln" and record.test
    ]
    assert mine["support"] == "36"
    assert float(mine["recall"]) == pytest.approx(np.mean(recalls), abs=1e-6)
    assert float(mine["recall_sd"]) == pytest.approx(np.std(recalls, ddof=1), abs=1e-6)


def test_a_swept_setting_may_have_the_name_of_a_measure() -> None:
    records = [make_record("post_ln", 0, swept={"trainer.precision": kind}) for kind in ("32-true", "bf16-mixed")]
    table = per_class_table(make_rows(evidence_of(*records), DESCRIPTION))
    assert table.data.columns[:6] == ["variant", "trainer.precision", "class", "support", "accuracy", "accuracy_sd"]
    assert len(set(table.data.columns)) == len(table.data.columns)
    assert [line[1] for line in table.data.rows] == ["32-true"] * 3 + ["bf16-mixed"] * 3
    assert float(table.data.rows[0][6]) == pytest.approx(
        records[0].scores["test"].details["per_class"][0]["precision"], abs=1e-6
    )


def test_steps_to_target_is_the_first_validation_at_90_percent_of_the_baseline() -> None:
    baseline = make_record("tfidf_logistic_regression", 0)
    assert baseline.validation is not None
    target = 0.9 * baseline.validation.metrics["macro_f1"]
    histories: list[list[float | None]] = [
        [0.1, target - 1e-9, 0.99, 0.2],
        [target, 0.1, 0.1, 0.1],
        [None, 0.2, 0.3, 0.4],
    ]
    runs = []
    for seed, scores in enumerate(histories):
        run = make_record("post_ln", seed)
        runs.append(replace(run, history={"validation": {"step": [50, 100, 150, 200], "macro_f1": scores}}))
    assert [first_step_reaching(run, target) for run in runs] == [150, 50, None]
    rows = make_rows(evidence_of(*runs, baseline), DESCRIPTION)
    assert rows[0].steps_to_target == 150, "the median of 50, 150 and never"
    rows = make_rows(evidence_of(runs[0], replace(runs[2], seed=1), replace(runs[2], seed=3), baseline), DESCRIPTION)
    assert rows[0].steps_to_target is None, "two of three never arrived"
    assert make_rows(evidence_of(*runs), DESCRIPTION)[0].steps_to_target is None, "no baseline, no target"


def test_the_target_comes_from_the_baseline_with_the_same_swept_values() -> None:
    sizes = [{"data.max_train_rows": size} for size in (100, 1000)]
    baselines = [make_record("tfidf_logistic_regression", 0, swept=size) for size in sizes]
    assert baselines[0].validation is not None
    baselines[0].validation.metrics["macro_f1"] = 0.1
    runs = [make_record("post_ln", 0, swept={**size, "model.layers": 6}) for size in sizes]
    rows = make_rows(evidence_of(*runs, *baselines), DESCRIPTION)
    targets = {row.swept["data.max_train_rows"]: row.target for row in rows if row.condition == "post_ln"}
    assert targets[100] == pytest.approx(0.09)
    assert targets[1000] == pytest.approx(0.9 * 0.8388, abs=1e-3)


def test_findings_compare_a_network_with_the_baseline_of_its_own_data() -> None:
    sizes = [{"data.max_train_rows": size} for size in (100, 1000)]
    baselines = [make_record("tfidf_logistic_regression", 0, swept=size) for size in sizes]
    for baseline in baselines:
        assert baseline.test is not None
        baseline.test.metrics["macro_f1"] = 0.1
    runs = [make_record("pre_ln", seed, swept={**sizes[0], "model.layers": 6}) for seed in SEEDS]
    small, large = findings(make_rows(evidence_of(*runs, *baselines), DESCRIPTION))[-3:-1]
    assert small.endswith("(100 training rows) reaches 0.100: of 1 interval, 1 above it, 0 around it, 0 below it.")
    assert large.endswith("(1000 training rows) reaches 0.100.")


def test_effects_are_paired_by_seed_and_lost_runs_drop_their_pair(evidence: Evidence) -> None:
    table = effects_table(make_rows(evidence, DESCRIPTION))
    lines = {line["variant"]: line for line in lines_of(table) if line["parent"] == "post_ln"}
    scores = {
        name: {
            record.seed: record.test.metrics["macro_f1"]
            for record in evidence.finals
            if record.condition == name and record.test
        }
        for name in ("post_ln", "no_norm")
    }
    differences = [scores["no_norm"][seed] - scores["post_ln"][seed] for seed in (0, 1)]
    assert (lines["no_norm"]["parent"], lines["no_norm"]["paired_seeds"]) == ("post_ln", "2")
    assert float(lines["no_norm"]["macro_f1_difference"]) == pytest.approx(np.mean(differences), abs=1e-6)


def test_what_lacks_one_part_of_two_variants_is_compared_with_both() -> None:
    names = ("post_ln", "pre_ln", "no_residual", "no_residual_pre", "no_norm", "plain", "plain_gain")
    evidence = evidence_of(*(make_record(name, seed) for name in names for seed in SEEDS))
    lines = lines_of(effects_table(make_rows(evidence, DESCRIPTION)))
    assert {(line["variant"], line["parent"]) for line in lines} == {
        ("pre_ln", "post_ln"),
        ("no_residual", "post_ln"),
        ("no_residual_pre", "pre_ln"),
        ("no_norm", "post_ln"),
        ("no_norm", "pre_ln"),
        ("plain", "no_norm"),
        ("plain", "no_residual"),
        ("plain", "no_residual_pre"),
    }


def test_a_difference_between_runs_that_all_collapsed_is_not_shown_as_nothing() -> None:
    swept = [{"trainer.gradient_clip_val": value} for value in (1.0, None)]
    runs = [
        make_record(name, seed, swept=values) for name in ("post_ln", "no_norm") for seed in SEEDS for values in swept
    ]
    for record in runs:
        if record.swept == swept[1]:
            record.outcome.status = "collapsed"
    unclipped, clipped = effects_table(make_rows(evidence_of(*runs), DESCRIPTION)).reading.rows
    assert (clipped[1], unclipped[1]) == ("1", "none")
    assert "dead" not in clipped[3]
    assert unclipped[3:6] == ["both dead", "–", "both dead"]


def test_a_side_whose_runs_failed_has_counts_in_place_of_a_word() -> None:
    runs = [make_record(name, seed) for name in ("post_ln", "no_residual", "no_norm") for seed in SEEDS]
    for record in runs:
        if record.condition == "no_residual" or (record.condition, record.seed) == ("no_norm", 0):
            record.outcome.status = "collapsed"
    lines = {line["variant"]: line for line in lines_of(effects_table(make_rows(evidence_of(*runs), DESCRIPTION)))}
    assert lines["no_residual"]["word"] == "trained 0 of 3 against 3 of 3"
    assert lines["no_norm"]["word"] == "trained 2 of 3 against 3 of 3"


def without_groups(evidence: Evidence) -> Evidence:
    return replace(evidence, predictions=evidence.predictions.assign(group=pd.NA))


def test_intervals_are_of_seeds_and_test_rows(evidence: Evidence) -> None:
    """Against a bootstrap of its own, by scikit-learn, and Satterthwaite's degrees."""
    rows = {row.condition: row for row in make_rows(without_groups(evidence), DESCRIPTION)}
    post, pre = rows["post_ln"], rows["pre_ln"]
    table, generator = evidence.predictions, np.random.default_rng(5)
    answers = {
        row.condition: np.array([table[run_name(record)].to_numpy(int) for record in row.records])
        for row in (post, pre)
    }
    labels = table["label"].to_numpy(int)
    drawn = []
    for _ in range(600):
        chosen = generator.integers(0, len(labels), len(labels))
        drawn.append(
            [
                np.mean([f1_score(labels[chosen], each[chosen], average="macro") for each in answers[row.condition]])
                for row in (post, pre)
            ]
        )
    means, differences = np.array(drawn)[:, 0], np.array(drawn)[:, 0] - np.array(drawn)[:, 1]
    seeds = np.array([[row.scores_by_seed()[seed] for seed in SEEDS] for row in (post, pre)])
    for found, replica, values in (
        (post.score, means, seeds[0]),
        (post.minus(pre), differences, seeds[0] - seeds[1]),
    ):
        of_seeds, of_rows = values.var(ddof=1) / 3, replica.var(ddof=1)
        degrees = (of_seeds + of_rows) ** 2 / (of_seeds**2 / 2 + of_rows**2 / (len(labels) - 1))
        both, alone = np.sqrt(of_seeds + of_rows), np.sqrt(of_seeds)
        half = max(stats.t.ppf(0.975, degrees) * both, stats.t.ppf(0.975, 2) * alone)
        assert found.mean == pytest.approx(values.mean()) and found.sd == pytest.approx(values.std(ddof=1))
        assert found.low is not None and found.high is not None
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert covered(list(rows.values())) == "seeds and test rows"


def test_what_old_records_lack_is_said_of_their_intervals(evidence: Evidence) -> None:
    rows = make_rows(replace(evidence, predictions=pd.DataFrame()), DESCRIPTION)
    alone = {row.condition: row for row in rows}["post_ln"].score
    assert (alone.low, alone.high) == pytest.approx((0.727, 0.979), abs=5e-4), "the t-interval over seeds"
    assert covered(rows) == "seeds only" and "over seeds only." in summary_table(rows).caption
    lines = lines_of(summary_table(rows))
    assert {line["interval_over"] for line in lines} == {"seeds only", ""}, "one run has no interval"
    whole = without_groups(evidence)
    lost = [name for name in whole.predictions if name.startswith("post_ln")]
    rows = make_rows(replace(whole, predictions=whole.predictions.drop(columns=lost)), DESCRIPTION)
    assert covered(rows) == "seeds and test rows (without recorded answers: seeds only)"
    effects = {line["variant"]: line for line in lines_of(effects_table(rows))}
    assert effects["pre_ln"]["interval_over"] == "seeds only", "one side lacks them"


def test_predictions_of_a_class_that_no_record_has_are_refused(evidence: Evidence) -> None:
    broken = evidence.predictions.copy()
    broken.iloc[0, 3] = 30_000
    with pytest.raises(RecordError, match="beyond the"):
        summary_table(make_rows(replace(evidence, predictions=broken), DESCRIPTION))


def test_groups_of_test_rows_are_resampled_whole(evidence: Evidence) -> None:
    groups = pd.Series([f"file {row // 10}" for row in evidence.predictions["row"]], dtype="string")
    rows = make_rows(replace(evidence, predictions=evidence.predictions.assign(group=groups)), DESCRIPTION)
    estimate = rows[0].estimate("macro_f1")
    assert estimate is not None
    assert (estimate.covers, estimate.units) == ("seeds and test groups", groups.nunique())


def test_runs_whose_best_checkpoint_is_their_last_are_flagged() -> None:
    runs = [make_record("post_ln", seed) for seed in SEEDS]
    rows = make_rows(evidence_of(*runs), DESCRIPTION)
    assert "still rising" not in summary_table(rows).reading.columns
    for record, best in zip(runs, (200, 100, 200), strict=True):
        record.progress |= {"steps": 200, "best_step": best}
    table = summary_table(make_rows(evidence_of(*runs), DESCRIPTION))
    assert table.reading.rows[0][table.reading.columns.index("still rising")] == "2 of 3"
    assert lines_of(table)[0]["still_rising"] == "2"


def test_tuning_marks_the_choice_and_flags_the_edge() -> None:
    rates = (0.0003, 0.001, 0.003)
    trials = [make_record("post_ln", 1000, "tune", tuned={"model.learning_rate": rate}) for rate in rates]
    for chosen, edge in ((0.001, ""), (0.003, "learning_rate")):
        final = make_record("post_ln", 0, tuned={"model.learning_rate": chosen})
        lines = lines_of(tuning_table(evidence_of(final, *trials), DESCRIPTION))
        assert [line["learning_rate"] for line in lines if line["chosen"] == "yes"] == [str(chosen)]
        assert [line["at_edge"] for line in lines if line["chosen"] == "yes"] == [edge]
    two = [make_record("post_ln", 1000, "tune", tuned={"model.warmup_fraction": share}) for share in (0.0, 0.1)]
    final = make_record("post_ln", 0, tuned={"model.warmup_fraction": 0.1})
    lines = lines_of(tuning_table(evidence_of(final, *two), DESCRIPTION))
    assert {line["at_edge"] for line in lines} == {""}, "of two values each is an edge, which says nothing"


def test_the_largest_value_survived_is_that_at_which_every_seed_trained() -> None:
    def trial(rate: float, seed: int, status: Status, warmup: float, layers: int) -> Record:
        tuned = {"model.learning_rate": rate, "model.warmup_fraction": warmup}
        record = make_record("post_ln", seed, "tune", tuned=tuned, swept={"model.layers": layers})
        record.outcome.status = status
        return record

    trials = [
        trial(0.001, 1000, "trained", 0.0, 2),
        trial(0.003, 1000, "trained", 0.0, 2),
        trial(0.003, 1001, "collapsed", 0.0, 2),  # one seed did not
        trial(0.003, 1000, "trained", 0.1, 2),
        trial(0.003, 1001, "trained", 0.1, 2),  # with warm-up both did
        trial(0.01, 1000, "trained", 0.1, 2),
        trial(0.01, 1001, "diverged", 0.1, 2),
        trial(0.03, 1000, "diverged", 0.1, 2),
        trial(0.001, 1000, "collapsed", 0.0, 24),
        trial(0.003, 1000, "collapsed", 0.0, 24),
        trial(0.001, 1000, "trained", 0.0, 6),
    ]
    table = survival_table(evidence_of(make_record("post_ln", 0), *trials), DESCRIPTION)
    found = {line["layers"]: (line["largest_survived"], line["next_failed"]) for line in lines_of(table)}
    assert found == {"2": ("0.003", "0.01"), "6": ("0.001", ""), "24": ("", "0.001")}
    assert [line[-2:] for line in table.reading.rows] == [["0.003", "0.01"], ["0.001", "none tried"], ["none", "0.001"]]


def test_how_final_runs_ended_is_told_in_plain_words() -> None:
    alone, trained = [make_record("pre_ln", 0)], [make_record("pre_ln", seed) for seed in SEEDS]
    assert "The only final run trained." in findings(make_rows(evidence_of(*alone), DESCRIPTION))
    assert f"All {len(SEEDS)} final runs trained." in findings(make_rows(evidence_of(*trained), DESCRIPTION))


def test_trials_that_did_not_train_are_told() -> None:
    trials = [make_record("post_ln", 1000, "tune", tuned={"model.learning_rate": rate}) for rate in (0.1, 0.2)]
    lost = make_record("pre_ln", 1000, "tune", diverged=True)
    final = make_record("post_ln", 0)
    assert trial_outcomes(evidence_of(final), DESCRIPTION) == []
    assert trial_outcomes(evidence_of(final, *trials), DESCRIPTION) == [
        "None of 2 tuning trials collapsed or diverged."
    ]
    collapsed = make_record("no_residual", 1000, "tune")
    assert trial_outcomes(evidence_of(final, *trials, lost, collapsed), DESCRIPTION) == [
        "1 of 4 tuning trials collapsed: No residual, 1.",
        "1 of 4 tuning trials diverged: Pre-LN, 1.",
    ]


def test_what_the_grid_plans_and_nobody_has_run_is_named_in_its_order() -> None:
    def run(condition: str, layers: int, seed: int = 0) -> Record:
        return make_record(condition, seed, swept={"model.layers": layers})

    planned = [(name, {"model.layers": layers}) for name in ("post_ln", "no_residual") for layers in (2, 24)]
    description = replace(DESCRIPTION, planned=(*planned, ("tfidf_logistic_regression", {})), seeds=(0, 1))
    bag = make_record("tfidf_logistic_regression", 0)
    some = [run("post_ln", 2, 0), run("post_ln", 2, 1), run("no_residual", 24, 1), run("no_norm", 2)]
    assert unfinished(make_rows(evidence_of(*some), description), description) == [
        "The grid is not finished. No final run yet: Post-LN (24 layers), No residual (2 layers) and "
        "TF-IDF + logistic regression.",
        "The grid is not finished. 1 of 2 seeds: No residual (24 layers).",
    ]
    everything = [run(name, layers, seed) for name, layers in planned_places(planned) for seed in (0, 1, 2)]
    assert unfinished(make_rows(evidence_of(*everything, bag), description), description) == []
    assert unfinished(make_rows(evidence_of(*some), DESCRIPTION), DESCRIPTION) == []


def planned_places(planned: list[tuple[str, dict[str, int]]]) -> list[tuple[str, int]]:
    return [(name, swept["model.layers"]) for name, swept in planned]


def test_confusion_matrices_are_means_of_shares() -> None:
    row = make_rows(evidence_of(*(make_record("post_ln", seed) for seed in SEEDS)), DESCRIPTION)[0]
    matrix = mean_confusion(row)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(3))
    recall = [
        np.mean([float(scores.details["per_class"][index]["recall"]) for scores in row.scored]) for index in range(3)
    ]
    assert np.diag(matrix) == pytest.approx(recall), "the diagonal of the shares is the recall"


def test_every_figure_is_a_picture_and_is_shown_in_the_report(report: Path) -> None:
    figures = {path.name: path.read_bytes() for path in (report / "figures").iterdir()}
    assert set(figures) == {"macro_f1.png", "loss_curves.png", "confusion.png", "gradient_norms.png"}
    assert all(content.startswith(b"\x89PNG") and len(content) > 5000 for content in figures.values())
    shown = re.findall(r"\]\(figures/(\S+)\)", (report / "report.md").read_text())
    assert sorted(shown) == sorted(figures)


def test_learning_curves_are_drawn_where_training_rows_are_scored() -> None:
    tracked = {"step": [10, 20], "train_macro_f1": [0.3, 0.8], "macro_f1": [0.2, 0.6]}
    records = [make_record("post_ln", seed) for seed in SEEDS]
    assert learning_figure(make_rows(evidence_of(*records), DESCRIPTION)) is None
    records = [replace(record, history={**record.history, "validation": tracked}) for record in records]
    rows = make_rows(evidence_of(*records, make_record("tfidf_logistic_regression", 0)), DESCRIPTION)
    picture = learning_figure(rows)
    assert picture is not None
    (axes,) = [axes for axes in picture.figure.axes if axes.get_visible()]
    train, validation, target = axes.get_lines()
    assert list(train.get_ydata()) == pytest.approx([0.3, 0.8])
    assert list(validation.get_ydata()) == pytest.approx([0.2, 0.6])
    assert target.get_ydata()[0] == rows[0].target


def test_swept_grids_get_a_figure_per_setting(tmp_path: Path) -> None:
    records = [make_record(name, 0, swept={"model.layers": n}) for name in ("post_ln", "no_residual") for n in (2, 6)]
    records.append(make_record("tfidf_logistic_regression", 0))
    write_report(
        Evidence.gather(write_runs(tmp_path / "runs", records), tmp_path / "none"),
        tmp_path / "r",
        DESCRIPTION,
        everything=True,
    )
    names = {path.name for path in (tmp_path / "r" / "figures").iterdir()}
    assert {"macro_f1.png", "loss_curves_layers=2.png", "confusion_layers=6.png"} <= names


def test_the_terminal_shows_the_table_and_the_files(evidence: Evidence, report: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80)
    print_result(evidence, DESCRIPTION, [report / "report.md", report / "summary.csv"], console)
    shown = " ".join(stream.getvalue().split())
    for text in (
        "Post-LN",
        "3 collapsed",
        "1 diverged",
        "0.853 ± 0.051",
        "95 % interval",
        f"wrote summary.csv and {report / 'report.md'}",
    ):
        assert text in shown


def test_csv_reads_back(report: Path) -> None:
    with (report / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows][-2:] == ["bag_of_embeddings", "tfidf_logistic_regression"]
    assert len(rows) == len({record.condition for record in make_records() if record.stage == "final"})


def test_what_was_left_out_is_told_apart_from_what_is_reported(
    evidence: Evidence, report: Path, tmp_path: Path
) -> None:
    noted: Any = replace(evidence, notes=["left out: something of this machine"])
    write_report(noted, tmp_path / "toycorpus", DESCRIPTION, everything=True)
    assert contents(tmp_path / "toycorpus") == contents(report), "a fresh clone could not rebuild such a sentence"


def test_the_page_answers_first_and_ends_with_the_classes(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert text.splitlines()[2].startswith("- Post-LN has the highest test macro F1: ")
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings == [
        *("Ablation", "What each change does", "Which values training survives", "Figures", "Data", "Protocol"),
        *("Environment and how to rebuild", "Per class"),
    ]
    assert "- Budget: 200 optimiser steps, 800 training rows, 3 seeds per condition." in text.split("## ")[0]


def test_no_sentence_of_the_page_has_more_than_25_words(report: Path) -> None:
    lines = [line for line in (report / "report.md").read_text().splitlines() if line and line[0] not in "|#!<`"]
    prose = [line for line in lines if "`" not in line and "torch 2" not in line]
    sentences = [sentence for line in prose for sentence in re.split(r"(?<=[.!?;:])\s", line.lstrip("-* "))]
    assert len(sentences) > 40
    assert [sentence for sentence in sentences if len(sentence.split()) > 25] == []


def test_a_task_without_classes_has_no_class_tables_and_a_metric_that_no_record_has_no_column(
    evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "classification", replace(CLASSIFICATION, parts=frozenset()))
    assert "matthews" not in summary_table(make_rows(evidence, DESCRIPTION)).data.columns
    finals = [replace(record, scores=dict(record.scores)) for record in evidence.finals]
    newest = next(record for record in finals if record.condition == "pre_ln")
    newest.scores["test"] = replace(newest.scores["test"], metrics={**newest.scores["test"].metrics, "matthews": 0.5})
    mixed = replace(evidence, records=[*finals, *evidence.trials])
    lines = {line["variant"]: line["matthews"] for line in lines_of(summary_table(make_rows(mixed, DESCRIPTION)))}
    assert lines == dict.fromkeys(lines, "") | {"pre_ln": "0.500000"}
    write_report(mixed, tmp_path / "report", DESCRIPTION)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "Matthews correlation" in text and "## Per class" not in text
    assert not (tmp_path / "report" / "per_class.csv").exists()
    assert not (tmp_path / "report" / "figures" / "confusion.png").exists()


def test_names_from_records_reach_the_page_escaped(tmp_path: Path) -> None:
    record = make_record("post_ln", 0)
    hostile = "<script>alert(1)</script> $10_$20 \x1b[31m \u202e [x](http://y.z)"
    record.scores["test"].details["per_class"][0]["class"] = hostile
    record.data["classes"] = [hostile, "numpy", "pandas"]
    record.data["source"] = hostile
    write_report(evidence_of(record), tmp_path / "report", DESCRIPTION)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "<script>" not in text and "\x1b" not in text and "\u202e" not in text and "](http:" not in text
    with (tmp_path / "report" / "per_class.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["class"] == hostile, "data stay exact"
