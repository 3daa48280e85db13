"""What a grid would do and cost, before it does it: every run with its size, and the time and disk of all.

A training step is measured on this machine, then multiplied by what a run takes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from experiments.making.display import duration
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.run_config import RunConfig, steps_of
from experiments.planning.runs import Run
from experiments.runs.finished import FinishedRuns
from experiments.runs.precision import device_of, threads
from experiments.runs.run_folder import RECORD_FILE
from experiments.tasks import task_named
from lightning_modules.network.counting import Counts, count

START_SECONDS = 3.0
"""What a run costs apart from arithmetic: start, checkpoints, files."""
BASELINE_SECONDS = 15.0
EVALUATION = 1 / 3
"""Arithmetic of an evaluated token, as a share of that of a trained one: it has no backward pass."""
LOOP = 1.1
"""Seconds of a step in a run over those of a bare step: the trainer's loop, curves, gradient norms."""
LOG_BYTES = 400_000
"""Curves, predictions and record of a run."""
BATCHES, LEAST_ROUNDS, LEAST_SECONDS = 4, 4, 1.0
"""Batches on which steps are measured, how often at least, and for how long."""
NOT_ARCHITECTURE: dict[str, Any] = {
    "seed": 0,
    "learning_rate": 1e-3,
    "warmup_fraction": 0.0,
    "initialisation_gain": 1.0,
    "embedding_std": None,
}
"""Settings that differ between the runs of a grid and leave a network's size as it is."""


@dataclass(frozen=True)
class Price:
    """Size and cost of one run."""

    counts: Counts
    seconds: float
    """Of one worker."""
    bytes: int
    """Of disk."""


class PriceList:
    """Prices runs. Text, sizes and steps are looked at once for all runs that share them."""

    def __init__(self) -> None:
        self._texts: dict[str, Any] = {}
        self._speeds: dict[tuple[Any, ...], float] = {}
        self._counts: dict[tuple[Any, ...], Counts] = {}

    def of(self, run: Run) -> Price:
        """Return a run's size, counted from the built network, and its cost, from its real tokens."""
        data = self.text_of(run.config)
        counts = self.counts(run.config, data.facts)
        if run.baseline:
            return Price(counts, BASELINE_SECONDS, LOG_BYTES)
        steps = steps_of(run.config, data.facts)
        trained = data.facts.train_tokens * steps / data.facts.steps_per_epoch
        tokens = trained + EVALUATION * self.evaluated_tokens(run, steps, data)
        seconds = START_SECONDS + LOOP * counts.flops_per_token * tokens / self.speed(run.config, data)
        return Price(counts, seconds, LOG_BYTES + 4 * counts.parameters)

    def text_of(self, config: RunConfig) -> Any:
        """Return the data module of a configuration."""
        plain = replace(config.text, seed=0, stage="final")
        key = repr(plain)
        if key not in self._texts:
            self._texts[key] = task_named(config.task).load("data").from_config(plain)
        return self._texts[key]

    def counts(self, config: RunConfig, facts: Any) -> Counts:
        """Count the network of a configuration without its weights; a deep one takes a second."""
        model = replace(config.model, **NOT_ARCHITECTURE)
        key = (config.task, repr(model), facts.vocabulary_size, len(facts.class_names))
        if key not in self._counts:
            with torch.device("meta"):
                module = task_named(config.task).load("module").from_config(model, facts)
            self._counts[key] = count(module.network, facts.max_length)
        return self._counts[key]

    def evaluated_tokens(self, run: Run, steps: int, data: Any) -> float:
        """Return the tokens that a run evaluates: in its validations, and to score its best and its last weights."""
        trainer = run.config.trainer
        per_epoch = round(1 / trainer.val_check_interval)
        every = trainer.validate_every_n_steps
        validations = max(1, steps * per_epoch // data.facts.steps_per_epoch if every is None else steps // every)
        per_row = data.facts.train_tokens / data.facts.train_rows
        rows = validations * data.row_count("validation") + min(2000, data.facts.train_rows)
        if run.stage == "final":
            rows += 2 * data.row_count("test")
        return float(rows * per_row)

    def speed(self, config: RunConfig, data: Any) -> float:
        """Return arithmetic per second of one worker, from a measured step of a network of this size."""
        model = config.model
        size = (model.depth, model.width, model.heads, model.feed_forward_width, config.data.batch_size)
        key = (*size, config.data.max_length, config.trainer.precision, config.threads, config.task)
        if key not in self._speeds:
            tokens, seconds = measured_step(config, data)
            self._speeds[key] = self.counts(config, data.facts).flops_per_token * tokens / seconds
        return self._speeds[key]


def measured_step(config: RunConfig, data: Any) -> tuple[float, float]:
    """Take training steps on a few real batches, again and again.

    The first steps prepare the kernels for every length of rows, which a run does once. The fastest round counts.

    Returns:
        Real tokens and seconds of a step, as means over the batches.
    """
    from lightning_modules.training.optimization import build_optimizer

    device = device_of(config.trainer.accelerator)
    with torch.random.fork_rng(), threads(config.threads):
        module = task_named(config.task).load("module").from_config(config.model, data.facts).to(device).train()
        optimizer = build_optimizer(config.model, module.network)
        narrow = config.trainer.precision.endswith("-mixed")
        batches = list(islice(data.train_dataloader(), BATCHES))
        tokens = sum(module.tokens_in(batch) for batch in batches)
        rounds: list[float] = []
        while len(rounds) < LEAST_ROUNDS or sum(rounds) < LEAST_SECONDS:
            started = time.perf_counter()
            for batch in batches:
                on_device = {name: value.to(device) for name, value in batch.items()}
                with torch.autocast(device.type, torch.bfloat16, enabled=narrow, cache_enabled=False):
                    outputs = module(on_device)
                loss = module.loss(outputs.float() if isinstance(outputs, torch.Tensor) else outputs, on_device)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            float(loss.detach())  # reading it waits for a GPU
            rounds.append(time.perf_counter() - started)
    return tokens / len(batches), min(rounds) / len(batches)


def print_plan(grid: Grid, results: Path, workers: int, console: Console) -> None:
    """Print every run of the grid, then what all of them take together, finished ones included."""
    runs, prices = planned_runs(grid, results), PriceList()
    table = Table("run", "stage", "parameters", "norms", "skips", "time", "disk", box=None)
    with console.status(f"preparing the corpus {grid.corpus} and measuring a step"):
        for run in runs:
            price = prices.of(run)
            counts = price.counts
            numbers = (f"{counts.parameters:,}", f"{counts.norms}", f"{counts.skips}")
            sizes = ("", "", "") if run.baseline else numbers
            name = run.name + (" (values chosen by tuning)" if run.pending else "")
            table.add_row(name, run.stage, *sizes, duration(price.seconds), f"{price.bytes / 2**20:.1f} MiB")
    console.print(table, soft_wrap=True)
    disk = sum(prices.of(run).bytes for run in runs) / 2**20
    console.print(f"{spoken_price(runs, prices, workers)}, {disk:.0f} MiB of disk", highlight=False)


def print_price(grid: Grid, results: Path, workers: int, console: Console) -> None:
    """Print what the runs that are still to be made take, before the first one starts."""
    missing = [run for run in planned_runs(grid, results) if not (run.folder(results) / RECORD_FILE).exists()]
    if missing:
        with console.status("measuring a step"):
            price = spoken_price(missing, PriceList(), workers)
        console.print(f"to be made: {price}", highlight=False)


def planned_runs(grid: Grid, results: Path) -> list[Run]:
    """Return every run of the grid as far as its records tell, trials first."""
    made = FinishedRuns(grid, results).records()
    return [*tune_runs(grid, made), *final_runs(grid, made)]


def spoken_price(runs: Sequence[Run], prices: PriceList, workers: int) -> str:
    """Return the price of some runs in words; trials that may not come to pass are part of it."""
    seconds = sum(prices.of(run).seconds for run in runs)
    later = sum(run.pending and run.stage == "tune" for run in runs)
    most = f", {later} of them only if tuning asks for them" if later else ""
    return (
        f"{len(runs)} runs{most}: {seconds / 3600:.2g} CPU-hours by a step measured here, "
        f"about {duration(seconds / workers)} with {workers} worker{'s' * (workers > 1)}"
    )
