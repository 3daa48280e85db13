"""The committed pages of claims: both languages say the same, in plain sentences, and what a name holds is escaped."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.evidence.claim import load_claims
from experiments.evidence.claim_pages import OVERVIEW, Pages, write_pages
from experiments.evidence.claim_tables import EFFECT_COLUMNS, EFFECTS
from experiments.evidence.claim_words import Spoken, cell, survived
from experiments.evidence.effects import AnsweredComparison, MeasuredEffect, answer_comparison, seeds_estimate
from experiments.evidence.records import AnsweredClaims
from experiments.paths import REPOSITORY
from experiments.statistics.words import Endings
from tests.experiments.synthetic_records import make_record, rows_of
from tests.experiments.test_claim_effects import DIFFERENCES, collapsed, comparison, ended, scored
from tests.test_docs import CLUMSY, LONGEST_SENTENCE, sentences

FOLDER = REPOSITORY / "results" / "claims"
ENGLISH = sorted(path for path in FOLDER.glob("*.md") if ".zh-CN" not in path.name and path.name != "across.md")


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_there_is_a_page_for_each_claim_of_the_article_and_one_for_the_rest() -> None:
    own = {claim.id for claim in load_claims() if claim.kind == "article"}
    assert {path.stem for path in ENGLISH} == own | {OVERVIEW, "also_tested", "errors", "lost"}


@pytest.mark.parametrize("page", ENGLISH, ids=lambda page: page.stem)
def test_chinese_pages_have_the_numbers_and_links_of_the_english_ones(page: Path) -> None:
    chinese = page.with_name(f"{page.stem}.zh-CN.md")
    counts = []
    for text in (page.read_text(encoding="utf-8"), chinese.read_text(encoding="utf-8")):
        targets = [target.replace(".zh-CN", "") for target in re.findall(r"\]\(([^)\s]+)\)", text)]
        counts.append((Counter(targets), Counter(re.findall(r"−?\d+\.\d+", text)), text.count("|")))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("page", ENGLISH, ids=lambda page: page.stem)
def test_sentences_of_the_pages_are_short_and_plain(page: Path) -> None:
    for sentence in sentences(page.read_text(encoding="utf-8")):
        if "](" in sentence or ";" in sentence or re.search(r"\d,\d{3}", sentence):
            continue  # lists of numbers
        assert len(sentence.split()) <= LONGEST_SENTENCE, sentence
        for phrase in CLUMSY:
            assert not re.search(rf"\b{phrase}\b", sentence, re.IGNORECASE), sentence


def test_the_overview_fits_one_screen() -> None:
    lines = (FOLDER / f"{OVERVIEW}.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 50
    claims = [claim for claim in load_claims() if claim.kind == "article"]
    assert sum(line.startswith("|") for line in lines) == 2 + sum(
        each.lead for claim in claims for each in claim.comparisons
    )


def test_every_estimate_of_the_overview_is_in_the_table_that_it_links_to() -> None:
    table = {(row["claim"], row["comparison"], row["where"]): row for row in table_of(FOLDER / EFFECTS)}
    text = (FOLDER / f"{OVERVIEW}.md").read_text(encoding="utf-8")
    (claim,) = load_claims(["generalisation"])
    row = table["generalisation", next(each.id for each in claim.comparisons if each.lead), "pooled"]
    shown = f"{float(row['mean']):.3f} ({float(row['low']):.3f} to {float(row['high']):.3f})"
    assert f"[{shown} ({row['sources']} corpora, pooled)]({EFFECTS})" in text
    assert row["word"] == "helps" and float(row["power_5"]) > float(row["power_1"])
    sources = {row["where"]: row["sources"] for row in table.values() if row["claim"] == "more_data"}
    assert sources["pooled"] == sources["new corpus"]


def pages_of(*comparisons: AnsweredComparison) -> tuple[Pages, AnsweredClaims]:
    claims = load_claims(["generalisation"])
    answers = AnsweredClaims({"generalisation": list(comparisons)}, {})
    return Pages(claims, answers, lambda grid, corpus: f"../{grid}/{corpus}/report.md", "make pages"), answers


def test_a_page_and_its_table_say_what_was_measured_and_what_is_not_yet_run(tmp_path: Path) -> None:
    corpora = ("docstrings", "ag_news", "trec", "sst5", "listops")
    done = answer_comparison(comparison(corpora=corpora), {corpus: scored() for corpus in corpora[:4]})
    waiting = answer_comparison(comparison(id="waiting", lead=False), {})
    pages, _ = pages_of(done, waiting)
    written = write_pages(pages, tmp_path)
    assert {path.name for path in written} >= {
        "README.md",
        "README.zh-CN.md",
        "generalisation.md",
        EFFECTS,
        "effects.png",
    }
    text = (tmp_path / "generalisation.md").read_text(encoding="utf-8")
    # Four sources of equal effects and errors: a mean with half of one's error, and t with three degrees.
    mean, margin = np.mean(DIFFERENCES), stats.t.ppf(0.975, 3) * stats.sem(DIFFERENCES) / 2
    shown = f"{mean:.3f} ({mean - margin:.3f} to {mean + margin:.3f})"
    assert f"[{shown} (4 corpora, pooled)](effects.csv): **helps**" in text
    assert "not yet run" in text and "`make pages`" in text and "../claims/docstrings/report.md" in text
    rows = table_of(tmp_path / EFFECTS)
    assert list(rows[0]) == EFFECT_COLUMNS and all(None not in row for row in rows)
    by_place = {(row["comparison"], row["where"]): row for row in rows}
    assert by_place["with", "listops"]["word"] == by_place["waiting", "docstrings"]["word"] == "not yet run"
    assert by_place["with", "docstrings"]["treatment_trained"] == "4 of 4"
    assert (by_place["with", "pooled"]["sources"], by_place["with", "pooled"]["word"]) == ("4", "helps")


def test_failures_are_said_in_both_languages_without_an_estimate() -> None:
    records = [make_record("post_ln", seed) for seed in range(4)]
    records += [make_record("no_norm", seed) for seed in range(3)] + [collapsed("no_norm", 3)]
    answered = answer_comparison(comparison(), {"docstrings": rows_of(*records)})
    effect = answered.by_corpus["docstrings"]
    assert cell(answered, effect, "en") == Spoken(answered, "en").word == "trained 4 of 4 against 3 of 4"
    assert cell(answered, effect, "zh") == "训练成功 4/4 对 3/4"
    assert Spoken(answered, "en").estimate == "–"


def test_names_of_classes_are_escaped() -> None:
    from experiments.evidence.effects import WeakestEffect

    components = {name: seeds_estimate([0.1, 0.2, 0.3]) for name in ("<b>|x](y) recall", "other recall")}
    effect = WeakestEffect({name: each for name, each in components.items() if each is not None})
    made = MeasuredEffect("docstrings", (), "helps", effect, 3, trained=(Endings(3, 3), Endings(3, 3)))
    shown = cell(answer_comparison(comparison(), {}), made, "en")
    assert "<b>" not in shown and "|x" not in shown.replace("\\|x", "") and "](" not in shown.replace("\\](", "")


def test_no_gradient_of_dead_networks_goes_unmarked() -> None:
    rows = rows_of(*(collapsed(name, seed) for name in ("post_ln", "no_norm") for seed in range(4)))
    training = comparison(metric="gradient_imbalance_in_training", direction="lower")
    answered = answer_comparison(training, {"docstrings": rows})
    assert cell(answered, answered.by_corpus["docstrings"], "en").endswith("†")
    start = answer_comparison(comparison(metric="gradient_imbalance_at_start", direction="lower"), {"docstrings": rows})
    assert "†" not in cell(start, start.by_corpus["docstrings"], "en"), "an untrained network is neither"


def test_the_largest_rate_survived_is_the_last_before_any_failure() -> None:
    from dataclasses import replace

    def at(rate: float, failed: bool) -> list:
        record = ended("post_ln", 0, 1.0, failed)
        return rows_of(replace(record, swept={"model.learning_rate": rate}))

    assert survived([*at(0.001, False), *at(0.003, False), *at(0.01, True), *at(0.03, False)], "en") == (
        "0.003 (next tried: 0.01)"
    )
    assert survived(at(0.001, True), "en") == "none (next tried: 0.001)"
    assert survived(at(0.001, False), "en") == "0.001"
    assert survived([], "en") == "–"
