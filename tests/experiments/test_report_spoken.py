"""Settings are called what a reader would call them, in headings and in figures alike."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.reporting.rows import label_of
from experiments.reporting.spoken import spoken_name, spoken_setting


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
