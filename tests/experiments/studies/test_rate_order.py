"""A published order of rates is judged from the map, and planned results are checked files."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.errors import ExperimentError
from experiments.studies.published import Reproduction
from experiments.studies.rate_edges import Edge, RateQuestion
from experiments.studies.rate_order import PLANNED, check_ratios, read_planned, verdict_of

SETUP = RateQuestion.read().setup
T6 = read_planned()[0]
AS_PUBLISHED = {"post_ln": 0, "deepnorm": 0, "hybrid_norm": 1, "mix_ln": 2, "pre_ln": 5, "keel": 5}


def verdict(powers: dict[str, int | None]) -> Reproduction:
    edges = {(scheme, 24): Edge(None, power) for scheme, power in powers.items()}
    return verdict_of(check_ratios(SETUP, T6.ratios, edges, 24))


def test_the_published_order_is_reproduced_and_its_reverse_is_not() -> None:
    assert verdict(AS_PUBLISHED) == "reproduced"
    assert verdict({**AS_PUBLISHED, "keel": 2}) == "not reproduced"  # an eighth of Pre-LN's


def test_an_edge_within_a_factor_of_two_each_is_inconclusive() -> None:
    assert verdict({**AS_PUBLISHED, "keel": 4}) == "inconclusive"
    assert verdict({**AS_PUBLISHED, "post_ln": 2, "deepnorm": 2, "hybrid_norm": 2}) == "inconclusive"  # 8 instead of 10


def test_a_scheme_that_survived_nothing_gives_a_bound() -> None:
    assert verdict({**AS_PUBLISHED, "post_ln": None}) == "reproduced"
    assert verdict({**AS_PUBLISHED, "keel": None}) == "not reproduced"
    assert verdict({**AS_PUBLISHED, "post_ln": None, "deepnorm": None}) == "inconclusive"


def test_nothing_is_judged_while_a_scheme_is_not_measured() -> None:
    assert verdict({name: 3 for name in AS_PUBLISHED if name != "keel"}) == "not run"


def test_every_planned_result_says_its_rule_and_its_price() -> None:
    planned = read_planned()
    assert [result.id for result in planned] == ["T6", "T8", "T9", "T13", "T18"]
    assert all(result.price and result.reproduced and result.not_reproduced for result in planned)
    assert all(result.conditions or result.ratios for result in planned)


def test_a_mistake_in_a_planned_result_names_file_and_field(tmp_path: Path) -> None:
    text = next(PLANNED.glob("T6*.yaml")).read_text(encoding="utf-8")
    (tmp_path / "T6.yaml").write_text(text.replace("over: keel", "over: kel"), encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"T6\.yaml: .*did you mean 'keel'"):
        read_planned(tmp_path)
