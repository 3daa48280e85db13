"""A reader tells conditions apart in every figure, also in print, and finds a variant by the same look in all."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.paths import GRIDS
from experiments.planning.grid import Grid
from experiments.reporting.style import LOOKS, headline, look_of, printable
from experiments.runs.naming import BASELINES
from lightning_modules.schemes.families import TABLE_ORDER


def test_no_two_variants_of_the_first_grids_look_alike() -> None:
    names = {*TABLE_ORDER, *BASELINES}
    assert names <= set(LOOKS)
    assert len({(look_of(name).color, look_of(name).marker) for name in names}) == len(names)
    assert look_of("a later variant") == look_of("a later variant")


DRAWN = [path.stem for path in sorted(GRIDS.glob("*.yaml")) if not path.stem.startswith("zoo_")]
"""Grids whose curves are compared by eye; those of the zoo have up to a hundred schemes and are ranked by name."""


@pytest.mark.parametrize("grid", DRAWN)
def test_curves_of_one_grid_differ_in_colour_or_line(grid: str) -> None:
    conditions = {condition.name for condition in Grid.load(grid, {}).conditions}
    assert len({(look_of(name).color, str(look_of(name).line)) for name in conditions}) == len(conditions)


@pytest.mark.parametrize("width", [5.0, 9.0])
def test_a_long_headline_is_broken_where_the_figure_ends(width: float) -> None:
    figure = Figure(figsize=(width, 3.0), layout="constrained")
    axes = figure.subplots()
    headline(figure, "a sentence that states what was found, " * 6 + "end\nsecond line")
    FigureCanvasAgg(figure).draw()
    title = figure.texts[0].get_window_extent()
    assert title.x1 <= figure.bbox.x1
    assert title.y0 >= axes.get_window_extent().y1


def test_class_names_that_the_font_lacks_become_numbers() -> None:
    assert printable(["torch", "été"]) == ["torch", "été"]
    assert printable(["体育", "finance"]) == ["0", "1"]
