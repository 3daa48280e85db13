"""Vanishing gradients are drawn at every setting of a sweep, and the title names where they are worst."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from synthetic_records import make_record, rows_of

from experiments.reporting.figures import draw_figures
from experiments.reporting.gradient_ratio import ratio_figure
from experiments.runs.record import Record


def with_ratios(condition: str, seed: int, rate: float, *ratios: float) -> Record:
    record = make_record(condition, seed, swept={"model.learning_rate": rate}, tuned={})
    blocks = [[5.0, ratio, 2.0, 1.0, 5.0] for ratio in ratios]
    return replace(record, history={"gradient_norms": {"step": list(range(1, len(ratios) + 1)), "blocks": blocks}})


def test_every_setting_has_a_panel_with_the_geometric_mean_over_seeds() -> None:
    figure = ratio_figure(
        rows_of(
            with_ratios("post_ln", 0, 0.001, 1.0, 1e-2),
            with_ratios("post_ln", 1, 0.001, 1.0, 1e-4),
            with_ratios("post_ln", 0, 0.003, 1.0, 1e-6),
        )
    )
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["learning rate 0.001", "learning rate 0.003"]
    curve = figure.axes[0].lines[0]
    np.testing.assert_allclose(curve.get_xdata(), [1, 2])
    np.testing.assert_allclose(curve.get_ydata(), [1.0, 1e-3])


def test_the_title_names_what_strays_furthest_from_one_either_way() -> None:
    vanishing = rows_of(with_ratios("post_ln", 0, 0.001, 1e-2), with_ratios("no_residual", 0, 0.001, 1e-4))
    exploding = rows_of(with_ratios("post_ln", 0, 0.001, 1e-2), with_ratios("no_residual", 0, 0.001, 1e5))
    for rows, expected in ((vanishing, "0.0001"), (exploding, "1e+05")):
        figure = ratio_figure(rows)
        assert figure is not None
        said = f"{expected} for No residual (learning rate 0.001), the furthest from 1\n"
        assert said in figure.get_suptitle()


def test_a_gradient_that_underflows_is_said_to_be_at_most_what_records_tell_apart() -> None:
    figure = ratio_figure(rows_of(with_ratios("no_residual", 0, 0.001, 1e-14)))
    assert figure is not None
    assert ": at most 1e-12 for No residual" in figure.get_suptitle()


def test_of_two_swept_settings_one_runs_along_the_lines_and_one_along_the_columns() -> None:
    records = [
        replace(record, swept={**record.swept, "trainer.gradient_clip_val": clip})
        for clip in (None, 1.0)
        for rate in (0.001, 0.003, 0.01, 0.03)
        if (clip, rate) != (None, 0.03)
        for record in [with_ratios("post_ln", 0, rate, 1.0, 0.1)]
    ]
    figure = ratio_figure(rows_of(*records))
    assert figure is not None
    panels = [axes.get_title(loc="left").split("\n") for axes in figure.axes if axes.get_visible()]
    places = [axes.get_subplotspec() for axes in figure.axes if axes.get_visible()]
    found = {tuple(title): (at.rowspan.start, at.colspan.start) for title, at in zip(panels, places, strict=True) if at}
    rates = ("0.001", "0.003", "0.01", "0.03")
    expected = {
        (f"learning rate {rate}", clip): (line, column)
        for line, clip in enumerate(("no clipping", "clipped at 1"))
        for column, rate in enumerate(rates)
    }
    del expected["learning rate 0.03", "no clipping"]
    assert found == expected
    assert "lines: one seed each" in figure.get_suptitle()


def test_runs_without_gradient_norms_have_no_such_figure() -> None:
    record = replace(make_record("post_ln", 0, swept={"model.learning_rate": 0.1}, tuned={}), history={})
    assert ratio_figure(rows_of(record)) is None


def test_a_report_draws_it_only_where_something_is_swept(tmp_path: Path) -> None:
    swept = with_ratios("post_ln", 0, 0.001, 1.0, 0.5)
    names = {}
    for name, record in (("swept", swept), ("alone", replace(swept, swept={}))):
        names[name] = {path.name for path in draw_figures(rows_of(record), tmp_path / name)}
    assert "gradient_ratio.png" in names["swept"]
    assert "gradient_ratio.png" not in names["alone"]
