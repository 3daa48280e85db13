"""A grid's price: a measured step, multiplied by what its runs take."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from experiments import ablation
from experiments.making import pricing
from experiments.making.pricing import BASELINE_SECONDS, START_SECONDS, PriceList, spoken_price
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run

GRID = {
    "conditions": ["pre_ln", "plain"],
    "baselines": ["tfidf_logistic_regression"],
    "seeds": 2,
    "sweep": {"trainer.max_epochs": [1, 4], "model.layers": [1, 2]},
    "model": {"width": 16, "heads": 2},
    "data": {"corpus": "listops", "max_train_rows": 320, "listops": {"train_rows": 640}},
}


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    path = tmp_path / "priced.yaml"
    path.write_text(yaml.safe_dump(GRID), encoding="utf-8")
    return Grid.load(str(path))


def cost(prices: PriceList, run: Run) -> float:
    return prices.of(run).seconds - START_SECONDS


def test_four_times_the_budget_costs_four_times_as_much_apart_from_start_and_scoring(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricing, "measured_step", lambda config, data: (1000.0, 0.01 * config.model.layers))
    monkeypatch.setattr(PriceList, "evaluated_tokens", lambda self, run, steps, data: 0.0)
    runs, prices = final_runs(grid), PriceList()
    networks = [run for run in runs if not run.baseline]
    by_cell = {
        (run.condition, run.swept["trainer.max_epochs"], run.swept["model.layers"]): cost(prices, run)
        for run in networks
    }
    for condition in ("pre_ln", "plain"):
        for layers in (1, 2):
            short, long = (by_cell[condition, epochs, layers] for epochs in (1, 4))
            assert long == pytest.approx(4 * short)
    tokens = prices.text_of(networks[0].config).facts.train_tokens
    assert by_cell["pre_ln", 1, 2] == pytest.approx(pricing.LOOP * tokens / 1000 * 0.02)
    assert {prices.of(run).seconds for run in runs if run.baseline} == {BASELINE_SECONDS}


def test_a_step_is_measured_once_for_each_size_of_network(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    real = pricing.measured_step
    monkeypatch.setattr(pricing, "measured_step", lambda *given: measured.append(1) or real(*given))
    prices = PriceList()
    assert all(prices.of(run).seconds > START_SECONDS for run in final_runs(grid))
    assert len(measured) == 2, "two depths"


def test_the_price_is_said_in_cpu_hours_and_for_the_workers(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PriceList, "of", lambda self, run: pricing.Price(None, 900.0, 0))
    assert spoken_price(final_runs(grid)[:8], PriceList(), 2) == (
        "8 runs: 2 CPU-hours by a step measured here, about 60 min with 2 workers"
    )


def test_a_run_says_its_price_before_it_starts(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablation, "run", lambda *given, **named: print("started"))
    ablation.main(["run", str(tmp_path / "priced.yaml"), "--results", str(tmp_path), "--workers", "2"])
    said = capsys.readouterr().out
    assert "to be made: 17 runs: " in said
    assert said.index("CPU-hours") < said.index("started")
