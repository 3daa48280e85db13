"""Quantities of synthetic measurements are those that the measurements were made from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pandas import DataFrame
from scipy import stats

from experiments.studies import t2_rank_collapse as rank_collapse
from experiments.studies.study import log_log_slope
from experiments.studies.t1_gradient_by_depth import GradientByDepth
from experiments.studies.t2_rank_collapse import RankCollapse
from experiments.studies.t3_token_alignment import TokenAlignment
from experiments.studies.t4a_jacobian_isometry import JacobianIsometry
from experiments.studies.t5_adam_stability import AdamStability
from experiments.studies.t7a_stream_variance import StreamVariance, linearity
from experiments.studies.t10_update_size import UpdateSize

DEPTHS = [6, 12, 24, 48]


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.7])
def test_the_slope_of_a_power_law_is_its_exponent(power: float) -> None:
    assert log_log_slope(DEPTHS, [3 * depth**power for depth in DEPTHS]) == pytest.approx(power)


def test_a_power_law_has_no_zero() -> None:
    assert log_log_slope(DEPTHS, [1.0, 1.0, 0.0, 1.0]) is None


def test_linearity_is_the_squared_correlation() -> None:
    values = [0.1, 1.3, 2.0, 2.8, 4.5]
    assert linearity(values) == pytest.approx(stats.linregress(range(5), values).rvalue ** 2)
    assert linearity([2.0, 4.0, 6.0]) == pytest.approx(1)


def test_gradient_slopes_are_told_apart_by_variant_and_loss() -> None:
    powers = {"post_ln": (0.05, 0.1), "pre_ln": (-0.5, -0.4)}
    rows = [
        {"variant": variant, "layers": depth, "token_gradient_norm": depth**token, "batch_gradient_norm": depth**batch}
        for variant, (token, batch) in powers.items()
        for depth in DEPTHS
    ]
    found = GradientByDepth.quantities(DataFrame(rows))
    assert found["post_ln_slope"] == pytest.approx(0.05) and found["pre_ln_batch_slope"] == pytest.approx(-0.4)
    assert found["slope_difference"] == pytest.approx(0.55)


def collapse(power: float, blocks: int = 6, first: float = 0.9) -> list[float]:
    """Return distances that fall doubly exponentially, down to the rounding of float64."""
    return [max(first ** (power**block), 2e-16) for block in range(blocks + 1)]


@pytest.mark.parametrize("power", [2.0, 3.0])
def test_the_exponent_of_a_doubly_exponential_collapse_is_recovered(power: float) -> None:
    assert rank_collapse.least_exponent(collapse(power, blocks=9)) == pytest.approx(power)


def test_an_exponential_decay_has_exponents_near_one() -> None:
    exponent = rank_collapse.least_exponent([0.5**block for block in range(13)])
    assert exponent is not None and exponent < 1.2


def test_rounding_and_a_collapse_that_has_not_begun_give_no_exponent() -> None:
    assert rank_collapse.least_exponent([0.98, 0.31, 5e-6, 4e-16, 2e-16]) is None
    assert rank_collapse.least_exponent([0.9, 0.8, 0.7]) is None
    assert rank_collapse.least_exponent([0.2, 0.0, 0.0], rank_collapse.UNDERFLOW) is None
    found = rank_collapse.least_exponent([0.98, 0.31, 5e-6, 3e-21], rank_collapse.UNDERFLOW)
    assert found == pytest.approx(math.log(3e-21) / math.log(5e-6))


def test_collapse_is_told_apart_by_stack_and_start() -> None:
    courses = {
        ("big", "attention"): collapse(3),
        ("big", "post_ln"): [1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.04],
        ("big", "pre_ln"): [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        ("Small", "attention"): collapse(2),
    }
    rows = [
        {"start": start, "stack": stack, "block": block, "rank_one_distance": distance}
        for (start, stack), course in courses.items()
        for block, distance in enumerate(course)
    ]
    found = RankCollapse.quantities(DataFrame(rows))
    assert found["attention_after_4"] == pytest.approx(0.9**81)
    assert found["post_ln_after_6"] == 0.04
    assert found["post_ln_extra_contraction"] == pytest.approx(10)
    assert found["small_attention_after_4"] == pytest.approx(0.9**16)


def test_token_alignment_reads_the_last_block_of_the_right_depth() -> None:
    rows = [
        {"variant": variant, "layers": layers, "block": block, "token_cosine": block / 100 + number,
         "query_to_value_gradient": 10.0 ** -block}
        for number, variant in enumerate(("post_ln", "depth_scaled_post_ln"))
        for layers in (6, 24, 48)
        for block in range(1, layers + 1)
    ]  # fmt: skip
    found = TokenAlignment.quantities(DataFrame(rows))
    assert (
        found["post_ln_cosine"] == 0.24 and found["scaled_cosine"] == 1.24 and found["scaled_cosine_after_48"] == 1.48
    )
    assert found["post_ln_gradient_ratio"] == 1e-24 and found["scaled_first_gradient_ratio"] == 0.1


def test_the_largest_deviation_is_over_all_depths() -> None:
    rows = [
        {"variant": "rezero", "layers": layers, "median": 1.0, "largest_deviation": deviation}
        for layers, deviation in ((1, 0.0), (12, 0.3), (64, 0.1))
    ]
    found = JacobianIsometry.quantities(DataFrame(rows))
    assert found["rezero_largest_deviation"] == 0.3 and found["rezero_deviation_at_64"] == 0.1


def test_a_jacobian_that_is_not_finite_leaves_its_quantities_open() -> None:
    rows = [
        {"variant": "rezero", "layers": layers, "median": value, "largest_deviation": value}
        for layers, value in ((1, 0.5), (12, math.nan))
    ]
    found = JacobianIsometry.quantities(DataFrame(rows))
    assert found["rezero_largest_deviation"] is None and found["rezero_median_at_12"] is None
    assert found["rezero_deviation_at_1"] == 0.5


def test_variance_is_judged_at_the_first_start_and_depth() -> None:
    slopes = {("A", 4): 0.1, ("A", 8): 0.2, ("B", 4): 0.3}
    rows = [
        {"start": start, "variant": variant, "layers": layers, "block": block,
         "variance": block * (slope if variant == "layer_norm_scaling" else 1.0)}
        for (start, layers), slope in slopes.items()
        for variant in ("pre_ln", "layer_norm_scaling", "peri_ln")
        for block in range(layers + 1)
    ]  # fmt: skip
    found = StreamVariance.quantities(DataFrame(rows))
    assert found["scaling_to_pre_ln"] == pytest.approx(0.1) and found["scaling_to_pre_ln_at_8"] == pytest.approx(0.2)
    assert found["b_scaling_to_pre_ln"] == pytest.approx(0.3)
    assert found["peri_ln_linearity"] == pytest.approx(1)


def test_update_slopes_are_told_apart_by_variant_optimiser_and_parameters() -> None:
    powers = {("deepnorm", "sgd", "matrices"): 0.0, ("deepnorm", "adam", "norms"): 1.0, ("post_ln", "sgd", "all"): 1.4}
    rows = [
        {"variant": variant, "layers": depth, "optimizer": optimizer, "parameters": group, "logit_change": depth**power}
        for (variant, optimizer, group), power in powers.items()
        for depth in DEPTHS
    ]
    found = UpdateSize.quantities(DataFrame(rows))
    assert found == pytest.approx({f"{'_'.join(key)}_slope": power for key, power in powers.items()}, abs=1e-12)


def stability(post: list[float | None], pre: list[float | None]) -> DataFrame:
    """Return one seed's grid; ``None`` is a run that did not converge."""
    rows = [
        {"variant": variant, "learning_rate": rate, "beta2": 0.9, "converged": score is not None,
         "macro_f1": 0.1 if score is None else score}
        for variant, scores in (("post_ln", post), ("pre_ln", pre))
        for rate, score in enumerate(scores)
    ]  # fmt: skip
    return DataFrame(rows)


def test_stability_counts_lost_cells_and_wins_where_both_converge() -> None:
    found = AdamStability.quantities(stability([0.7, 0.8, 0.5, None], [0.6, 0.7, 0.6, 0.9]))
    assert found == {
        "post_ln_not_converged": 1,
        "pre_ln_not_converged": 0,
        "post_ln_share_of_wins": pytest.approx(2 / 3),
    }


def test_nothing_is_said_of_wins_where_no_cell_converges_in_both() -> None:
    found = AdamStability.quantities(stability([None, None], [0.5, 0.5]))
    assert found["post_ln_share_of_wins"] is None and np.isclose(found["post_ln_not_converged"], 2)
