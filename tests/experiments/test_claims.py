"""The claim files, the command, and what a wrong file or command is told."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from experiments.claims import corpus_of, main
from experiments.errors import ExperimentError
from experiments.evidence.claim import KINDS, Arm, Claim, check_arms, load_claims, parse_text
from experiments.evidence.measures import MEASURES
from experiments.evidence.published_table import contradictions
from experiments.evidence.records import needed
from experiments.paths import CLAIMS
from experiments.planning.grid import Grid
from experiments.planning.yaml_files import read_yaml


@cache
def grid_on(name: str, corpus: str) -> Grid:
    return Grid.load(name, {"data": {"corpus": corpus_of(name, corpus)}})


def test_the_articles_seven_claims_are_there_in_both_languages() -> None:
    claims = load_claims()
    own = [claim for claim in claims if claim.kind == "article"]
    assert [claim.number for claim in own] == list(range(1, 8))
    assert [claim.section for claim in own] == ["4.1.2"] * 3 + ["4.2.2"] * 3 + ["7.3.2"]
    assert [claim.number for claim in claims] == list(range(1, len(claims) + 1))
    assert [claim.kind for claim in claims] == sorted((claim.kind for claim in claims), key=KINDS.index)
    assert [claim.id for claim in claims if claim.arithmetic] == ["published_table"]
    for claim in claims:
        titles = [comparison.title for comparison in claim.comparisons]
        reasons = [claim.delta_reason] if claim.delta_reason else []
        for text in (claim.claim, claim.short, claim.measured, claim.scope, *reasons, *titles):
            assert set(text) == {"en", "zh"}
            assert not any("一" <= character <= "鿿" for character in text["en"])
            assert re.search(r"[一-鿿]|Post-LN|Pre-LN", text["zh"])


def test_every_claim_says_that_its_delta_is_ours_and_what_was_known() -> None:
    for claim in load_claims():
        if claim.delta_reason:
            assert "δ is ours" in claim.delta_reason["en"] and "δ 由我们定" in claim.delta_reason["zh"]
            assert claim.disclosure


def test_what_is_claimed_of_deep_networks_is_not_answered_at_six_layers() -> None:
    (claim,) = load_claims(["gradients"])
    assert "deep" in claim.claim["en"]
    depths = set()
    for comparison in claim.comparisons:
        for corpus in comparison.corpora:
            grid = grid_on(comparison.grid, corpus)
            layers = comparison.treatment.swept.get("model.layers") or grid.conditions[0].config.model.layers
            depths.add(layers)
    assert depths == {12, 24, 48}


@pytest.mark.parametrize("claim", load_claims(), ids=lambda claim: claim.id)
def test_every_comparison_names_what_its_grid_has(claim: Claim) -> None:
    for comparison in claim.comparisons:
        for corpus in comparison.corpora[:1] + comparison.corpora[-1:]:
            grid = grid_on(comparison.grid, corpus)
            assert grid.corpus == corpus
            check_arms(claim, comparison, grid)
            if comparison.metric in ("steps_to_target", "gap_at_common_train_f1"):
                assert grid.conditions[-1].baseline
                assert all(condition.config.trainer.track_train_metrics for condition in grid.conditions)


def test_the_folder_of_claims_does_not_hide_the_command_of_the_same_name() -> None:
    assert CLAIMS.is_dir() and not (CLAIMS / "__init__.py").exists()
    assert importlib.import_module("experiments.claims").__file__ == str(CLAIMS.with_suffix(".py"))


def changed(name: str = "also_tested/starts", **changes: Any) -> dict[str, Any]:
    content = {**read_yaml(CLAIMS / f"{name}.yaml"), **changes}
    return {key: value for key, value in content.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metrik": "macro_f1"}, "'metric'"),
        ({"metric": "makro_f1"}, "'macro_f1'"),
        ({"grid": "initialization"}, "'initialisation'"),
        ({"direction": "hihger"}, "'higher'"),
        ({"delta": 0}, "positive number"),
        ({"delta": None}, "delta is missing"),
        ({"delta_reason": None}, "delta_reason is missing"),
        ({"scope": None}, "scope is missing"),
        ({"corpora": []}, "names no corpora"),
        ({"corpora": ["lisstops"]}, "'listops'"),
        ({"number": "x"}, "number holds 'x'"),
        ({"claim": {"en": "Only in English."}}, "each of: en, zh"),
        (
            {"treatment": {"conditon": "pre_ln"}, "comparisons": [{"id": "a", "title": {"en": "a", "zh": "一"}}]},
            "'condition'",
        ),
        (
            {"treatment": {"condition": "a"}, "comparisons": [{"id": "a", "title": {"en": "a", "zh": "一"}}]},
            "lead: true",
        ),
        ({"comparisons": None}, "comparisons or arithmetic"),
        ({"arithmetic": True}, "comparisons or arithmetic"),
    ],
    ids=str,
)
def test_a_wrong_claim_gets_one_line_with_the_nearest_choice(changes: dict[str, Any], expected: str) -> None:
    if "treatment" in changes:
        changes = {**changes, "control": {"condition": "plain"}}
    with pytest.raises(ExperimentError) as refused:
        Claim.parse("also_tested", "own", changed(**changes))
    assert expected in str(refused.value) and "\n" not in str(refused.value)


def test_a_condition_or_a_swept_value_that_the_grid_lacks_is_refused() -> None:
    (claim,) = load_claims(["stable_training"])
    comparison, grid = replace(claim.comparisons[0], metric="macro_f1"), grid_on("stability", "docstrings")
    for side, message in (
        (Arm(condition="post_nl"), "'post_ln'"),
        (Arm(condition="post_ln", swept={"model.learning_rate": 0.5}), r"model\.learning_rate 0\.5, only 0\.0003"),
        (Arm(condition="post_ln", swept={"model.learning_rat": 1e-3}), r"model\.learning_rate"),
        (Arm(condition="post_ln"), r"6 runs a seed, but macro_f1 is measured on one"),
    ):
        with pytest.raises(ExperimentError, match=message):
            check_arms(claim, replace(comparison, treatment=side), grid)
    check_arms(claim, claim.comparisons[0], grid)  # shares of runs may leave swept values open


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["report", "convergance"], "'convergence'"),
        (["report", "--corpora", "[docstring]"], "'docstrings'"),
        (["judge"], "judge"),
        (["report", "--corpus", "docstrings"], "--corpora"),
    ],
)
def test_a_wrong_command_gets_one_line(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--results", str(tmp_path)])
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and expected in message and message.count("\n") == 1


def test_the_grids_that_claims_need_come_once_each() -> None:
    pairs = needed(load_claims())
    named = {(each.grid, corpus) for claim in load_claims() for each in claim.comparisons for corpus in each.corpora}
    assert len(pairs) == len(set(pairs)) and set(pairs) == named
    assert needed(load_claims(["convergence"]), ["trec"]) == [("claims", "trec")]
    assert corpus_of("claims", "ag_news") == "fancyzhx/ag_news"
    assert corpus_of("claims", "docstrings") == "docstrings"


def test_a_report_without_any_run_says_so_and_loads_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from experiments.claims import main; "
        f"main(['report', '--results', {str(tmp_path)!r}]); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "local" / "claims" / "README.md").read_text(encoding="utf-8")
    leads = [each for claim in load_claims() for each in claim.comparisons if each.lead and claim.kind == "article"]
    assert sum("not yet run" in line for line in text.splitlines() if line.startswith("|")) == len(leads)
    (line,) = [line for line in text.splitlines() if line.startswith("- The published table")]
    assert "no classifier" in line


def test_effects_are_printed_for_the_claims_and_corpora_that_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    main(["report", "overfitting", "published_table", "--corpora", "[trec]", "--results", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.count("trec") == 3 and "docstrings" not in printed
    assert all(found.sentences["en"] in " ".join(printed.split()) for found in contradictions())


def test_chinese_texts_have_no_space_where_lines_of_a_file_were_joined() -> None:
    text = "六层。 “没有余地” 在 ag_news 上\n且 每次。 δ 未变"
    assert parse_text("here", {"en": "one two", "zh": text})["zh"] == "六层。“没有余地”在 ag_news 上且每次。δ 未变"
    spaced = re.compile(r"[\u4e00-\u9fff，。；：] [\u4e00-\u9fff“]")
    for claim in load_claims():
        texts = [claim.claim, claim.measured, claim.scope, claim.delta_reason or {}, claim.disclosure or {}]
        assert [text["zh"] for text in texts if text and spaced.search(text["zh"])] == []


def test_every_measure_is_one_that_a_claim_asks_for() -> None:
    assert {each.metric for claim in load_claims() for each in claim.comparisons} == set(MEASURES)
