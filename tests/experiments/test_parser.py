"""Sections of settings from plain values: which mistakes are named, and that no two configurations share one."""

from typing import Any

import pytest

from experiments.errors import ExperimentError
from experiments.planning.parser import checked_value, validated_sections
from lightning_modules.errors import ConfigurationError


def test_sections_that_are_not_given_have_their_defaults() -> None:
    built = validated_sections({"model": {"layers": 3}})
    assert set(built) == {"model", "data", "trainer", "probes", "start"}
    assert built["model"].layers == 3
    assert built["data"] == validated_sections({})["data"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modl": {}}, "did you mean 'model'"),
        ({"model": {"layrs": 2}}, "did you mean 'model.layers'"),
        ({"model": {"batch_size": 2}}, "did you mean 'data.batch_size'"),  # the nearest stands in another section
        ({"model": {"layers": "x"}}, "model.layers"),
    ],
)
def test_a_mistake_is_named_with_the_nearest_option(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        validated_sections(values)


def test_a_value_that_is_taken_for_another_in_python_is_checked_for_itself() -> None:
    assert validated_sections({"model": {"layers": 1}})["model"].layers == 1
    with pytest.raises(ExperimentError):
        validated_sections({"model": {"layers": True}})  # though True == 1


def test_a_value_out_of_range_is_refused_every_time() -> None:
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            validated_sections({"model": {"layers": -1}})


def test_changing_one_configuration_changes_no_other() -> None:
    first, second = validated_sections({})["data"], validated_sections({})["data"]
    assert first == second
    first.listops.train_rows += 1
    first.batch_size += 1
    assert (second.listops.train_rows, second.batch_size) != (first.listops.train_rows, first.batch_size)
    assert validated_sections({})["data"] == second


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("modl.layers", "did you mean 'model'"),
        ("model.layrs", "did you mean 'model.layers'"),
        ("layers", "section 'layers' is not known"),
        ("model", "name one of its settings"),
    ],
)
def test_a_setting_to_sweep_that_is_not_known_is_named(name: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        checked_value(name, 3)
