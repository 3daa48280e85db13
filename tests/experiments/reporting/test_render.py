"""Numbers and settings are called what a reader would call them, in headings and in figures alike."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.reporting.frame import label_of
from experiments.reporting.render import (
    TextTable,
    joined,
    number,
    plural,
    rounded,
    singular,
    spoken_name,
    spoken_setting,
    to_markdown,
)


@pytest.mark.parametrize(
    ("swept", "said"),
    [
        ({"trainer.gradient_clip_val": None}, "no clipping"),
        ({"trainer.gradient_clip_val": 1.0}, "clipped at 1"),
        ({"model.learning_rate": 0.003}, "learning rate 0.003"),
        ({"model.layers": 1}, "1 layer"),
        ({"model.layers": 24, "model.beta2": 0.999}, "β₂ 0.999, 24 layers"),
        ({"data.max_train_rows": 1000}, "1000 training rows"),
        ({"trainer.precision": "bf16-mixed"}, "precision bf16-mixed"),
        ({"data.shuffle_words": True}, "shuffle words true"),
        ({}, ""),
    ],
)
def test_settings_are_spoken(swept: dict[str, Any], said: str) -> None:
    assert spoken_setting(swept) == said


def test_names_that_end_alike_keep_what_tells_them_apart() -> None:
    assert spoken_setting({"model.size": 2, "data.size": 3}) == "data.size 3, model.size 2"


def test_a_label_is_the_title_with_the_setting() -> None:
    assert label_of("Pre-LN", {"model.layers": 6}) == "Pre-LN (6 layers)"
    assert label_of("Pre-LN", {}) == "Pre-LN"


def test_an_axis_has_the_name_alone() -> None:
    assert [spoken_name(name) for name in ("model.learning_rate", "model.beta2")] == ["learning rate", "β₂"]


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("run", "runs"),
        ("class", "classes"),
        ("box", "boxes"),
        ("batch", "batches"),
        ("boundary", "boundaries"),
        ("day", "days"),
    ],
)
def test_one_of_a_kind_and_many_are_told_apart(noun: str, many: str) -> None:
    assert plural(1, noun) == f"1 {noun}"
    assert plural(0, noun) == f"0 {many}"
    assert plural(20000, noun) == f"20,000 {many}"
    assert singular(many) == noun


def test_of_many_names_the_first_are_named_and_the_rest_counted() -> None:
    assert [joined(["a", "b", "c", "d"][:count], 2) for count in range(5)] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b and 2 more",
    ]
    assert joined(["Plain, gain tuned", "Pre-LN"]) == "Plain, gain tuned; Pre-LN"


def test_what_is_not_defined_is_nothing_to_programs_and_a_dash_to_people() -> None:
    assert [number(value) for value in (None, float("nan"), -1e-9, 0.5)] == ["", "", "0.000000", "0.500000"]
    assert [rounded(value) for value in (None, float("nan"), -0.25)] == ["–", "–", "−0.250"]


def test_columns_of_numbers_are_aligned_right_even_where_cells_are_missing() -> None:
    table = TextTable(["name", "score", "interval"], [["a", "0.5", "[0.1, 0.2]"], ["b", "–", "–"]])
    assert to_markdown(table).splitlines()[1] == "| --- | ---: | ---: |"
