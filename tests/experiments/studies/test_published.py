"""Claim files parse, name parts that exist, and answer a mistake with one line."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.errors import ExperimentError
from experiments.paths import PUBLISHED_CLAIMS
from experiments.planning.grid import Grid
from experiments.planning.yaml_files import read_yaml
from experiments.studies.published import STUDIES, PublishedResult, load_results, read_result
from experiments.studies.study import StudyAtStart
from experiments.studies.t5_adam_stability import AdamStability

FILES = {read_result(path).id: path for path in PUBLISHED_CLAIMS.iterdir()}
CLAIMS = {published.id: published for published in load_results()}


def changed(tmp_path: Path, name: str, **changes: Any) -> PublishedResult:
    """Read a committed claim file with values changed, by dotted names; ``None`` takes a key out."""
    content = deepcopy(read_yaml(FILES[name]))
    for dotted, value in changes.items():
        *sections, last = dotted.split("__")
        target = content
        for section in sections:
            target = target[section]
        if value is None:
            del target[last]
        else:
            target[last] = value
    path = tmp_path / FILES[name].name
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return read_result(path)


def test_the_results_of_the_issue_have_claims() -> None:
    assert list(CLAIMS) == ["T1", "T2", "T3", "T4a", "T5", "T7a", "T10"]


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_is_measured_by_the_study_that_it_names(claim: PublishedResult) -> None:
    assert type(claim.setup) is STUDIES[claim.measurement]
    assert len(claim.seeds) >= 3 if isinstance(claim.setup, StudyAtStart) else not claim.seeds
    assert claim.claim.en.endswith(".") and claim.claim.zh.endswith("。")
    assert claim.rule.reproduced and claim.refuted_by and claim.differs


def test_the_stability_claim_names_a_grid_of_fifteen_cells_and_both_variants() -> None:
    setup = CLAIMS["T5"].setup
    assert isinstance(setup, AdamStability)
    grid = Grid.load(setup.grid)
    cells = {tuple(sorted(condition.swept.items())) for condition in grid.conditions}
    assert {condition.name for condition in grid.conditions} == set(setup.variants)
    assert len(cells) == 15


def test_thresholds_and_sentences_do_not_decide_what_is_measured_but_the_setup_does(tmp_path: Path) -> None:
    original = CLAIMS["T4a"]
    other_rule = changed(tmp_path, "T4a", title="Another title", rule__reproduced=[
        {"says": "nothing", "quantity": "rezero_largest_deviation", "below": 1.0}])  # fmt: skip
    assert other_rule.hash() == changed(tmp_path, "T4a", setup__seeds=9).hash() == original.hash()
    assert changed(tmp_path, "T4a", setup__length=9).hash() != original.hash()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"titel": "x"}, "field titel is not known; did you mean 'title'?"),
        ({"setup__lenght": 3}, "field setup.lenght is not known; did you mean 'length'?"),
        ({"setup__start__widht": 3}, "field setup.start.widht is not known; did you mean 'width'?"),
        ({"setup__start__heads": 3}, "the nearest that does is"),
        ({"rule__reprduced": []}, "field rule.reprduced is not known; did you mean 'reproduced'?"),
        ({"paper__arxiv": None}, "paper.arxiv is missing"),
        ({"measurement": "jacobian_isometri"}, "measurement 'jacobian_isometri' is not known"),
        ({"setup__variants": ["rezeru"]}, "did you mean 'rezero'?"),
        ({"setup__seeds": 2}, "setup.seeds is 2; a measurement needs at least 3"),
        ({"setup__rows": "many"}, "setup.rows holds 'many'"),
        ({"kind": "article"}, "kind must be 'reproduction'"),
        ({"rule__reproduced": [{"says": "x", "quantity": "y"}]}, "has no bound"),
        ({"rule__reproduced": []}, "rule.reproduced names no criterion"),
        ({"rule__reproduced": [{"says": "x", "quantity": "y", "bellow": 1}]}, "did you mean 'below'?"),
    ],
)
def test_a_mistake_in_a_claim_file_is_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError) as error:
        changed(tmp_path, "T4a", **changes)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith("T4a_")


def test_every_study_has_a_claim() -> None:
    assert {claim.measurement for claim in CLAIMS.values()} == set(STUDIES)


def test_a_claim_is_found_by_its_id_whatever_its_files_name_and_two_of_one_id_are_refused(tmp_path: Path) -> None:
    for name, copy in (("T10", "a"), ("T2", "b")):
        (tmp_path / f"{copy}.yaml").write_bytes(FILES[name].read_bytes())
    assert [claim.id for claim in load_results(folder=tmp_path)] == ["T2", "T10"]
    (tmp_path / "c.yaml").write_bytes(FILES["T2"].read_bytes())
    with pytest.raises(ExperimentError, match="the id T2 belongs to another claim file too"):
        load_results(folder=tmp_path)


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(ExperimentError, match="claim 'T4' is not known; did you mean 'T4a'"):
        load_results(["T4"])
