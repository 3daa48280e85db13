"""A grid over all its corpora: which effects are pooled, what the page says, and that its numbers are the reports'."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats
from synthetic_records import evidence_of, make_record

from experiments.errors import RecordError
from experiments.reporting.across import (
    Across,
    compare_across,
    compose_across,
    exact_table,
    heat_map,
    pooled_table,
    sentences,
    write_across,
)
from experiments.reporting.frame import Description
from experiments.reporting.render import to_csv
from experiments.runs.record import Record
from experiments.runs.store import Evidence

DESCRIPTION = Description(arguments="toy", title="A toy grid", conditions=("post_ln", "pre_ln", "no_residual"))
SCORES = {"post_ln": (0.70, 0.71, 0.72), "no_residual": (0.60, 0.63, 0.61), "pre_ln": (0.70, 0.72, 0.72)}


def with_score(record: Record, corpus: str, score: float) -> Record:
    assert record.test is not None
    test = replace(record.test, metrics={**record.test.metrics, "macro_f1": score})
    trained = replace(record.outcome, status="trained")
    return replace(record, corpus=corpus, scores={**record.scores, "test": test}, outcome=trained)


def evidence(*corpora: str, shift: float = 0.0) -> dict[str, Evidence]:
    """Return evidence of three conditions on each corpus; skips gain 0.01 more on every further one."""
    found = {}
    for place, corpus in enumerate(corpora):
        records = [
            with_score(make_record(condition, seed), corpus, score + place * (0.01 + shift) * (condition == "post_ln"))
            for condition, scores in SCORES.items()
            for seed, score in enumerate(scores)
        ]
        found[corpus] = evidence_of(*records)
    return found


def effect_named(across: Across, difference: str) -> dict[str, str]:
    """Return the mean by place of an effect."""
    rows = csv.DictReader(io.StringIO(to_csv(exact_table(across))))
    return {row["where"]: row["mean"] for row in rows if row["difference"] == difference}


def test_natural_corpora_are_pooled_and_made_expressions_are_shown_beside_them() -> None:
    across = compare_across(evidence("ag_news", "listops", "trec", "docstrings", "thucnews10"), DESCRIPTION)
    assert across.corpora == ["ag_news", "docstrings", "thucnews10", "trec", "listops"]
    skips = next(effect for effect in across.effects if effect.what == "skips, norms after the add")
    assert skips.pooled is not None and list(skips.pooled.effects) == ["ag_news", "docstrings", "thucnews10", "trec"]
    gains = {corpus: each.estimate.mean for corpus, each in skips.by_corpus.items() if each.estimate}
    assert gains == pytest.approx(
        {"ag_news": 0.29 / 3, "listops": 0.29 / 3 + 0.01, "trec": 0.29 / 3 + 0.02, "docstrings": 0.29 / 3 + 0.03}
        | {"thucnews10": 0.29 / 3 + 0.04}
    )
    assert skips.word == "helps"
    found = effect_named(across, skips.difference)
    assert list(found) == ["ag_news", "docstrings", "thucnews10", "trec", "listops", "pooled", "new corpus"]
    estimate = skips.by_corpus["trec"].estimate
    assert estimate is not None
    ends = estimate.interval()
    assert ends is not None
    low, high = ends
    differences = [
        first - second + 0.02 for first, second in zip(SCORES["post_ln"], SCORES["no_residual"], strict=True)
    ]
    oracle = stats.ttest_1samp(differences, 0).confidence_interval()
    assert (low, high) == pytest.approx((oracle.low, oracle.high))


def test_three_corpora_get_a_pooled_effect_and_no_word() -> None:
    across = compare_across(evidence("ag_news", "trec", "thucnews10"), DESCRIPTION)
    table = pooled_table(across, 0.01)
    assert {row[6] for row in table.rows} == {"none: 3 sources"}
    assert sentences(across)[0].endswith("over 3 sources: too few for a word.")


def test_corpora_of_the_same_texts_count_once_and_the_page_says_so() -> None:
    across = compare_across(evidence("sst2", "sst5", "trec", "ag_news", "thucnews10"), DESCRIPTION)
    skips = across.effects[0]
    assert skips.pooled is not None and skips.pooled.count == 4
    page = compose_across(across, DESCRIPTION, with_picture=False)
    assert "sst2 and sst5 are made of the same texts and count as one source." in page
    alone = compose_across(compare_across(evidence("sst5", "trec"), DESCRIPTION), DESCRIPTION, with_picture=False)
    assert "same texts" not in alone


def test_a_corpus_on_which_runs_failed_is_shown_and_not_pooled() -> None:
    given = evidence("ag_news", "trec", "thucnews10", "docstrings", "sst5")
    for record in given["trec"].records:
        if record.condition == "no_residual" and record.seed == 0:
            record.outcome.status = "collapsed"
    skips = compare_across(given, DESCRIPTION).effects[0]
    assert skips.by_corpus["trec"].said == "trained 3 of 3 against 2 of 3"
    assert skips.pooled is not None and "trec" not in skips.pooled.effects and skips.pooled.count == 4


def test_a_comparison_that_one_corpus_lacks_is_made_on_the_others() -> None:
    given = evidence("ag_news", "trec", "thucnews10")
    given["trec"] = evidence_of(*(r for r in given["trec"].records if r.condition != "no_residual"))
    skips = compare_across(given, DESCRIPTION).effects[0]
    assert list(skips.by_corpus) == ["ag_news", "thucnews10"]


def test_no_corpus_has_nothing_to_say() -> None:
    with pytest.raises(RecordError, match="no finished final run"):
        compare_across({}, DESCRIPTION)
    one = compare_across(evidence("ag_news"), DESCRIPTION)
    assert sentences(one) == [
        "No effect can be pooled: it needs two corpora of natural text on which all runs trained."
    ]


def test_the_page_is_written_with_its_numbers_and_on_request_its_picture(tmp_path: Path) -> None:
    given = evidence("ag_news", "trec", "thucnews10", "listops")
    assert [path.name for path in write_across(given, tmp_path / "few", DESCRIPTION)] == ["across.md", "across.csv"]
    again = write_across(given, tmp_path / "all", DESCRIPTION, everything=True)
    assert [path.name for path in again] == ["across.md", "across.csv", "across.png"]
    page = (tmp_path / "all" / "across.md").read_text()
    assert "](across.png)" in page and "](across.png)" not in (tmp_path / "few" / "across.md").read_text()
    assert (tmp_path / "all" / "across.csv").read_bytes() == (tmp_path / "few" / "across.csv").read_bytes()
    prose = [line.lstrip("- ") for line in page.splitlines() if line and line[0] not in "|#![`"]
    said = [sentence for line in prose for sentence in re.split(r"(?<=[.!?])\s", line)]
    assert [sentence for sentence in said if len(sentence.split()) > 25] == []


def test_the_picture_has_a_cell_for_every_effect_and_corpus() -> None:
    across = compare_across(evidence("ag_news", "trec", "thucnews10", "docstrings"), DESCRIPTION)
    picture = heat_map(across, 0.01)
    (axes, _) = picture.figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [*across.corpora, "pooled"]
    assert len(axes.texts) == 5 * len(across.effects)
    assert axes.texts[0].get_text() == "9.7"
    assert "\n" not in picture.title
