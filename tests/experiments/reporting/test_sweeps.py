"""Along a swept number there are curves of score and failures, with unswept baselines as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_records import make_record, rows_of, with_scores, write_runs

from experiments.reporting.curves import panels_along, swept_numbers
from experiments.reporting.frame import Description, Row
from experiments.reporting.grid_report import write_report
from experiments.reporting.sentences import findings
from experiments.reporting.style import Picture
from experiments.reporting.sweeps import LEAST_GAP, failure_figure, score_figure, spread_out
from experiments.runs.record import Record
from experiments.runs.store import Evidence

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
    figure = scores_of(rows_of(*first, *lone, *sweep("pre_ln", **{"model.beta2": 0.99})[:-1])).figure
    assert len(figure.axes) == 2
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


def scored(scores: dict[str, tuple[float, float]], seeds: int = 3, **facts: Any) -> list[Record]:
    """Return runs of conditions whose test macro-F1 goes from one score at 1 layer to another at 24, ±0.01 by seed."""
    records = []
    for condition, (first, last) in scores.items():
        for depth, level in ((1, first), (6, first), (24, last)):
            for seed in range(seeds):
                record = make_record(condition, seed, swept={"model.layers": depth}, tuned={})
                assert record.test is not None
                score = level + 0.01 * (seed - 1) * (1 if depth == 1 else -1)
                record = with_scores(record, "test", macro_f1=score)
                records.append(replace(record, model={**record.model, **facts.get(condition, {})}))
    return records


def scores_of(rows: Sequence[Row]) -> Picture:
    picture = score_figure("model.layers", rows)
    assert picture is not None
    return picture


def test_the_title_says_what_holds_and_what_falls_from_the_least_to_the_greatest_value() -> None:
    rows = rows_of(*scored({"pre_ln": (0.70, 0.69), "post_ln": (0.70, 0.40), "no_norm": (0.30, 0.50)}))
    picture = scores_of(rows)
    assert picture.title == "Test macro F1 at 24 layers: best Pre-LN (0.690), worst Post-LN (0.400)"
    for change in ("Holds from 1 to 24 layers: Pre-LN (0.690).", "Falls from 1 to 24 layers: Post-LN (0.400)."):
        assert change in picture.caption
    assert "Rises from 1 to 24 layers: No norm (0.500). A curve falls or rises if the 95 % interval" in picture.caption


def test_many_conditions_that_change_alike_are_counted() -> None:
    names = ("pre_ln", "post_ln", "no_norm", "no_residual", "plain", "plain_gain")
    falling = {name: (0.7, 0.3 + 0.01 * place) for place, name in enumerate(names)}
    said = "Falls from 1 to 24 layers: plain_gain (0.350), Plain (0.340), No residual (0.330) and 3 more."
    assert said in scores_of(rows_of(*scored(falling))).caption


def test_of_one_seed_nothing_is_judged() -> None:
    picture = scores_of(rows_of(*scored({"pre_ln": (0.7, 0.6)}, seeds=1)))
    assert picture.title == "Test macro F1 at 24 layers: best Pre-LN (0.610)"
    assert not any(word in picture.caption for word in ("Holds", "Falls", "Rises"))


def test_intervals_are_bars_and_curves_keep_their_values_though_they_are_drawn_side_by_side() -> None:
    rows = rows_of(*scored({"pre_ln": (0.70, 0.69), "post_ln": (0.70, 0.40)}))
    axes = scores_of(rows).figure.axes[-1]
    for curve, bars, row in zip(axes.lines[:2], axes.collections, (rows[2], rows[5]), strict=True):
        spread = row.score
        np.testing.assert_allclose(curve.get_xdata(), [1, 6, 24])
        np.testing.assert_allclose(np.asarray(curve.get_ydata())[-1], spread.mean)
        np.testing.assert_allclose(bars.get_segments()[-1], [[24, spread.low], [24, spread.high]])
    places = {float(line.get_transform().transform((6, 0.5))[0]) for line in axes.lines[:2]}
    assert len(places) == 2


def test_where_scores_crowd_near_the_best_a_second_panel_enlarges_them() -> None:
    wide = {"pre_ln": (0.70, 0.69), "post_ln": (0.70, 0.20)}
    enlarged, narrow = (scores_of(rows_of(*scored(found))).figure for found in (wide, {"pre_ln": (0.7, 0.6)}))
    assert [len(figure.axes) for figure in (enlarged, narrow)] == [2, 1]
    assert enlarged.axes[0].get_ylim() == pytest.approx((0.6, 0.74))
    labels = [{text.get_text() for text in axes.texts} for axes in enlarged.axes]
    assert labels == [{"Pre-LN 0.690"}, {"Pre-LN 0.690", "Post-LN 0.200"}]


def test_labels_at_the_ends_of_curves_never_meet_and_move_no_further_than_that_needs() -> None:
    placed = spread_out([0.1, 0.101, 0.5, 0.51, 0.9])
    assert min(np.diff(placed)) >= LEAST_GAP - 1e-12
    assert placed[-1] == 0.9
    assert np.mean(placed[:2]) == pytest.approx(np.mean([0.1, 0.101]))


def test_of_several_panels_the_title_speaks_of_the_widest_contrast_and_names_it() -> None:
    alike = sweep("pre_ln", "post_ln", **{"model.beta2": 0.9})
    apart = sweep("pre_ln", "no_residual", **{"model.beta2": 0.99})
    title = scores_of(rows_of(*alike, *apart)).title
    assert title.startswith("Test macro F1 at 24 layers (β₂ 0.99): best Pre-LN")


def test_one_seed_has_no_bands_to_explain() -> None:
    caption = scores_of(rows_of(*(r for r in sweep("pre_ln", "no_residual") if r.seed == 0))).caption
    assert "Points: one seed." in caption and "bars" not in caption


def test_equal_shares_of_failures_are_drawn_side_by_side_at_their_true_height() -> None:
    picture = failure_figure("model.layers", rows_of(*sweep("pre_ln", "no_residual", "post_ln")))
    assert picture is not None
    figure = picture.figure
    heights = [set(np.asarray(line.get_ydata())) for line in figure.axes[0].lines]
    assert sorted(heights, key=max) == [{0.0}, {0.0}, {1.0}]
    assert len({float(line.get_transform().transform((6, 0))[0]) for line in figure.axes[0].lines}) == 3


def test_failures_are_drawn_only_where_there_are_any() -> None:
    assert failure_figure("model.layers", rows_of(*sweep("pre_ln"))) is None
    unswept = make_record("no_residual", 0)
    assert failure_figure("model.layers", rows_of(*sweep("pre_ln"), unswept)) is None
    picture = failure_figure("model.layers", rows_of(*sweep("pre_ln", "no_residual")))
    assert picture is not None
    assert picture.title == "Of 12 runs 6 collapsed and 0 diverged; most often No residual, 6 of 6"


def test_conditions_that_fail_equally_often_are_all_named() -> None:
    diverged = [
        make_record("no_norm", seed, swept={"model.layers": depth}, tuned={}, diverged=True)
        for depth in DEPTHS
        for seed in (0, 1)
    ]
    picture = failure_figure("model.layers", rows_of(*sweep("pre_ln", "no_residual"), *diverged))
    assert picture is not None
    said = "Of 18 runs 6 collapsed and 6 diverged; most often No residual, 6 of 6; No norm, 6 of 6"
    assert picture.title == said


def test_the_outcome_is_counted_by_condition_over_the_swept_values() -> None:
    *_, outcome = findings(rows_of(*sweep("pre_ln", "no_residual")))
    assert outcome == "6 of 13 final runs collapsed: No residual, 6 of 6."


@pytest.mark.parametrize("name", ["macro_f1_by_layers.png", "failures_by_layers.png"])
def test_a_report_shows_the_curves(tmp_path: Path, name: str) -> None:
    runs = write_runs(tmp_path / "runs", sweep("pre_ln", "no_residual"))
    write_report(Evidence.gather(runs, tmp_path / "none"), tmp_path / "report", DESCRIPTION, everything=True)
    assert (tmp_path / "report" / "figures" / name).is_file()
    text = (tmp_path / "report" / "report.md").read_text()
    assert f"(figures/{name})" in text and "Swept: layers." in text
