"""Lines and bands of the reproductions' figures, against scipy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from pandas import DataFrame
from scipy import stats

from experiments.paths import REPOSITORY
from experiments.reporting.style import headline
from experiments.studies.published import PublishedResult, load_results
from experiments.studies.report import gather_result
from experiments.studies.study import course_caption, draw_course

VALUES = {6: [0.2, 0.5, 0.4, 0.7, 0.3], 12: [0.01, 0.04, 0.02, 0.03, 0.05]}
ROWS = DataFrame([{"layers": x, "value": y} for x, values in VALUES.items() for y in values])


@pytest.fixture
def axes() -> Iterator[Axes]:
    yield Figure().add_subplot()


def band_of(axes: Axes) -> dict[float, tuple[float, float]]:
    """Lowest and highest corner of the drawn band at every x."""
    (band,) = (found for found in axes.collections if isinstance(found, PolyCollection))
    corners = np.asarray(band.get_paths()[0].vertices)
    return {x: (corners[corners[:, 0] == x, 1].min(), corners[corners[:, 0] == x, 1].max()) for x in VALUES}


@pytest.mark.parametrize("geometric", [False, True])
def test_a_course_is_the_mean_over_networks_with_its_t_interval(axes: Axes, geometric: bool) -> None:
    draw_course(axes, ROWS, "layers", "value", "post_ln", geometric=geometric)
    drawn = dict(zip(*axes.get_lines()[0].get_data(), strict=True))
    for x, values in VALUES.items():
        found = np.log(values) if geometric else np.array(values)
        low, high = stats.t.interval(0.95, len(found) - 1, found.mean(), stats.sem(found))
        back = np.exp if geometric else np.array
        assert drawn[x] == pytest.approx(float(back(found.mean())))
        assert band_of(axes)[x] == pytest.approx((float(back(low)), float(back(high))))


def test_a_geometric_course_leaves_out_zeros(axes: Axes) -> None:
    rows = DataFrame({"layers": [6, 6, 12], "value": [0.5, 0.0, 0.0]})
    draw_course(axes, rows, "layers", "value", "post_ln", geometric=True)
    assert [list(values) for values in axes.get_lines()[0].get_data()] == [[6], [pytest.approx(0.5)]]


def test_nothing_is_drawn_of_zeros_alone(axes: Axes) -> None:
    draw_course(axes, DataFrame({"layers": [6], "value": [0.0]}), "layers", "value", "post_ln", geometric=True)
    assert not axes.get_lines() and not axes.collections


@pytest.mark.parametrize(("seeds", "expected"), [(1, "Lines: one network"), (2, "their range"), (3, "95 % t-interval")])
def test_what_is_drawn_is_said(seeds: int, expected: str) -> None:
    assert expected in course_caption(seeds)


@pytest.mark.parametrize("published", load_results(), ids=lambda published: published.id)
def test_a_figure_of_committed_measurements_has_a_title_of_one_line_and_a_caption(published: PublishedResult) -> None:
    drawn = gather_result(published, REPOSITORY / "results").picture
    headline(drawn.figure, drawn.title)
    (title,) = (text for text in drawn.figure.texts if text.get_text() == drawn.title)
    title.set_wrap(False)
    assert title.get_window_extent(FigureCanvasAgg(drawn.figure).get_renderer()).x1 < drawn.figure.bbox.width
    assert "\n" not in drawn.title and drawn.caption.endswith(".")
