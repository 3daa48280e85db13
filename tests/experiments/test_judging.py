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

from experiments.evidence.claim import Arm, Claim, Part
from experiments.evidence.judge import JudgedClaim, detectable_in_weakest, judge, judge_member, labels
from experiments.evidence.measurement import compare, mean_of
from experiments.evidence.records import GridResults
from experiments.evidence.tables import write_tables
from experiments.paths import runs_folder
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.record import Outcome, Record
from experiments.runs.run_folder import write_record
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
        "treatment": Arm(condition="post_ln", swept=swept),
        "control": Arm(condition="no_norm", swept=swept),
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


def judged(results: GridResults, *parts: Part, **changes: Any) -> JudgedClaim:
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
    assert effect.measured.pairs == SEEDS
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
    assert 0 < effect.measured.found < effect.measured.planned == 2 * SEEDS


def test_a_seed_counts_once_all_its_runs_are_there(grid: Grid, tmp_path: Path) -> None:
    records = [r for r in scored(grid, 0.05) if (r.seed, r.swept.get("model.learning_rate")) != (3, 0.01)]
    side = results_of(grid, tmp_path, records).runs_of(Arm(condition="post_ln"))
    assert (side.found, side.planned, side.is_complete) == (2 * SEEDS - 1, 2 * SEEDS, False)
    assert sorted(side.records) == [seed for seed in range(SEEDS) if seed != 3]


def test_a_run_of_other_settings_does_not_count(grid: Grid, tmp_path: Path) -> None:
    records = [replace(record, config_hash="0" * 16) for record in scored(grid, 0.05)]
    effect = judged(results_of(grid, tmp_path, records), part()).effects[0]
    assert (effect.verdict.name, effect.measured.found) == ("not run", 0)


def diverged(records: list[Record], condition: str, from_seed: int) -> list[Record]:
    lost = Outcome(status="diverged", step=3, reason="The loss became nan at step 3.")
    return [
        replace(without_scores(r), outcome=lost) if r.condition == condition and r.seed >= from_seed else r
        for r in records
    ]


def test_diverged_seeds_are_left_out_and_counted_and_too_few_judge_nothing(grid: Grid, tmp_path: Path) -> None:
    lost = diverged(scored(grid, 0.05), "no_norm", 7)
    effect = judged(results_of(grid, tmp_path / "some", lost), part()).effects[0]
    assert (effect.measured.pairs, effect.measured.seeds, effect.verdict.name) == (7, 10, "confirmed")
    assert effect.measured.lacking == {"treatment": 0, "control": 3}
    few = judged(results_of(grid, tmp_path / "most", diverged(scored(grid, 0.05), "no_norm", 2)), part()).effects[0]
    assert (few.measured.pairs, few.verdict.name, few.verdict.reason) == (2, "inconclusive", "few_seeds")
    assert few.measured.p_value is None, "what cannot be judged takes no part in Holm's steps"
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
    assert effect.measured.arms.doubts[reason] == SEEDS - 3


def failing_part() -> Part:
    sides = {"treatment": Arm(condition="post_ln"), "control": Arm(condition="no_norm")}
    return part(metric="failure_share", direction="lower", test="paired_outcomes", delta=0.1, **sides)


def test_failures_are_judged_run_by_run(grid: Grid, tmp_path: Path) -> None:
    most = judged(results_of(grid, tmp_path / "most", diverged(scored(grid, 0.05), "no_norm", 2)), failing_part())
    (share,) = most.effects
    assert share.interval is not None and share.interval.mean == pytest.approx(0.8)
    assert (share.measured.planned, share.verdict.name) == (4 * SEEDS, "confirmed")
    always = diverged(scored(grid, 0.05), "no_norm", 0)
    (certain,) = judged(results_of(grid, tmp_path / "always", always), failing_part()).effects
    assert certain.measured.p_value == pytest.approx(2 / 2 ** (2 * SEEDS)), "McNemar's: the t-test knows no chance"
    all_fail = diverged(diverged(scored(grid, 0.05), "no_norm", 0), "post_ln", 0)
    (same,) = judged(results_of(grid, tmp_path / "all", all_fail), failing_part()).effects
    assert same.interval is not None and same.interval.high > 0.1 > same.interval.low
    assert same.verdict.name == "inconclusive"
    (none,) = judged(results_of(grid, tmp_path / "none", scored(grid, 0.05)), failing_part()).effects
    assert none.interval is not None and none.interval.high > 0.1 and none.verdict.name == "inconclusive"
    assert none.detectable is None


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
    assert [effect.measured.is_confirmatory for effect in beside] == [True, False, False]
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
        values = differences[effect.measured.corpus] + NOISE
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
    sds = [float(np.std(component.values, ddof=1)) for component in all_rise.measured.components]
    assert all_rise.detectable is not None
    experiments = np.random.default_rng(2).normal(all_rise.detectable, max(sds), size=(2000, SEEDS, len(sds)))
    shown = (ttest_1samp(experiments, 0, axis=1).pvalue <= all_rise.adjusted.level).all(axis=1)
    assert 0.8 - 2 * np.sqrt(0.8 * 0.2 / 2000) <= shown.mean() < 0.9
    assert len(all_rise.measured.components) == 9 and all_rise.measured.arms.names[0] == "torch precision"
    one_falls = judged(results_of(grid, tmp_path / "one", records({0: 0.95, 1: 0.95, 2: 0.3})), every).effects[0]
    assert one_falls.verdict.name == "refuted"
    assert one_falls.adjusted.p_value == 1.0
    means = [np.mean(component.values) for component in one_falls.measured.components]
    assert one_falls.measured.weakest == one_falls.measured.arms.names[int(np.argmin(means))]
    alone = dict(zip(one_falls.measured.arms.names, one_falls.measured.components, strict=True))
    sd = alone[one_falls.measured.weakest].spread().sd
    assert sd is not None
    gain = detectable_in_weakest(one_falls)
    assert gain is not None
    draws = np.random.default_rng(3).normal(gain, sd, size=(2000, SEEDS))
    found = (ttest_1samp(draws, 0, axis=1).pvalue <= one_falls.adjusted.level).mean()
    assert found == pytest.approx(0.8, abs=2 * np.sqrt(0.8 * 0.2 / 2000))


def test_times_that_are_not_reached_bound_what_can_be_said(grid: Grid, tmp_path: Path) -> None:
    def arriving(run: Run, step: int | None) -> Record:
        steps = [50, 100, 150, 200]
        score = 0.9 + run.seed * (0.01 if run.condition == "post_ln" else 0.005)  # seeds differ in when they arrive
        curve = [score if step is not None and at >= step else 0.1 for at in steps]
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
    both = found["both"].measured.arms
    times = [next(iter(side.values())) for side in (both.control, both.treatment)]
    assert [50 < times[1].value < 100, 150 < times[0].value < 200] == [True, True]
    assert found["both"].verdict.name == "confirmed"
    assert found["both"].interval is not None
    ratios = [both.control[seed].value / both.treatment[seed].value for seed in range(SEEDS)]
    assert found["both"].interval.mean == pytest.approx(np.log2(ratios).mean())
    assert (found["slow"].verdict.name, found["slow"].verdict.reason) == ("inconclusive", "lower_bound")
    assert found["fast"].verdict == Verdict("refuted"), "a bound is never said to be equal"
    assert found["none"].verdict.reason == "few_seeds"
    assert (found["none"].measured.pairs, found["none"].measured.seeds) == (0, SEEDS)
    assert mean_of(found["none"].measured.arms.treatment) is None, "the budget is no time of arrival"
    slow, fast = found["slow"], found["fast"]
    assert slow.interval is not None and fast.interval is not None
    assert slow.known_ends == (slow.interval.low, None), "how much larger no pair can tell"
    assert fast.known_ends == (None, fast.interval.high)
    assert (slow.measured.arms.doubts, fast.measured.arms.doubts) == ({"lower_bound": SEEDS}, {"upper_bound": SEEDS})
    assert found["early"].verdict.name == "confirmed"
    assert found["late"].verdict.name == "refuted"


def test_without_the_baselines_score_nothing_that_asks_for_it_is_judged(grid: Grid, tmp_path: Path) -> None:
    records = [record for record in scored(grid, 0.05) if record.condition != "tfidf_logistic_regression"]
    results = results_of(grid, tmp_path, records)
    gap = part(metric="gap_at_common_train_f1", direction="lower")
    (effect,) = judged(results, gap).effects
    assert effect.verdict.name == "not run" and effect.measured.planned - effect.measured.found == 1
    assert judged(results, part()).effects[0].verdict.name == "confirmed"


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_hold_verdicts_effects_and_the_values_behind_them_and_come_out_the_same_twice(
    grid: Grid, tmp_path: Path
) -> None:
    results = results_of(grid, tmp_path, diverged(scored(grid, 0.05), "no_norm", 9))
    whole = claim(part(shown=("accuracy",), replications=("trec",)))
    table = claim(id="table", number=2, family="table", arithmetic=True)
    claims = judge([whole, table], lambda grid, corpus: results)
    written = write_tables(claims, tmp_path / "tables")
    assert [path.name for path in written] == ["claims.csv", "effects.csv", "norms.csv"]
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_tables(claims, tmp_path / "tables")] == first
    overview, effects, values = map(table_of, written)
    assert [(row["number"], row["verdict"], row["parts confirmed"]) for row in overview] == [
        ("1", "confirmed", "1"),
        ("2", "refuted", "0"),
    ]
    here, beside = effects
    found = claims[0].effects[0]
    assert found.interval is not None and found.measured.sign_flip_p_value is not None
    for column, value in (
        ("effect", found.interval.mean),
        ("low", found.interval.low),
        ("high", found.interval.high),
        ("p_sign_flips", found.measured.sign_flip_p_value),
        ("p_holm", found.adjusted.p_value),
        ("detectable", found.detectable),
        ("control", 0.7),
    ):
        assert float(here[column]) == pytest.approx(value, rel=1e-5), column
    assert (here["decides"], beside["decides"], beside["corpus"]) == ("yes", "no", "trec")
    told = ("pairs", "left_out", "only_treatment_lacks", "only_control_lacks", "doubts", "verdict", "reason")
    assert [here[name] for name in told] == ["9", "1", "0", "1", "control_lost 1", "confirmed", ""]
    by_seed = [row for row in values if row["corpus"] == "listops"]
    assert [row["measure"] for row in by_seed] == ["macro_f1"] * SEEDS + ["accuracy"] * SEEDS
    assert by_seed[9]["control"] == "" and by_seed[9]["treatment"] != ""
    differences = [float(row["treatment"]) - float(row["control"]) for row in by_seed[:9]]
    assert np.mean(differences) == pytest.approx(found.interval.mean, abs=1e-5)


def test_an_end_that_nothing_is_known_of_and_a_part_without_runs_are_empty_cells(grid: Grid, tmp_path: Path) -> None:
    (none,) = judge([claim(part())], lambda *_: GridResults(grid, tmp_path / "none"))
    write_tables([none], tmp_path / "tables")
    (row,) = table_of(tmp_path / "tables" / "effects.csv")
    empty = ("treatment", "control", "effect", "low", "high", "p_holm", "p_sign_flips", "detectable")
    assert {row[name] for name in empty} == {""}
    assert (row["verdict"], row["reason"], row["delta"]) == ("not run", "missing", "0.01")


def test_a_diverged_run_beside_scores_of_every_class_adds_no_row_without_a_name(grid: Grid, tmp_path: Path) -> None:
    every = part(metric="class_precision_recall_f1", test="intersection_union")
    results = results_of(grid, tmp_path, diverged(scored(grid, 0.05), "no_norm", 7))
    write_tables([judged(results, every)], tmp_path / "tables")
    rows = table_of(tmp_path / "tables" / "norms.csv")
    assert len(rows) == 9 * SEEDS and all(":" in row["measure"] for row in rows)


def test_tables_leave_no_numbers_of_runs_that_are_gone(grid: Grid, tmp_path: Path) -> None:
    recorded, gone = results_of(grid, tmp_path, scored(grid, 0.05)), GridResults(grid, tmp_path / "emptied")
    written = write_tables([judged(recorded, part())], tmp_path / "tables")
    by_seed = tmp_path / "tables" / "norms.csv"
    assert by_seed in written and by_seed.is_file()
    renamed = by_seed.rename(by_seed.with_stem("its_former_name"))
    write_tables([judged(recorded, part())], tmp_path / "tables")
    assert by_seed.is_file() and not renamed.exists()
    own = by_seed.with_stem("a_persons_own")
    own.write_text("part,corpus\na,b\n", encoding="utf-8")
    written = write_tables([judged(gone, part())], tmp_path / "tables")
    assert by_seed not in written and not by_seed.exists()
    assert own.is_file()


def test_two_equal_variants_are_confirmed_in_no_more_than_5_of_100_families(grid: Grid, tmp_path: Path) -> None:
    """The whole way from measurements to a verdict, with a δ so small that it decides nothing."""
    results = results_of(grid, tmp_path, scored(grid, 0.0))
    (template,) = (effect.measured for effect in judged(results, part(delta=1e-9)).effects)
    generator = np.random.default_rng(11)
    families, confirmed = 150, 0
    for _ in range(families):
        differences = [
            PairedDifference(tuple(range(SEEDS)), tuple(generator.normal(0, 0.02, SEEDS).tolist())) for _ in range(4)
        ]
        members = [
            replace(template, arms=replace(template.arms, components=(difference,))) for difference in differences
        ]
        verdicts = itertools.starmap(judge_member, zip(members, holm([m.p_value for m in members]), strict=True))
        confirmed += any(effect.verdict.name == "confirmed" for effect in verdicts)
    assert confirmed / families <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / families)


def test_claims_of_one_number_get_letters() -> None:
    claims = [claim(part(), id=name, number=number) for name, number in (("a", 1), ("b", 1), ("c", 2), ("d", 10))]
    assert labels(claims) == ["1a", "1b", "2", "10"]
