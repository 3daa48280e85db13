"""What was probed while a grid trained is drawn by depth and by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_records import make_record, rows_of, write_runs

from experiments.reporting.frame import Description
from experiments.reporting.grid_report import write_report
from experiments.reporting.probed import (
    PANEL_OF,
    PROBED_FIGURES,
    THEMES,
    PanelColumn,
    along_depth,
    along_steps,
    by_depth_figure,
    by_step_figure,
    probe_band,
)
from experiments.runs.record import Record
from experiments.runs.store import Evidence

DESCRIPTION = Description(arguments="toy", title="Toy", purpose="To test.")
BLOCKS, STEPS = 5, [0, 10, 20]


def probes_of(level: float) -> dict[str, Any]:
    """Return a measure of the stream and one of blocks: ``level`` times 100·step + depth, block n having depth n."""
    return {
        "step": STEPS,
        "stream_rms": [[level * (100 * step + depth) for depth in range(BLOCKS + 1)] for step in STEPS],
        "token_cosine": [[level * (100 * step + depth) for depth in range(BLOCKS + 1)] for step in STEPS],
        "effective_rank": [[level * (100 * step + depth) for depth in range(BLOCKS + 1)] for step in STEPS],
        "jacobian_median": [[level * (100 * step + depth) for depth in range(1, BLOCKS + 1)] for step in STEPS],
        "update_ratio_attention_value": [[None] * BLOCKS, *[[level] * BLOCKS for _ in STEPS[1:]]],
    }


def probed(condition: str, seed: int, level: float) -> Record:
    record = make_record(condition, seed, tuned={})
    record.history["probes"] = probes_of(level)
    return record


def test_by_depth_a_measure_of_the_stream_begins_at_the_embedding_and_one_of_blocks_at_the_first_block() -> None:
    run = probed("pre_ln", 0, 1.0)
    assert along_depth(run, "stream_rms", step=10) == {depth: 1000 + depth for depth in range(BLOCKS + 1)}
    assert along_depth(run, "jacobian_median", step=10) == {depth: 1000 + depth for depth in range(1, BLOCKS + 1)}
    assert along_depth(run, "stream_rms", step=15) == {}


@pytest.mark.parametrize(("share", "block"), [(0.0, 1), (0.5, 3), (1.0, 5)])
@pytest.mark.parametrize("measure", ["stream_rms", "jacobian_median"])
def test_by_step_the_first_the_middle_and_the_last_block_are_shown(share: float, block: int, measure: str) -> None:
    run = probed("pre_ln", 0, 1.0)
    assert along_steps(run, measure, share=share) == {step: 100 * step + block for step in STEPS}


def test_bands_are_intervals_around_a_mean_that_is_geometric_on_a_log_scale() -> None:
    (row,) = rows_of(*(probed("pre_ln", seed, level) for seed, level in enumerate((1.0, 2.0, 16.0))))
    at_ten = PanelColumn("", lambda run, measure: along_depth(run, measure, step=10))
    log, linear = (probe_band(row, PANEL_OF[name], at_ten) for name in ("stream_rms", "token_cosine"))
    assert log is not None and linear is not None
    margin = 4.302653 * np.std([0, 1, 4], ddof=1) / 3**0.5  # t of two degrees of freedom, in powers of two
    np.testing.assert_allclose([log.low[1], log.high[1]], 1001 * 2 ** np.array([5 / 3 - margin, 5 / 3 + margin]), 1e-6)
    np.testing.assert_allclose(log.mean, 32 ** (1 / 3) * (1000 + np.arange(BLOCKS + 1)))
    np.testing.assert_allclose(linear.mean, 19 / 3 * (1000 + np.arange(BLOCKS + 1)))


def test_the_title_names_both_ends_at_the_last_step_and_a_run_that_ended_before_has_no_part_in_it() -> None:
    early = probed("no_norm", 0, 50.0)
    early.history["probes"] = {name: values[:2] for name, values in early.history["probes"].items()}
    rows = rows_of(probed("pre_ln", 0, 1.0), probed("post_ln", 0, 3.0), early)
    picture = by_depth_figure(THEMES["signal"], rows)
    assert picture is not None
    assert picture.title == "At step 20, effective rank after the last block: Post-LN 6e+03, Pre-LN 2e+03"
    assert [text.get_text() for text in picture.figure.legends[0].get_texts()] == ["Post-LN", "Pre-LN", "No norm"]


def test_what_was_measured_once_has_a_figure_by_depth_alone() -> None:
    record = probed("pre_ln", 0, 1.0)
    record.history["probes"] = {name: values[:1] for name, values in record.history["probes"].items()}
    picture = by_depth_figure(THEMES["signal"], rows_of(record))
    assert picture is not None
    assert [axes.get_title("left") for axes in picture.figure.axes] == ["step 0 (before training)", "", ""], (
        "three measures"
    )
    assert by_step_figure(THEMES["signal"], rows_of(record)) is None


def test_what_lies_below_a_log_axis_is_named_zero_included() -> None:
    runs = [probed("pre_ln", 0, 1.0), probed("no_residual", 0, 1e-20), probed("post_ln", 0, 0.0)]
    picture = by_depth_figure(THEMES["signal"], rows_of(*runs))
    assert picture is not None
    figure = picture.figure
    notes = {axes.get_ylabel(): [text.get_text() for text in axes.texts] for axes in figure.axes[::2]}
    assert notes["stream: RMS"] == ["zero: Post-LN; below: No residual"]
    assert notes["cosine between\ntokens"] == []


def test_steps_over_weights_are_shown_by_step_alone_where_the_rates_schedule_can_be_seen() -> None:
    rows = rows_of(probed("pre_ln", 0, 1.0))
    picture = by_step_figure(THEMES["gradients"], rows)
    assert picture is not None
    assert [axes.get_ylabel().replace("\n", " ") for axes in picture.figure.axes[::3]] == ["step / weight: W value"]
    assert by_depth_figure(THEMES["gradients"], rows) is None


def test_without_probes_nothing_is_drawn() -> None:
    rows = rows_of(make_record("pre_ln", 0), make_record("tfidf_logistic_regression", 0))
    assert not any(draw(rows) for draw in PROBED_FIGURES.values())


def test_every_theme_is_made_of_measures_that_have_a_panel() -> None:
    assert all(measure in PANEL_OF for theme in THEMES.values() for measure in theme.measures)


def test_a_report_shows_the_first_with_a_caption_and_links_to_the_others(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs", [probed("pre_ln", seed, 1.0 + seed) for seed in (0, 1)])
    write_report(Evidence.gather(runs, tmp_path / "none"), tmp_path / "report", DESCRIPTION, everything=True)
    text = (tmp_path / "report" / "report.md").read_text()
    for theme in ("signal_by_depth", "sublayers_by_step"):
        assert (tmp_path / "report" / "figures" / f"probed_{theme}.png").is_file()
    assert "(figures/probed_signal_by_depth.png)\n\n**" in text
    assert ".** What the stream carries by depth, measured inside the networks on the same few training rows." in text
    assert "[probed sublayers by step](figures/probed_sublayers_by_step.png)" in text  # a page shows six figures
