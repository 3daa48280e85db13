"""Options of a scheme are configuration: refused where unknown, in hash and cell name where set, sweepable."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.errors import ExperimentError
from experiments.planning.grid import Grid
from experiments.planning.parser import checked_value
from experiments.planning.run_config import RunConfig
from experiments.runs.naming import cell_name
from lightning_modules import build_backbone
from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.backbone import Backbone
from lightning_modules.schemes.variants import VARIANTS, use

GRID = """
title: streams
purpose: a test
conditions: [hyper_connections]
sweep:
  model.scheme_options.streams: [2, 4]
seeds: 1
"""


def config(**model: object) -> RunConfig:
    return RunConfig(model=ModelConfig(**model))


def residual_of(backbone: Backbone) -> object:
    return next(backbone.blocks.sublayers()).residual


def test_an_option_changes_the_network_and_the_default_is_the_variants_own() -> None:
    for options, streams in (({}, 4), ({"streams": 2}, 2)):
        backbone = build_backbone("hyper_connections", layers=1, width=8, scheme_options=options)
        assert residual_of(backbone).streams == streams
    assert VARIANTS["hyper_connections"].options == {"streams": 4}


def test_an_option_of_several_parts_is_set_in_all_of_them() -> None:
    variant = VARIANTS["complete_p"].with_options({"alpha": 0.5})
    assert variant.sites["output"] == use("complete_p_alpha", base=2, alpha=0.5)
    assert variant.recipes == (use("complete_p", base=2, alpha=0.5),)
    assert VARIANTS["mix_ln"].with_options({"share": 1}).by_place.keywords == {"share": 1.0}


@pytest.mark.parametrize(
    ("variant", "options", "said"),
    [
        ("hyper_connections", {"stream": 2}, "did you mean 'streams'"),
        ("hyper_connections", {"streams": 2.5}, "must be a whole number, such as 4"),
        ("hyper_connections", {"streams": True}, "must be a whole number"),
        ("fixed_residual", {"tau": "much"}, "must be a number, such as 0.1"),
        ("fixed_residual", {"tau": float("nan")}, "must be finite"),
        ("point_wise", {"function": 3}, "must be a word, such as 'arctan'"),
        ("pre_ln", {"streams": 2}, "variant pre_ln has no options"),
    ],
)
def test_a_wrong_option_fails_at_construction(variant: str, options: dict, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ModelConfig(variant=variant, scheme_options=options)


@pytest.mark.parametrize(
    ("variant", "options", "said"),
    [
        ("hyper_connections", {"streams": 0}, "must be at least 1"),
        ("frac_connections", {"parts": 3}, "does not divide the width 8"),
        ("group_norm", {"groups": 3}, "does not divide the width 8"),
        ("stochastic_depth", {"rate": 1.0}, "at least 0 and below 1"),
        ("pro_res", {"steps": 0}, "more than 0"),
        ("point_wise", {"function": "arctn"}, "did you mean 'arctan'"),
    ],
)
def test_an_option_out_of_range_fails_where_the_network_is_built(variant: str, options: dict, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        build_backbone(variant, layers=1, width=8, scheme_options=options)


def test_an_option_enters_the_hash_and_its_absence_does_not() -> None:
    plain, same = config(variant="hyper_connections"), config(variant="hyper_connections", scheme_options={})
    set_ = config(variant="hyper_connections", scheme_options={"streams": 2})
    assert plain.hash() == same.hash() != set_.hash()
    assert "scheme_options" not in plain.identity()["model"]
    assert set_.identity()["model"]["scheme_options"] == {"streams": 2}
    assert plain.with_values({"model.scheme_options.streams": 2}).hash() == set_.hash()


def test_a_grid_sweeps_an_option_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "streams.yaml"
    path.write_text(GRID)
    conditions = Grid.load(str(path)).conditions
    assert [condition.config.model.scheme_options for condition in conditions] == [{"streams": 2}, {"streams": 4}]
    assert [cell_name(condition.swept, {}, "final") for condition in conditions] == ["streams=2", "streams=4"]
    assert checked_value("model.scheme_options.streams", 4) == 4
    with pytest.raises((ExperimentError, ConfigurationError), match="did you mean 'streams'"):
        path.write_text(GRID.replace("streams: [2", "strems: [2"))
        Grid.load(str(path))


def test_what_sees_the_future_is_refused_before_a_causal_run() -> None:
    with pytest.raises(ConfigurationError, match="batch_norm mixes in later tokens"):
        ModelConfig(variant="batch_norm", causal=True)
    with pytest.raises(ConfigurationError, match="mv_split mixes in later tokens"):
        RunConfig(task="causal_lm", model=ModelConfig(variant="mv_split"))
    assert RunConfig(model=ModelConfig(variant="mv_split")).model.variant == "mv_split"
