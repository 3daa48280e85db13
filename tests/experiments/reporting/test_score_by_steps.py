"""Score against steps, the trials of the smallest budget, the tuning lottery, and how many figures a page shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from synthetic_records import evidence_of, make_record, rows_of, with_scores

from experiments.reporting.frame import Description
from experiments.reporting.page import MOST_FIGURES, figure_sections
from experiments.reporting.score_by_steps import budget_name, score_by_steps
from experiments.reporting.style import Picture
from experiments.reporting.trials import trials_figure
from experiments.reporting.tuned import tuning_lottery
from experiments.runs.record import Outcome, Record

EPOCHS, LAYERS, RATE = "trainer.max_epochs", "model.layers", "model.learning_rate"
DESCRIPTION = Description(arguments="toy", title="Toy")


def at(condition: str, seed: int, epochs: int, score: float, failed: bool = False) -> Record:
    record = make_record(condition, seed, swept={EPOCHS: epochs, LAYERS: 6})
    record = replace(with_scores(record, "test", macro_f1=score), progress={**record.progress, "steps": 125 * epochs})
    return replace(record, outcome=Outcome(status="collapsed", step=1)) if failed else record


def runs() -> list[Record]:
    records = [at("pre_ln", seed, epochs, 0.6 + 0.01 * epochs) for seed in range(3) for epochs in (4, 16)]
    records += [at("post_ln", seed, 4, 0.5 + 0.1 * seed) for seed in range(3)]
    return records + [at("post_ln", seed, 16, 0.9 if seed else 0.1, failed=not seed) for seed in range(3)]


def test_seeds_are_points_medians_of_the_trained_are_joined_and_failures_are_crosses() -> None:
    picture = score_by_steps(rows_of(*runs()))
    assert picture is not None
    (axes,) = picture.figure.axes
    lines = {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    assert [round(float(y), 3) for y in lines["Post-LN"].get_ydata()] == [0.6, 0.9], "medians, without the failed one"
    assert [round(float(y), 3) for y in lines["Pre-LN"].get_ydata()] == [0.64, 0.76]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [round(float(line.get_ydata()[0]), 3) for line in crosses] == [0.1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["500", "2,000"]
    assert picture.title == "From 500 to 2,000 steps Post-LN (6 layers) gains most, 0.300; the median gain is 0.210"


def test_a_single_budget_has_no_such_picture() -> None:
    assert score_by_steps(rows_of(*(at("pre_ln", seed, 4, 0.6) for seed in range(3)))) is None
    assert budget_name(rows_of(make_record("pre_ln", 0))) is None


def trial(condition: str, layers: int, epochs: int, rate: float, seed: int = 1000, score: float = 0.5) -> Record:
    swept = {LAYERS: layers, EPOCHS: epochs}
    record = make_record(condition, seed, "tune", tuned={RATE: rate}, swept=swept)
    return with_scores(record, "validation", macro_f1=score)


def test_of_several_budgets_the_trials_of_the_smallest_are_drawn() -> None:
    trials = [
        trial("pre_ln", layers, epochs, rate, score=0.5 if epochs == 4 else 0.9)
        for layers in (6, 12, 24)
        for epochs in (4, 16)
        for rate in (0.001, 0.003, 0.01)
    ]
    picture = trials_figure(LAYERS, RATE, evidence_of(*trials), DESCRIPTION)
    assert picture is not None and "smallest of several budgets" in picture.caption
    assert {text.get_text() for text in picture.figure.axes[0].texts} == {"50"}
    other = [replace(each, swept={**each.swept, "model.width": 64 + place}) for place, each in enumerate(trials)]
    assert trials_figure(LAYERS, RATE, evidence_of(*other), DESCRIPTION) is None


@pytest.mark.parametrize(("best_of_second", "said"), [(0.003, "0 of 1"), (0.001, "1 of 1")])
def test_the_lottery_counts_pairs_of_tuning_seeds_that_choose_differently(best_of_second: float, said: str) -> None:
    trials = [trial("pre_ln", 6, 4, rate, 1000, 0.9 if rate == 0.003 else 0.5) for rate in (0.001, 0.003, 0.01)]
    trials += [
        trial("pre_ln", 6, 4, rate, 1001, 0.9 if rate == best_of_second else 0.5) for rate in (0.001, 0.003)
    ]  # the third has one seed alone
    (line,) = tuning_lottery(evidence_of(*trials))
    assert line.startswith(f"Tuning lottery: {said} pairs") and "at 1 setting whose" in line


def test_one_tuning_seed_plays_no_lottery() -> None:
    assert tuning_lottery(evidence_of(*(trial("pre_ln", 6, 4, rate) for rate in (0.001, 0.003)))) == []
    assert tuning_lottery(evidence_of(make_record("pre_ln", 0))) == []


def test_a_report_shows_six_figures_and_links_to_the_others() -> None:
    pictures = {f"figure_{place}.png": Picture(Figure(), f"Title {place}", "How to read it.") for place in range(8)}
    shown = figure_sections(pictures)
    assert sum(part.startswith("![") for part in shown) == MOST_FIGURES == 6
    assert shown[-1] == "Further figures: [figure 6](figures/figure_6.png), [figure 7](figures/figure_7.png)."
    assert len(figure_sections(dict(list(pictures.items())[:6]))) == 6
