"""From synthetic records to verdicts and a report."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import beta, sem, t, ttest_1samp
from synthetic_records import LABELS, make_record, scores_of, with_scores, without_scores

from experiments.claims import corpus_of
from experiments.evidence.cells import Cells, end, p_value
from experiments.evidence.claim import Claim, load_claims
from experiments.evidence.comparison import compare
from experiments.evidence.effect_tables import EffectTables
from experiments.evidence.evidence import GridResults
from experiments.evidence.forest import compose
from experiments.evidence.judge import Judgement, detectable_in_weakest, judge, judge_member, labels
from experiments.evidence.part import Part, Side
from experiments.evidence.remarks import Remarks
from experiments.evidence.report import write_report
from experiments.evidence.wording import PHRASES
from experiments.paths import runs_folder, tables_folder
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.files import write_record
from experiments.runs.record import Outcome, Record
from experiments.statistics.multiplicity import holm
from experiments.statistics.outcomes import PairedOutcomes
from experiments.statistics.seeds import PairedDifference
from experiments.statistics.verdicts import Verdict

SEEDS = 10
NOISE = np.random.default_rng(0).normal(0, 0.004, SEEDS)
TITLE = {"en": "with against without", "zh": "有与无相比"}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    path = tmp_path_factory.mktemp("grid") / "toy.yaml"
    content = {
        "conditions": ["post_ln", "no_norm"],
        "baselines": ["tfidf_logistic_regression"],
        "seeds": SEEDS,
        "sweep": {"model.learning_rate": [0.001, 0.01]},
        "model": {"layers": 2, "width": 16, "heads": 2},
        "data": {"corpus": "listops"},
    }
    path.write_text(yaml.safe_dump(content))
    return Grid.load(str(path))


def part(**changes: Any) -> Part:
    swept = {"model.learning_rate": 0.001}
    values: dict[str, Any] = {
        "id": "with",
        "title": TITLE,
        "grid": "toy",
        "corpora": ("listops",),
        "treatment": Side(condition="post_ln", swept=swept),
        "control": Side(condition="no_norm", swept=swept),
        "metric": "macro_f1",
        "direction": "higher",
        "delta": 0.01,
        "test": "paired_t",
    }
    return Part(**{**values, **changes})


def claim(*parts: Part, **changes: Any) -> Claim:
    text = {"en": "Norms help.", "zh": "归一化有帮助。"}
    values = {
        "id": "norms",
        "number": 1,
        "section": "1",
        "claim": text,
        "short": text,
        "delta_reason": text,
        "refuted_by": text,
    }
    return Claim(**{**values, "family": "norms", "parts": parts, **changes})


def record_of(run: Run, **changes: Any) -> Record:
    record = make_record(
        run.condition,
        run.seed,
        grid=run.grid,
        corpus=run.corpus,
        swept=run.swept,
        config=run.config.identity(),
        config_hash=run.config.hash(),
    )
    return replace(record, **changes)


def with_score(run: Run, score: float) -> Record:
    record = record_of(run)
    assert record.test is not None
    changed = with_scores(record, "test", macro_f1=score, accuracy=score)
    del changed.scores["test"].details["confusion"]  # it would contradict the score that the test asks for
    return changed


def results_of(grid: Grid, folder: Path, records: Sequence[Record]) -> GridResults:
    runs = {(run.condition, run.seed, str(run.swept)): run for run in final_runs(grid)}
    for record in records:
        write_record(runs[record.condition, record.seed, str(record.swept)].folder(folder), record)
    return GridResults(grid, folder)


def scored(grid: Grid, difference: float, noise: Sequence[float] = tuple(NOISE)) -> list[Record]:
    """Return records of all runs; post_ln is better by ``difference``, with noise over seeds."""
    return [
        with_score(run, 0.7 + (difference + noise[run.seed] if run.condition == "post_ln" else 0.0))
        for run in final_runs(grid)
    ]


def judged(results: GridResults, *parts: Part, **changes: Any) -> Judgement:
    (judgement,) = judge([claim(*parts, **changes)], lambda grid, corpus: results)
    return judgement


@pytest.mark.parametrize(
    ("difference", "noise", "expected"),
    [(0.05, 1.0, "confirmed"), (0.0, 1.0, "refuted"), (-0.05, 1.0, "refuted"), (0.01, 6.0, "inconclusive")],
)
def test_all_three_verdicts(grid: Grid, tmp_path: Path, difference: float, noise: float, expected: str) -> None:
    results = results_of(grid, tmp_path, scored(grid, difference, tuple(noise * NOISE)))
    judgement = judged(results, part())
    (effect,) = judgement.effects
    assert judgement.verdict.name == effect.verdict.name == expected
    assert (effect.verdict.reason == "equivalent") == (difference == 0)
    assert effect.interval is not None
    assert effect.interval.mean == pytest.approx(difference + noise * NOISE.mean())
    assert effect.measurement.pairs == SEEDS
    lower = judged(results, part(direction="lower")).effects[0].interval
    assert lower is not None and lower.mean == pytest.approx(-effect.interval.mean)


def test_what_was_left_out_is_told(grid: Grid, tmp_path: Path) -> None:
    results_of(grid, tmp_path, scored(grid, 0.05))
    path = next(runs_folder(tmp_path, grid.name, grid.corpus).glob("*/*/*/run.json"))
    path.write_text("{")
    (note,) = GridResults(grid, tmp_path).notes
    assert note.startswith("toy on listops: left out:") and str(path) in note


def test_nothing_is_judged_before_every_planned_run_is_there(grid: Grid, tmp_path: Path) -> None:
    results = results_of(grid, tmp_path, scored(grid, 0.05)[:-8])
    (effect,) = judged(results, part()).effects
    assert effect.verdict.name == "not run" and effect.interval is None
    assert 0 < effect.measurement.found < effect.measurement.planned == 2 * SEEDS


def test_a_seed_counts_once_all_its_runs_are_there(grid: Grid, tmp_path: Path) -> None:
    records = [r for r in scored(grid, 0.05) if (r.seed, r.swept.get("model.learning_rate")) != (3, 0.01)]
    side = results_of(grid, tmp_path, records).side(Side(condition="post_ln"))
    assert (side.found, side.planned, side.is_complete) == (2 * SEEDS - 1, 2 * SEEDS, False)
    assert sorted(side.records) == [seed for seed in range(SEEDS) if seed != 3]


def test_a_run_of_other_settings_does_not_count(grid: Grid, tmp_path: Path) -> None:
    records = [replace(record, config_hash="0" * 16) for record in scored(grid, 0.05)]
    effect = judged(results_of(grid, tmp_path, records), part()).effects[0]
    assert (effect.verdict.name, effect.measurement.found) == ("not run", 0)


def diverged(records: list[Record], condition: str, from_seed: int) -> list[Record]:
    lost = Outcome(status="diverged", step=3, reason="The loss became nan at step 3.")
    return [
        replace(without_scores(r), outcome=lost) if r.condition == condition and r.seed >= from_seed else r
        for r in records
    ]


def test_diverged_seeds_are_left_out_and_counted_and_too_few_judge_nothing(grid: Grid, tmp_path: Path) -> None:
    lost = diverged(scored(grid, 0.05), "no_norm", 7)
    effect = judged(results_of(grid, tmp_path / "some", lost), part()).effects[0]
    assert (effect.measurement.pairs, effect.measurement.excluded, effect.verdict.name) == (7, 3, "confirmed")
    assert Cells(PHRASES["en"]).left_out(effect) == "3 (only control 3)"
    few = judged(results_of(grid, tmp_path / "most", diverged(scored(grid, 0.05), "no_norm", 2)), part()).effects[0]
    assert (few.measurement.pairs, few.verdict.name, few.verdict.reason) == (2, "inconclusive", "few_seeds")
    assert few.measurement.p_value is None, "what cannot be judged takes no part in Holm's steps"
    assert few.interval is None and few.detectable is None


@pytest.mark.parametrize(
    ("condition", "difference", "reason"), [("post_ln", 0.05, "treatment_lost"), ("no_norm", -0.05, "control_lost")]
)
def test_what_survives_on_one_side_alone_is_no_evidence_for_it(
    grid: Grid, tmp_path: Path, condition: str, difference: float, reason: str
) -> None:
    results = results_of(grid, tmp_path, diverged(scored(grid, difference), condition, 3))
    (effect,) = judged(results, part()).effects
    assert (effect.verdict.name, effect.verdict.reason) == ("inconclusive", reason)
    assert f"{SEEDS - 3} seed(s)" in Cells(PHRASES["en"]).verdict(effect)


def failing_part() -> Part:
    sides = {"treatment": Side(condition="post_ln"), "control": Side(condition="no_norm")}
    return part(metric="failure_share", direction="lower", test="paired_outcomes", delta=0.1, **sides)


def test_failures_are_judged_run_by_run(grid: Grid, tmp_path: Path) -> None:
    most = judged(results_of(grid, tmp_path / "most", diverged(scored(grid, 0.05), "no_norm", 2)), failing_part())
    (share,) = most.effects
    assert share.interval is not None and share.interval.mean == pytest.approx(0.8)
    assert (share.measurement.planned, share.verdict.name) == (4 * SEEDS, "confirmed")
    always = diverged(scored(grid, 0.05), "no_norm", 0)
    (certain,) = judged(results_of(grid, tmp_path / "always", always), failing_part()).effects
    assert certain.measurement.p_value == pytest.approx(2 / 2 ** (2 * SEEDS)), "McNemar's: the t-test knows no chance"
    all_fail = diverged(diverged(scored(grid, 0.05), "no_norm", 0), "post_ln", 0)
    (same,) = judged(results_of(grid, tmp_path / "all", all_fail), failing_part()).effects
    assert same.interval is not None and same.interval.high > 0.1 > same.interval.low
    assert same.verdict.name == "inconclusive"
    (none,) = judged(results_of(grid, tmp_path / "none", scored(grid, 0.05)), failing_part()).effects
    assert none.interval is not None and none.interval.high > 0.1 and none.verdict.name == "inconclusive"
    assert none.detectable is None
    assert Cells(PHRASES["en"]).detectable(none) == "nothing: the control never failed"
    assert Cells(PHRASES["zh"]).detectable(none) == "无：对照组从未失败"


def test_of_failed_runs_the_smallest_difference_is_told_that_the_exact_interval_sets_apart_from_0() -> None:
    def ends(failed: int, runs: int, level: float) -> tuple[float, float]:
        low = beta.ppf(level / 2, failed, runs - failed + 1) if failed else 0.0
        return float(low), float(beta.ppf(1 - level / 2, failed + 1, runs - failed) if failed < runs else 1.0)

    level, runs, control = 0.01, 30, 20
    apart = [fewer for fewer in range(control) if ends(control, runs, level / 2)[0] > ends(fewer, runs, level / 2)[1]]
    outcomes = PairedOutcomes((True,) * 25 + (False,) * 5, (True,) * control + (False,) * (runs - control))
    assert outcomes.smallest_shown(level) == pytest.approx((control - max(apart)) / runs)
    few = PairedOutcomes((False,) * runs, (True,) * 5 + (False,) * 25)
    assert ends(5, runs, level / 2)[0] < ends(0, runs, level / 2)[1]
    assert few.smallest_shown(level) is None, "not even the loss of all five can be told from chance"


@pytest.mark.parametrize(
    ("difference", "verdict", "reason"), [(0.0, "inconclusive", "no_room"), (-0.02, "refuted", "")]
)
def test_where_the_control_leaves_no_room_only_harm_is_refuted(
    grid: Grid, tmp_path: Path, difference: float, verdict: str, reason: str
) -> None:
    treated = {seed: 0.995 + difference + NOISE[seed] / 100 for seed in range(SEEDS)}
    records = [with_score(run, treated[run.seed] if run.condition == "post_ln" else 0.995) for run in final_runs(grid)]
    (effect,) = judged(results_of(grid, tmp_path, records), part()).effects
    assert effect.interval is not None and effect.interval.high < 0.01
    assert (effect.verdict.name, effect.verdict.reason) == (verdict, reason)


def test_a_family_is_adjusted_together_and_replications_apart(grid: Grid, tmp_path: Path) -> None:
    results = results_of(grid, tmp_path, scored(grid, 0.004))
    alone = judged(results, part()).effects[0]
    parts = [part(id=str(index)) for index in range(4)]
    among = judged(results, *parts).effects[0]
    assert among.adjusted.p_value == pytest.approx(min(1, 4 * alone.adjusted.p_value))
    beside = judged(results, part(replications=("trec", "sst5"))).effects
    assert [effect.measurement.is_confirmatory for effect in beside] == [True, False, False]
    assert beside[0].adjusted == alone.adjusted
    assert beside[1].adjusted.p_value == pytest.approx(min(1, 2 * alone.adjusted.p_value))


def test_lower_ends_have_the_levels_of_holm_and_upper_ends_that_of_the_whole_family(grid: Grid, tmp_path: Path) -> None:
    differences = {"first": 0.02, "second": 0.05, "third": 0.03, "fourth": 0.04}  # the largest has the least p-value
    results = {
        corpus: results_of(grid, tmp_path / corpus, scored(grid, difference))
        for corpus, difference in differences.items()
    }
    (judgement,) = judge([claim(part(corpora=tuple(differences)))], lambda _, corpus: results[corpus])
    for level, effect in zip((0.05, 0.05 / 4, 0.05 / 2, 0.05 / 3), judgement.effects, strict=True):
        values = differences[effect.measurement.corpus] + NOISE
        low, high = (t.interval(1 - at, SEEDS - 1, values.mean(), sem(values)) for at in (level, 0.05 / 4))
        assert effect.interval is not None
        assert (effect.interval.low, effect.interval.high) == (pytest.approx(low[0]), pytest.approx(high[1]))


def test_equal_effects_of_a_family_have_equal_intervals(grid: Grid, tmp_path: Path) -> None:
    results = results_of(grid, tmp_path, scored(grid, 0.02))
    effects = judged(results, *(part(id=str(index)) for index in range(4))).effects
    values = 0.02 + NOISE
    low, high = t.interval(1 - 0.05 / 4, SEEDS - 1, values.mean(), sem(values))
    for effect in effects:
        assert effect.interval is not None
        assert (effect.interval.low, effect.interval.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(("p_value", "reason"), [(0.03, ""), (0.01, "equivalent")])
def test_sides_are_called_equal_only_at_the_level_of_the_whole_family(
    grid: Grid, tmp_path: Path, p_value: float, reason: str
) -> None:
    values = -0.01 + NOISE
    delta = float(t.isf(p_value, SEEDS - 1) * sem(values) - values.mean())  # the test against -δ has this p-value
    results = results_of(grid, tmp_path, scored(grid, -0.01))
    effects = judged(results, *(part(id=str(index), delta=delta) for index in range(4))).effects
    assert {effect.verdict for effect in effects} == {Verdict("refuted", reason)}


def test_one_class_without_room_is_enough_to_forbid_a_refutation() -> None:
    every = part(metric="class_precision_recall_f1", test="intersection_union")
    sides = [{seed: {"full": 0.995, "poor": 0.5} for seed in range(SEEDS)} for _ in range(2)]
    assert compare(every, *sides).doubts == {"no_room": SEEDS}
    with_room = [{seed: {"full": 0.985, "poor": 0.5} for seed in range(SEEDS)} for _ in range(2)]
    assert compare(every, *with_room).doubts == {}


@pytest.mark.parametrize(("gap", "doubts"), [(0.02, {"no_room": SEEDS}), (0.3, {})])
def test_what_is_best_at_zero_has_room_above_it(gap: float, doubts: dict[str, int]) -> None:
    smaller = part(metric="generalisation_gap", direction="lower", delta=0.05)
    sides = [dict.fromkeys(range(SEEDS), gap) for _ in range(2)]
    assert compare(smaller, *sides).doubts == doubts


def test_every_class_and_measure_must_rise(grid: Grid, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)

    def predictions(skills: Mapping[int, float]) -> np.ndarray:
        right = generator.random(len(LABELS)) < np.array([skills[label] for label in LABELS])
        return np.where(right, LABELS, (LABELS + generator.integers(1, 3, len(LABELS))) % 3)

    def records(treated: Mapping[int, float]) -> list[Record]:
        low = dict.fromkeys(range(3), 0.5)
        return [
            record_of(
                run,
                scores={"test": scores_of(LABELS, predictions(treated if run.condition == "post_ln" else low), None)},
            )
            for run in final_runs(grid)
        ]

    every = part(metric="class_precision_recall_f1", test="intersection_union")
    all_rise = judged(results_of(grid, tmp_path / "all", records(dict.fromkeys(range(3), 0.95))), every).effects[0]
    assert all_rise.verdict.name == "confirmed"
    sds = [float(np.std(component.values, ddof=1)) for component in all_rise.measurement.components]
    assert all_rise.detectable is not None
    experiments = np.random.default_rng(2).normal(all_rise.detectable, max(sds), size=(2000, SEEDS, len(sds)))
    shown = (ttest_1samp(experiments, 0, axis=1).pvalue <= all_rise.adjusted.level).all(axis=1)
    assert 0.8 - 2 * np.sqrt(0.8 * 0.2 / 2000) <= shown.mean() < 0.9
    assert len(all_rise.measurement.components) == 9 and all_rise.measurement.comparison.names[0] == "torch precision"
    one_falls = judged(results_of(grid, tmp_path / "one", records({0: 0.95, 1: 0.95, 2: 0.3})), every).effects[0]
    assert one_falls.verdict.name == "refuted"
    assert one_falls.adjusted.p_value == 1.0
    means = [np.mean(component.values) for component in one_falls.measurement.components]
    assert one_falls.measurement.weakest == one_falls.measurement.comparison.names[int(np.argmin(means))]
    cells = EffectTables("en", PHRASES["en"], tmp_path).effect_row(one_falls)
    name, score = one_falls.measurement.weakest.split(" ")
    assert f"({name} {PHRASES['en'][score]})" in cells[2]
    assert f"（{name} 的{PHRASES['zh'][score]}）" in Cells(PHRASES["zh"]).effect(one_falls)
    alone = dict(zip(one_falls.measurement.comparison.names, one_falls.measurement.components, strict=True))
    sd = alone[one_falls.measurement.weakest].spread().sd
    assert sd is not None
    gain = detectable_in_weakest(one_falls)
    draws = np.random.default_rng(3).normal(gain, sd, size=(2000, SEEDS))
    found = (ttest_1samp(draws, 0, axis=1).pvalue <= one_falls.adjusted.level).mean()
    assert found == pytest.approx(0.8, abs=2 * np.sqrt(0.8 * 0.2 / 2000))
    assert Cells(PHRASES["en"]).detectable(replace(one_falls, detectable=1.2)) == "> 1: cannot be shown"


def test_times_that_are_not_reached_bound_what_can_be_said(grid: Grid, tmp_path: Path) -> None:
    def arriving(run: Run, step: int | None) -> Record:
        steps = [50, 100, 150, 200]
        curve = [0.9 if step is not None and at >= step else 0.1 for at in steps]
        history = {"validation": {"step": steps, "tokens": [1000 * at for at in steps], "macro_f1": curve}}
        return record_of(run, history=history)

    def records(fast: int | None, slow: int | None) -> list[Record]:
        return [arriving(run, fast if run.condition == "post_ln" else slow) for run in final_runs(grid)]

    speed = part(metric="steps_to_target", direction="lower", test="censored_ratio", delta=0.415)
    found = {}
    for name, (fast, slow) in {
        "both": (100, 200),
        "slow": (200, None),
        "fast": (None, 100),
        "none": (None, None),
        "early": (50, 200),
        "late": (100, 50),
    }.items():
        found[name] = judged(results_of(grid, tmp_path / name, records(fast, slow)), speed).effects[0]
    # 90 % of TF-IDF's score is the target: the same share of the way between two validations on both sides.
    both = found["both"].measurement.comparison
    times = [next(iter(side.values())) for side in (both.control, both.treatment)]
    assert [50 < times[1].value < 100, 150 < times[0].value < 200] == [True, True]
    assert found["both"].verdict.name == "confirmed"
    assert found["both"].interval is not None
    assert found["both"].interval.mean == pytest.approx(np.log2(times[0].value / times[1].value))
    assert (found["slow"].verdict.name, found["slow"].verdict.reason) == ("inconclusive", "lower_bound")
    assert found["fast"].verdict == Verdict("refuted"), "a bound is never said to be equal"
    assert found["none"].verdict.reason == "few_seeds" and found["none"].measurement.excluded == SEEDS
    assert found["none"].measurement.shown[0].treatment.count == 0, "the budget is no time of arrival"
    tables = EffectTables("en", PHRASES["en"], tmp_path)
    assert tables.effect_row(found["slow"])[2].startswith("≥ ") and tables.effect_row(found["fast"])[2].startswith("≤ ")
    assert found["slow"].interval is not None and found["fast"].interval is not None
    low, high = end(found["slow"].interval.low, 0.415), end(found["fast"].interval.high, 0.415)
    assert tables.cells.interval(found["slow"]) == f"[{low}, –]", "how much larger no pair can tell"
    assert tables.cells.interval(found["fast"]) == f"[–, {high}]"
    assert tables.cells.verdict(found["fast"]) == f"refuted ({SEEDS} of {SEEDS} pairs only bound the effect)"
    assert tables.cells.verdict(found["both"]) == "confirmed"
    assert found["early"].verdict.name == "confirmed"
    assert found["late"].verdict.name == "refuted"


def test_without_the_baselines_score_nothing_that_asks_for_it_is_judged(grid: Grid, tmp_path: Path) -> None:
    records = [record for record in scored(grid, 0.05) if record.condition != "tfidf_logistic_regression"]
    results = results_of(grid, tmp_path, records)
    gap = part(metric="gap_at_common_train_f1", direction="lower")
    (effect,) = judged(results, gap).effects
    assert effect.verdict.name == "not run" and effect.measurement.planned - effect.measurement.found == 1
    assert judged(results, part()).effects[0].verdict.name == "confirmed"


def test_the_report_says_everything_in_both_languages_and_twice_the_same(grid: Grid, tmp_path: Path) -> None:
    results = results_of(grid, tmp_path, scored(grid, 0.05))
    tables = tables_folder(tmp_path, grid.name, grid.corpus)
    (tables / "figures").mkdir(parents=True)
    for name in ("report.md", "summary.md", "figures/macro_f1.png", "figures/gradient_norms.png"):
        (tables / name).write_text("made by the grid's own report")
    whole = claim(part(shown=("accuracy",), replications=("trec",)))
    table = claim(id="table", number=2, family="table", arithmetic=True)
    judgements = judge([whole, table], lambda grid, corpus: results)
    written = write_report(judgements, tmp_path)
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_report(judgements, tmp_path)] == first
    english, chinese = (path.read_text(encoding="utf-8") for path in written[:2])
    effect = judgements[0].effects[0]
    assert effect.interval is not None and effect.detectable is not None
    row = next(line for line in english.splitlines() if line.startswith("| with against without | listops | 0.0"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == f"{effect.interval.mean:.3f}"
    assert cells[3] == f"\\[{effect.interval.low:.3f}, {effect.interval.high:.3f}\\]"
    assert cells[4:8] == ["&lt; 0.001", "0.002", "10", "0"]
    assert cells[8:11] == ["0.010", f"{effect.detectable:.3f}", "confirmed"]
    behind = ["[by seed](verdicts/norms.csv)", "[table](toy/listops/summary.md)"]
    assert cells[11] == ", ".join([*behind, "[figure](toy/listops/figures/macro_f1.png)"])
    with (tmp_path / "verdicts" / "norms.csv").open(newline="") as file:
        values = list(csv.DictReader(file))
    here = [line for line in values if line["corpus"] == "listops"]
    differences = [float(line["treatment"]) - float(line["control"]) for line in here]
    assert len(here) == SEEDS and np.mean(differences) == pytest.approx(effect.interval.mean, abs=1e-5)
    assert "[confirmed](#norms)" in english and '<a id="norms"></a>\n\n## 1. Norms help.' in english
    assert "[证实](#norms)" in chinese and '<a id="norms"></a>' in chinese
    for text, words in ((english, ("Replications", "1 confirmed")), (chinese, ("重复实验", "1 项证实", "有与无相比"))):
        assert all(word in text for word in words)
        assert "![" in text and "figures/claims.png" in text
    assert written[2].read_bytes().startswith(b"\x89PNG")
    assert runs_folder(tmp_path, grid.name, grid.corpus).is_dir()


def test_the_figure_shows_an_effect_in_units_of_delta_and_names_the_mean_where_it_lies_beyond_the_axis(
    grid: Grid, tmp_path: Path
) -> None:
    judgement = judged(results_of(grid, tmp_path, scored(grid, 0.05)), part(delta=0.025), part(id="far", delta=0.001))
    mean = 0.05 + NOISE.mean()
    panel = compose([judgement]).axes[0]
    drawn = [float(x) for line in panel.lines if line.get_marker() == "o" for x in line.get_xdata()]
    assert drawn == [pytest.approx(mean / 0.025)]
    (text,) = panel.texts
    assert text.get_text() == f"{mean / 0.001:.0f}" and text.xy[0] + text.xyann[0] > max(panel.get_xticks())


def test_parts_without_any_run_are_named_in_one_sentence(grid: Grid, tmp_path: Path) -> None:
    recorded, none = results_of(grid, tmp_path, scored(grid, 0.05)), GridResults(grid, tmp_path / "none")
    other = {"en": "the other way round", "zh": "反过来"}
    whole = claim(part(replications=("trec", "sst5")), part(id="other", title=other, replications=("trec", "sst5")))
    (judgement,) = judge([whole], lambda grid, corpus: recorded if corpus == "listops" else none)
    tables = EffectTables("en", PHRASES["en"], tmp_path)
    assert tables.write(judgement.replications) == ["No run is recorded yet on trec, sst5."]
    table, values = tables.write(judgement.confirmatory)
    assert table.count("listops") >= 2 and "No run" not in table + values


def test_a_diverged_run_beside_scores_of_every_class_adds_no_row_without_a_name(grid: Grid, tmp_path: Path) -> None:
    every = part(metric="class_precision_recall_f1", test="intersection_union")
    results = results_of(grid, tmp_path, diverged(scored(grid, 0.05), "no_norm", 7))
    write_report([judged(results, every)], tmp_path)
    with (tmp_path / "verdicts" / "norms.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 * SEEDS and all(":" in row["measure"] for row in rows)


def test_a_report_leaves_no_numbers_of_runs_that_are_gone(grid: Grid, tmp_path: Path) -> None:
    recorded, gone = results_of(grid, tmp_path, scored(grid, 0.05)), GridResults(grid, tmp_path / "emptied")
    written = write_report([judged(recorded, part())], tmp_path)
    by_seed = tmp_path / "verdicts" / "norms.csv"
    assert by_seed in written and by_seed.is_file()
    renamed = by_seed.rename(by_seed.with_stem("its_former_name"))
    write_report([judged(recorded, part())], tmp_path)
    assert by_seed.is_file() and not renamed.exists()
    written = write_report([judged(gone, part())], tmp_path)
    assert by_seed not in written and not by_seed.exists()


@pytest.mark.parametrize(
    ("metric", "table", "figure"),
    [
        ("gradient_imbalance_at_start", None, "gradient_ratio"),
        ("vanishing_gradient_share", None, "gradient_norms_learning_rate=0.001"),
        ("steps_to_target", "summary", "learning_curves"),
        ("gradient_imbalance_in_training", None, "gradient_norms_learning_rate=0.001"),
        ("failure_share", "summary", "failures_by_learning_rate"),
        ("failure_share", "summary", "macro_f1"),
        ("class_precision_recall_f1", "per_class", "confusion"),
        ("macro_f1", "summary", "macro_f1_by_layers"),
        ("gradient_imbalance_in_training", None, "gradient_ratio"),
    ],
)
def test_a_verdict_links_to_the_table_and_the_figure_that_show_its_measure(
    grid: Grid, tmp_path: Path, metric: str, table: str | None, figure: str
) -> None:
    results = results_of(grid, tmp_path, [])
    (results.folder / "figures").mkdir(parents=True)
    for name in ("summary", "per_class"):
        (results.folder / f"{name}.md").touch()
    for name in (figure, "gradient_norms_learning_rate=0.0001", "loss_curves"):  # the latter are second choices
        (results.folder / "figures" / f"{name}.png").touch()
    (effect,) = judged(results, part(metric=metric)).effects
    links = EffectTables("en", PHRASES["en"], tmp_path).links(effect)
    expected = [f"[table](toy/listops/{table}.md)"] if table else []  # no table holds gradients
    assert links == ", ".join([*expected, f"[figure](toy/listops/figures/{figure}.png)"])


def test_what_was_known_before_a_claim_was_written_stands_with_it(grid: Grid, tmp_path: Path) -> None:
    known = claim(part(), disclosure={"en": "Seen in a pilot.", "zh": "试验中已见。"})
    for path, said in zip(
        write_report(judge([known], lambda *_: results_of(grid, tmp_path, [])), tmp_path)[:2],
        ("changed afterwards: Seen in a pilot.", "事后的修改：试验中已见。"),
        strict=True,
    ):
        assert said in path.read_text(encoding="utf-8")


def test_an_end_that_rounds_to_nothing_or_to_delta_shows_on_which_side_it_lies() -> None:
    assert [end(value, 0.01) for value in (0.00004, -0.00004, 0.0, 0.00996, 0.01, 0.5)] == [
        "0.00004",
        "−0.00004",
        "0.000",
        "0.00996",
        "0.010",
        "0.500",
    ]
    assert [p_value(value) for value in (0.0496, 0.0504, 0.2, 0.0001, None)] == [
        "0.0496",
        "0.0504",
        "0.200",
        "< 0.001",
        "–",
    ]


def test_two_equal_variants_are_confirmed_in_no_more_than_5_of_100_families(grid: Grid, tmp_path: Path) -> None:
    """The whole way from measurements to a verdict, with a δ so small that it decides nothing."""
    results = results_of(grid, tmp_path, scored(grid, 0.0))
    (template,) = (effect.measurement for effect in judged(results, part(delta=1e-9)).effects)
    generator = np.random.default_rng(11)
    families, confirmed = 150, 0
    for _ in range(families):
        differences = [
            PairedDifference(tuple(range(SEEDS)), tuple(generator.normal(0, 0.02, SEEDS).tolist())) for _ in range(4)
        ]
        members = [
            replace(template, comparison=replace(template.comparison, components=(difference,)))
            for difference in differences
        ]
        verdicts = itertools.starmap(judge_member, zip(members, holm([m.p_value for m in members]), strict=True))
        confirmed += any(effect.verdict.name == "confirmed" for effect in verdicts)
    assert confirmed / families <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / families)


def test_claims_of_one_number_get_letters() -> None:
    claims = [claim(part(), id=name, number=number) for name, number in (("a", 1), ("b", 1), ("c", 2), ("d", 10))]
    assert labels(claims) == ["1a", "1b", "2", "10"]


def test_the_figure_says_how_many_claims_of_the_article_and_how_many_effects_are_confirmed(
    grid: Grid, tmp_path: Path
) -> None:
    results = results_of(grid, tmp_path, scored(grid, 0.05))
    harm = part(id="harm", direction="lower")
    claims = [claim(part()), claim(part(), harm, id="half"), claim(part(replications=("trec",)), id="whole", number=2)]
    figure = compose(judge(claims, lambda *_: results))
    assert figure.get_suptitle().startswith("1 of 2 claims is confirmed; 3 of 4 effects that decide")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["listops", "trec"]
    shaded = [{round(patch.get_y() + 0.5) for patch in axes.patches} - {0, 2, 5} for axes in figure.axes]
    assert shaded == [set(), {1, 3, 4}], "trec is planned for the last claim alone: headings stand at 0, 2 and 5"


def test_the_setting_of_a_claims_runs_is_computed_from_its_grid(grid: Grid, tmp_path: Path) -> None:
    judgement = judged(results_of(grid, tmp_path, scored(grid, 0.05)), part())
    (english,) = Remarks("en", PHRASES["en"]).settings(judgement)
    steps = judgement.effects[0].measurement.results.finals[0].progress["steps"]
    for said in ("grid `toy`", "2 layers", "width 16", "precision 32-true", "learning rate 0.001 (not tuned)",
                 "warm-up 0.1 (not tuned)", f"seeds: {SEEDS}", f"{steps} steps (4 epochs)"):  # fmt: skip
        assert said in english
    assert "0.01" not in english.replace("0.001", ""), "the other swept rate is not compared"
    (chinese,) = Remarks("zh", PHRASES["zh"]).settings(judgement)
    assert "2 层；宽度 16" in chinese and f"种子数 {SEEDS}" in chinese


def test_what_is_tuned_is_said_with_its_trials_and_for_whom() -> None:
    (convergence,) = load_claims(["residual_convergence"])
    folder = Path("nowhere")
    judgements = judge([convergence], lambda name, corpus: GridResults(stated_grid("claims", corpus), folder))
    (sentence,) = Remarks("en", PHRASES["en"]).settings(judgements[0])
    assert "learning rate and warm-up tuned on validation;" in sentence
    assert "initial gain tuned on validation for `no_norm`, `plain`, 10 trials each" in sentence
    assert "seeds: 10 on docstrings, ag_news, listops, 5 on sst5" in sentence and "3 epochs on ag_news" in sentence


def test_a_precision_that_differs_is_said_with_its_corpora() -> None:
    (claim_of_data,) = load_claims(["more_data"])
    judgements = judge([claim_of_data], lambda name, corpus: GridResults(stated_grid(name, corpus), Path("nowhere")))
    (sentence,) = Remarks("en", PHRASES["en"]).settings(judgements[0])
    by_corpus = "bf16-mixed on docstrings, ag_news, listops, 32-true on sst5, trec, tweeteval_emotion, thucnews10"
    assert f"precision {by_corpus};" in sentence


def stated_grid(name: str, corpus: str) -> Grid:
    return Grid.load(name, {"data": {"corpus": corpus_of(name, corpus)}})


@pytest.mark.parametrize(("last", "is_said"), [(1.0, True), (1e-4, False)])
def test_that_no_step_exploded_is_said_in_one_sentence(grid: Grid, tmp_path: Path, last: float, is_said: bool) -> None:
    history = {"gradient_norms": {"step": [1, 2], "blocks": [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, last, 1.0]]}}
    records = [record_of(run, history=history) for run in final_runs(grid)]
    shown = part(metric="gradient_imbalance_in_training", direction="lower", shown=("exploding_gradient_share",))
    judgement = judged(results_of(grid, tmp_path, records), shown)
    said = Remarks("en", PHRASES["en"]).none_exploded(judgement)
    assert said.startswith(f"No step exploded: in none of the {2 * SEEDS} runs") == is_said
    tables = "".join(EffectTables("en", PHRASES["en"], tmp_path).write(judgement.effects))
    assert ("share of steps that explode" in tables) != is_said


def test_rare_classes_are_named_with_their_rows(grid: Grid, tmp_path: Path) -> None:
    labels_of = np.array([0] * 50 + [1] * 40 + [2] * 10)
    records = [record_of(run, scores={"test": scores_of(labels_of, labels_of, None)}) for run in final_runs(grid)]
    said = Remarks("en", PHRASES["en"]).rare(
        judged(results_of(grid, tmp_path, records), part(metric="rare_class_lead"))
    )
    rare = records[0].test.details["per_class"][2]["class"] if records[0].test else ""
    assert said.endswith(f": on listops {rare} (10) of 100 test rows.")


def test_what_a_claims_runs_do_not_test_stands_beside_the_verdict(grid: Grid, tmp_path: Path) -> None:
    scope = {"en": "Only Post-LN.", "zh": "只有 Post-LN。"}
    judgements = judge([claim(part(), scope=scope)], lambda *_: results_of(grid, tmp_path, scored(grid, 0.05)))
    page = write_report(judgements, tmp_path)[0].read_text(encoding="utf-8")
    assert "**confirmed** (section 1; `norms`): Only Post-LN." in page
    assert "| Norms help. Only Post-LN. |" in page


def test_a_decided_part_says_on_how_many_pairs_it_rests(grid: Grid, tmp_path: Path) -> None:
    effect = judged(results_of(grid, tmp_path, diverged(scored(grid, 0.05), "no_norm", 7)), part()).effects[0]
    assert Cells(PHRASES["en"]).verdict(effect) == "confirmed (7 of 10 pairs; 3 lost by the control)"
    assert Cells(PHRASES["zh"]).verdict(effect) == "证实（10 对中的 7 对；对照组缺失 3 对）"


def test_both_languages_have_the_same_phrases() -> None:
    assert PHRASES["en"].keys() == PHRASES["zh"].keys()
