"""The claim files, and what a wrong one is told."""

from __future__ import annotations

import csv
import importlib
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from experiments.claims import corpus_of, main, needed
from experiments.errors import ExperimentError
from experiments.evidence.claim import Arm, Claim, check_arms, load_claims, parse_text
from experiments.evidence.judge import labels
from experiments.evidence.published_table import contradictions
from experiments.paths import CLAIMS
from experiments.planning.grid import Grid
from experiments.planning.yaml_files import read_yaml

CONFIRMATORY = {"docstrings", "ag_news", "listops"}
BOTH = {"en": "one", "zh": "一"}
REPLICATIONS = {"sst5", "trec", "tweeteval_emotion", "thucnews10"}


@cache
def grid_on(name: str, corpus: str) -> Grid:
    return Grid.load(name, {"data": {"corpus": corpus_of(name, corpus)}})


def test_all_twelve_claims_are_there_in_both_languages() -> None:
    claims = load_claims()
    assert sorted({claim.number for claim in claims}) == list(range(1, 13))
    assert [claim.number for claim in claims] == sorted(claim.number for claim in claims)
    for claim in claims:
        for text in (
            claim.claim,
            claim.short,
            claim.delta_reason,
            claim.refuted_by,
            *(part.title for part in claim.parts),
        ):
            assert set(text) == {"en", "zh"}
            assert not any("一" <= character <= "鿿" for character in text["en"])
            assert any("一" <= character <= "鿿" for character in text["zh"])
    assert [claim.id for claim in claims if claim.arithmetic] == ["published_table"]


def test_every_part_names_what_its_grid_has_with_enough_seeds_on_every_corpus() -> None:
    for claim in load_claims():
        for part in claim.parts:
            assert set(part.corpora) <= CONFIRMATORY
            beside = CONFIRMATORY - set(part.corpora) if part.metric == "gap_at_common_train_f1" else set()
            without = {"thucnews10"} if part.metric == "rare_class_lead" else set()  # its classes are of equal size
            assert set(part.replications) == (REPLICATIONS | beside) - without
            for corpus in (*part.corpora, *part.replications):
                grid = grid_on(part.grid, corpus)
                assert grid.corpus == corpus
                assert len(grid.seeds) >= (10 if corpus in CONFIRMATORY else 5)
                check_arms(claim, part, grid)


def test_measures_that_need_a_target_have_the_tfidf_baseline() -> None:
    for claim in load_claims():
        for part in claim.parts:
            if part.metric in ("steps_to_target", "gap_at_common_train_f1"):
                grid = grid_on(part.grid, "docstrings")
                assert grid.conditions[-1].baseline
                assert all(condition.config.trainer.track_train_metrics for condition in grid.conditions)


def test_the_folder_of_claims_does_not_hide_the_command_of_the_same_name() -> None:
    assert CLAIMS.is_dir() and not (CLAIMS / "__init__.py").exists()
    assert importlib.import_module("experiments.claims").__file__ == str(CLAIMS.with_suffix(".py"))


def changed(name: str = "xavier_start", **changes: Any) -> dict[str, Any]:
    content = {**read_yaml(CLAIMS / f"{name}.yaml"), **changes}
    return {key: value for key, value in content.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metrik": "macro_f1"}, "'metric'"),
        ({"metric": "makro_f1"}, "'macro_f1'"),
        ({"shown": ["acuracy"]}, "'accuracy'"),
        ({"grid": "initialization"}, "'initialisation'"),
        ({"direction": "hihger"}, "'higher'"),
        ({"test": "paired"}, "'paired_t'"),
        ({"test": "censored_ratio"}, "use paired_t"),
        ({"delta": 0}, "positive number"),
        ({"delta": None}, "delta is missing"),
        ({"family": None}, "family is missing"),
        ({"corpora": []}, "names no corpora"),
        ({"corpora": ["lisstops"]}, "'listops'"),
        ({"number": "x"}, "number holds 'x'"),
        ({"claim": {"en": "Only in English."}}, "each of: en, zh"),
        (
            {"treatment": {"conditon": "pre_ln"}, "parts": [{"id": "a", "title": {"en": "a", "zh": "一"}}]},
            "'condition'",
        ),
        ({"parts": None}, "parts or arithmetic"),
        ({"arithmetic": True}, "parts or arithmetic"),
    ],
    ids=str,
)
def test_a_wrong_claim_gets_one_line_with_the_nearest_choice(changes: dict[str, Any], expected: str) -> None:
    if "treatment" in changes:
        changes = {**changes, "control": {"condition": "plain"}}
    with pytest.raises(ExperimentError) as refused:
        Claim.parse("own", changed(**changes))
    assert expected in str(refused.value) and "\n" not in str(refused.value)


def test_a_condition_or_a_swept_value_that_the_grid_lacks_is_refused() -> None:
    claim = load_claims(["residual_gradients"])[0]
    part, grid = claim.parts[0], grid_on("stability", "docstrings")
    for side, message in (
        (Arm(condition="post_nl"), "'post_ln'"),
        (Arm(condition="post_ln", swept={"model.learning_rate": 0.5}), r"model\.learning_rate 0\.5, only 0\.0003"),
        (Arm(condition="post_ln", swept={"model.learning_rat": 1e-3}), r"model\.learning_rate"),
        (Arm(condition="post_ln"), r"6 runs a seed, but gradient_imbalance_at_start is measured on one"),
    ):
        with pytest.raises(ExperimentError, match=message):
            check_arms(claim, replace(part, treatment=side), grid)


def test_shares_of_runs_may_leave_swept_values_open_but_nothing_shown_beside_may() -> None:
    (claim,) = load_claims(["norm_stability"])
    part = next(part for part in claim.parts if part.metric == "failure_share")
    check_arms(claim, part, grid_on("stability", "docstrings"))
    with pytest.raises(ExperimentError, match="pathological_gradient_share is measured on one"):
        check_arms(claim, replace(part, shown=("pathological_gradient_share",)), grid_on("stability", "docstrings"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["report", "residual_convergance"], "'residual_convergence'"),
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


def test_the_grids_that_claims_need_come_once_each_confirmatory_ones_first() -> None:
    pairs = needed(load_claims())
    grids = {part.grid for claim in load_claims() for part in claim.parts}
    assert len(pairs) == len(set(pairs)) == len(grids) * (3 + 4)
    assert {corpus for _, corpus in pairs[: 3 * len(grids)]} == CONFIRMATORY
    assert needed(load_claims(["residual_convergence"]), ["trec"]) == [("claims", "trec")]
    assert corpus_of("claims", "ag_news") == "fancyzhx/ag_news"
    assert corpus_of("claims", "docstrings") == "docstrings"


def test_a_report_without_any_run_says_so_and_loads_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from experiments.claims import main; "
        f"main(['report', '--results', {str(tmp_path)!r}]); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*.csv")) == ["claims.csv", "effects.csv"]
    with (tmp_path / "local" / "verdicts" / "claims.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    verdicts = {row["claim"]: row["verdict"] for row in rows}
    for claim in load_claims():
        assert verdicts[claim.claim["en"]] == ("refuted" if claim.arithmetic else "not run")


def test_what_arithmetic_finds_in_the_articles_table_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["report", "published_table", "--results", str(tmp_path)])
    printed = " ".join(capsys.readouterr().out.split())
    assert all(found.sentence in printed for found in contradictions())


def test_every_part_and_corpus_of_a_claim_is_printed_whole_on_a_narrow_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    only = ["more_data", "norm_stability", "--corpora", "[tweeteval_emotion,listops]"]
    main(["report", *only, "--results", str(tmp_path)])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "…" not in "".join(lines) and max(map(len, lines)) <= 80
    for claim in load_claims(["more_data", "norm_stability"]):
        start = next(place for place, line in enumerate(lines) if line.endswith(f" {claim.id}"))
        below = lines[start : lines.index("", start) if "" in lines[start:] else None]
        for part in claim.parts:
            assert (f" {part.id}" in below) == ("listops" in part.corpora)
            assert f" {part.id}, replications" in below
    assert sum(line.split()[:1] == ["tweeteval_emotion"] for line in lines) == 5 + 10


def test_chinese_texts_have_no_space_where_lines_of_a_file_were_joined() -> None:
    text = "六层。 “没有余地” 在 ag_news 上\n且 每次。 δ 未变"
    assert parse_text("here", {"en": "one two", "zh": text})["zh"] == "六层。“没有余地”在 ag_news 上且每次。δ 未变"
    spaced = re.compile(r"[\u4e00-\u9fff，。；：] [\u4e00-\u9fff“]")
    for claim in load_claims():
        texts = [claim.claim, claim.refuted_by, claim.delta_reason, claim.scope or BOTH, claim.disclosure or BOTH]
        assert [text["zh"] for text in texts if spaced.search(text["zh"])] == []


def test_disclosures_that_name_another_claim_name_the_one_of_the_same_grid() -> None:
    claims = load_claims()
    by_label = dict(zip(labels(claims), claims, strict=True))
    for claim in claims:
        for label in re.findall(r"[Cc]laim (\d+[a-z]?)", claim.disclosure["en"] if claim.disclosure else ""):
            assert {part.grid for part in by_label[label].parts} == {part.grid for part in claim.parts}
            assert by_label[label].disclosure
