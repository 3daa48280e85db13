"""Vanishing gradients are drawn at every setting of a sweep, and the title names where they are worst."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from synthetic_records import evidence_of, make_record, rows_of

from experiments.reporting.figures import draw_pictures
from experiments.reporting.frame import Description
from experiments.reporting.sweeps import ratio_figure
from experiments.runs.record import Record


def with_ratios(condition: str, seed: int, rate: float, *ratios: float) -> Record:
    record = make_record(condition, seed, swept={"model.learning_rate": rate}, tuned={})
    blocks = [[5.0, ratio, 2.0, 1.0, 5.0] for ratio in ratios]
    return replace(record, history={"gradient_norms": {"step": list(range(1, len(ratios) + 1)), "blocks": blocks}})


def test_every_setting_has_a_panel_with_the_geometric_mean_over_seeds() -> None:
    picture = ratio_figure(
        rows_of(
            with_ratios("post_ln", 0, 0.001, 1.0, 1e-2),
            with_ratios("post_ln", 1, 0.001, 1.0, 1e-4),
            with_ratios("post_ln", 0, 0.003, 1.0, 1e-6),
        )
    )
    assert picture is not None
    figure = picture.figure
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["learning rate 0.001", "learning rate 0.003"]
    curve = figure.axes[0].lines[0]
    np.testing.assert_allclose(curve.get_xdata(), [1, 2])
    np.testing.assert_allclose(curve.get_ydata(), [1.0, 1e-3])


def test_the_title_names_what_strays_furthest_from_one_either_way() -> None:
    vanishing = rows_of(with_ratios("post_ln", 0, 0.001, 1e-2), with_ratios("no_residual", 0, 0.001, 1e-4))
    exploding = rows_of(with_ratios("post_ln", 0, 0.001, 1e-2), with_ratios("no_residual", 0, 0.001, 1e5))
    for rows, expected in ((vanishing, "0.0001"), (exploding, "1e+05")):
        picture = ratio_figure(rows)
        assert picture is not None
        assert picture.title.endswith(f"furthest from 1 in No residual (learning rate 0.001), {expected}")


def test_a_gradient_that_underflows_is_said_to_be_at_most_what_records_tell_apart() -> None:
    picture = ratio_figure(rows_of(with_ratios("no_residual", 0, 0.001, 1e-14)))
    assert picture is not None
    assert picture.title.endswith("No residual (learning rate 0.001), at most 1e-12")


def test_of_two_swept_settings_one_runs_along_the_lines_and_one_along_the_columns() -> None:
    records = [
        replace(record, swept={**record.swept, "trainer.gradient_clip_val": clip})
        for clip in (None, 1.0)
        for rate in (0.001, 0.003, 0.01, 0.03)
        if (clip, rate) != (None, 0.03)
        for record in [with_ratios("post_ln", 0, rate, 1.0, 0.1)]
    ]
    picture = ratio_figure(rows_of(*records))
    assert picture is not None
    figure = picture.figure
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
    assert "Lines: one seed each." in picture.caption


def test_runs_without_gradient_norms_have_no_such_figure() -> None:
    record = replace(make_record("post_ln", 0, swept={"model.learning_rate": 0.1}, tuned={}), history={})
    assert ratio_figure(rows_of(record)) is None


def test_a_report_draws_it_only_where_something_is_swept() -> None:
    swept = with_ratios("post_ln", 0, 0.001, 1.0, 0.5)
    names = {}
    for name, record in (("swept", swept), ("alone", replace(swept, swept={}))):
        evidence = evidence_of(record)
        names[name] = {
            stem for stem, _ in draw_pictures(rows_of(record), evidence, Description(arguments="", title=""))
        }
    assert "gradient_ratio" in names["swept"]
    assert "gradient_ratio" not in names["alone"]
