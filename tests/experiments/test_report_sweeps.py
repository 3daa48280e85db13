"""Along a swept number there are curves of score and failures, with unswept baselines as lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_records import make_record, rows_of, write_runs

from experiments.records.record import Record
from experiments.records.store import Evidence
from experiments.reporting.findings import findings
from experiments.reporting.report import write_report
from experiments.reporting.rows import Description
from experiments.reporting.sweeps import failure_figure, panels_along, score_figure, swept_numbers

DESCRIPTION = Description(arguments="toy", title="Toy", purpose="To test.")
DEPTHS = (1, 6, 24)


def sweep(*conditions: str, **more: object) -> list[Record]:
    records = [
        make_record(condition, seed, swept={"model.layers": depth, **more}, tuned={})
        for condition in conditions
        for depth in DEPTHS
        for seed in (0, 1)
    ]
    return [*records, make_record("tfidf_logistic_regression", 0)]


def test_curves_run_along_the_swept_number_and_baselines_are_lines() -> None:
    (panel,) = panels_along("model.layers", rows_of(*sweep("pre_ln", "no_residual")))
    assert [(curve.condition, curve.values) for curve in panel.curves] == [
        ("pre_ln", [1.0, 6.0, 24.0]),
        ("no_residual", [1.0, 6.0, 24.0]),
    ]
    assert [row.condition for row in panel.lines] == ["tfidf_logistic_regression"]


def test_other_swept_values_get_a_panel_each() -> None:
    records = [*sweep("pre_ln", **{"model.beta2": 0.9}), *sweep("pre_ln", **{"model.beta2": 0.99})]
    titles = [panel.title for panel in panels_along("model.layers", rows_of(*records))]
    assert titles == ["β₂ 0.9", "β₂ 0.99"]


def test_one_legend_names_every_curve_of_every_panel_and_a_baseline_without_the_score_of_one() -> None:
    first = [record for record in sweep("pre_ln", **{"model.beta2": 0.9}) if record.condition != "pre_ln"]
    lone = [make_record("no_norm", 0, swept={"model.layers": n, "model.beta2": 0.9}) for n in DEPTHS]
    figure = score_figure("model.layers", rows_of(*first, *lone, *sweep("pre_ln", **{"model.beta2": 0.99})[:-1]))
    assert figure is not None and len(figure.axes) == 2
    (legend,) = figure.legends
    labels = {text.get_text() for text in legend.get_texts()}
    assert labels == {"No norm", "Pre-LN", "TF-IDF + logistic regression"}


def test_two_values_are_no_curve_and_words_are_no_number() -> None:
    others = {"model.decay": "linear", "data.operators": ["MAX", "MIN"]}
    records = [make_record("pre_ln", 0, swept={"model.layers": n, **others}) for n in (1, 2)]
    assert swept_numbers(row.swept for row in rows_of(*records)) == []


def test_a_number_that_is_switched_off_somewhere_has_no_curve() -> None:
    clips = [None, 0.1, 1.0, 10.0]
    rows = rows_of(*(make_record("pre_ln", 0, swept={"trainer.gradient_clip_val": clip}) for clip in clips))
    assert swept_numbers(row.swept for row in rows) == []


def test_a_baseline_fitted_on_swept_data_is_a_line_in_the_panel_of_its_data() -> None:
    sizes = (100, 1000)
    records = [record for rows in sizes for record in sweep("pre_ln", **{"data.max_train_rows": rows})[:-1]]
    baselines = [make_record("tfidf_logistic_regression", 0, swept={"data.max_train_rows": rows}) for rows in sizes]
    panels = panels_along("model.layers", rows_of(*records, *baselines))
    assert [[row.swept["data.max_train_rows"] for row in panel.lines] for panel in panels] == [[100], [1000]]


def test_the_title_states_the_best_and_the_worst_at_the_greatest_value() -> None:
    rows = rows_of(*sweep("pre_ln", "no_residual"))
    figure = score_figure("model.layers", rows)
    best, worst = (row.test("macro_f1").mean for row in rows if row.swept.get("model.layers") == 24)
    expected = f"at 24 layers Pre-LN reaches {best:.2f}, No residual {worst:.2f}"
    assert figure is not None and expected in figure.get_suptitle()
    assert "95 % t-interval" in figure.get_suptitle()


def test_of_several_panels_the_title_speaks_of_the_widest_contrast_and_names_it() -> None:
    alike = sweep("pre_ln", "post_ln", **{"model.beta2": 0.9})
    apart = sweep("pre_ln", "no_residual", **{"model.beta2": 0.99})
    figure = score_figure("model.layers", rows_of(*alike, *apart))
    assert figure is not None and "at 24 layers, β₂ 0.99, Pre-LN reaches" in figure.get_suptitle()


def test_one_seed_has_no_bands_to_explain() -> None:
    figure = score_figure("model.layers", rows_of(*(r for r in sweep("pre_ln", "no_residual") if r.seed == 0)))
    assert figure is not None
    assert "lines: one seed" in figure.get_suptitle() and "bands" not in figure.get_suptitle()


def test_failures_are_drawn_only_where_there_are_any() -> None:
    assert failure_figure("model.layers", rows_of(*sweep("pre_ln"))) is None
    unswept = make_record("no_residual", 0)
    assert failure_figure("model.layers", rows_of(*sweep("pre_ln"), unswept)) is None
    figure = failure_figure("model.layers", rows_of(*sweep("pre_ln", "no_residual")))
    assert figure is not None and (
        "Of 12 runs 6 collapsed and 0 diverged; most of all No residual, 6 of 6" in figure.get_suptitle()
    )


def test_conditions_that_fail_equally_often_are_all_named() -> None:
    diverged = [
        make_record("no_norm", seed, swept={"model.layers": depth}, tuned={}, diverged=True)
        for depth in DEPTHS
        for seed in (0, 1)
    ]
    figure = failure_figure("model.layers", rows_of(*sweep("pre_ln", "no_residual"), *diverged))
    assert figure is not None
    title = figure.get_suptitle()
    assert "Of 18 runs 6 collapsed and 6 diverged; most of all No residual, 6 of 6; No norm, 6 of 6" in title


def test_the_outcome_is_counted_by_condition_over_the_swept_values() -> None:
    *_, outcome = findings(rows_of(*sweep("pre_ln", "no_residual")))
    assert outcome == "Of 13 final runs, 6 collapsed (No residual, 6 of 6)."


@pytest.mark.parametrize("name", ["macro_f1_by_layers.png", "failures_by_layers.png"])
def test_a_report_shows_the_curves(tmp_path: Path, name: str) -> None:
    runs = write_runs(tmp_path / "runs", sweep("pre_ln", "no_residual"))
    write_report(Evidence.gather(runs, tmp_path / "none"), tmp_path / "report", DESCRIPTION)
    assert (tmp_path / "report" / "figures" / name).is_file()
    text = (tmp_path / "report" / "report.md").read_text()
    assert f"(figures/{name})" in text and "Swept: layers." in text
