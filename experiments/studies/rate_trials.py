"""Making the trials of the stability map: one process makes one run at a time; several processes share the cells."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from rich.console import Console

from data_modules.batches.windows import IGNORED
from experiments.making.display import duration
from experiments.planning.names import reject_unknown
from experiments.planning.run_config import RunConfig
from experiments.runs.canonical import five_digits
from experiments.runs.run_folder import Busy, locked
from experiments.runs.training import build_bare_trainer, prepare_process
from experiments.studies.rate_edges import (
    BASE,
    Ending,
    RateQuestion,
    RateSetup,
    RateTrial,
    begin_of,
    local_folder,
    read_committed_trials,
    read_local,
    search_edge,
    trainable_schemes,
    write_trial,
)
from experiments.tasks import CAUSAL_LM
from lightning_modules.training.callbacks.divergence import DivergenceGuard
from lightning_modules.training.callbacks.step_budget import StepBudget

TRIALS = 4.0
"""Runs that a cell takes on average: two around the edge, one more on the way, and the second seed."""
OTHERS = 1.3
"""Cost of the average scheme over that of Pre-LN."""
PRICED_STEPS = 20
"""Steps of a run that are measured for its price."""
POLL_SECONDS = 1.0
"""Between two looks at a cell that another process makes."""
EVERY = 10
"""Steps between two losses that are kept."""


class Losses(Callback):
    """Keeps the training loss of every step, and the unigram model's on the same batch.

    Args:
        shares: of every token id among the training tokens, ``(vocabulary,)``.
    """

    def __init__(self, shares: NDArray[np.float64]) -> None:
        self.surprise = torch.from_numpy(-np.log(shares))
        self.values: list[float] = []
        self.unigram: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the losses of the step that was just taken."""
        self.values.append(float(outputs["loss"]))
        targets = batch["targets"]
        self.unigram.append(float(self.surprise[targets[targets != IGNORED]].mean()))


def text_of(question: RateQuestion) -> Any:
    """Return the data module that all trials read, with its text built."""
    setup = question.setup
    data = CAUSAL_LM.load("data").from_config(setup.config(BASE, setup.layers[0], setup.begin, 0).data)
    data.prepare_data()
    return data


def make_trial(setup: RateSetup, scheme: str, layers: int, power: int, seed: int, text: Any) -> RateTrial:
    """Train once, in this process, and say how it ended.

    Args:
        setup: of the question.
        scheme: a variant.
        layers: blocks.
        power: of two, by which the setup's unit is multiplied.
        seed: of weights and batches.
        text: data module of :func:`text_of`, whose tokens are shared by all trials.
    """
    config = setup.config(scheme, layers, power, seed)
    losses, guard = Losses(text.unigram_shares), DivergenceGuard()
    module = CAUSAL_LM.load("module").from_config(config.model)
    trainer = build_bare_trainer(trainer_flags(config), [StepBudget(config.trainer.max_steps or 0), losses, guard])
    text.config = replace(text.config, seed=seed)
    trainer.fit(module, datamodule=text)
    unigram = fmean(losses.unigram[-setup.last :])
    ending = ending_of(setup, losses.values, unigram, finite=not guard.has_diverged)
    finite = [value for value in losses.values if math.isfinite(value)]
    mean = fmean(losses.values[-setup.last :])
    return RateTrial(
        scheme=scheme,
        layers=layers,
        power=power,
        rate=setup.rate(power),
        seed=seed,
        ending=ending,
        step=len(losses.values),
        first_loss=five_digits(losses.values[0] if math.isfinite(losses.values[0]) else 0.0),
        last_loss=five_digits(mean) if math.isfinite(mean) and not guard.has_diverged else None,
        unigram_loss=five_digits(unigram),
        losses=five_digits(finite[::EVERY]),
        setup_hash=setup.hash(),
        environment={"torch": torch.__version__.partition("+")[0], "threads": torch.get_num_threads()},
    )


def trainer_flags(config: RunConfig) -> dict[str, Any]:
    """Return the flags of a trainer that validates nothing, counts steps and writes nothing."""
    flags = {name: value for name, value in asdict(config.trainer).items() if name not in ("max_steps", "max_tokens")}
    return {**flags, "max_epochs": -1, "limit_val_batches": 0, "enable_progress_bar": False, "log_every_n_steps": 10**9}


def ending_of(setup: RateSetup, losses: list[float], unigram_loss: float, *, finite: bool) -> Ending:
    """Say by the rule of the question file how a run ended.

    Args:
        setup: with margin and number of last steps.
        losses: of every step.
        unigram_loss: of the unigram model on the last batches, in nats.
        finite: whether every loss and gradient was.
    """
    if not finite or not all(map(math.isfinite, losses)) or len(losses) < setup.steps:
        return "not finite"
    mean = fmean(losses[-setup.last :])
    if mean <= unigram_loss - setup.margin:
        return "survived"
    return "above its start" if mean >= losses[0] else "no context"


def make_missing_trials(
    question: RateQuestion,
    results: Path,
    console: Console,
    cpu_minutes: float | None = None,
    layers: Sequence[int] = (),
) -> int:
    """Make the trials that the search still needs, cell by cell, and count them.

    Several processes may do so at once, one for each core: a cell belongs to the one that locks it. Each trial is kept
    as soon as it ends.

    Args:
        question: what is asked.
        results: folder of all results.
        console: where each trial is told.
        cpu_minutes: no cell is begun once this process has used as much; without limit by default.
        layers: depths to measure now; all by default.

    Raises:
        ExperimentError: a depth is not one of the question's.
    """
    for depth in layers:
        reject_unknown("--layers: depth", str(depth), map(str, question.setup.layers))
    prepare_process(1)
    search = CellSearch(question, results, console)
    for scheme, depth in question.cells():
        if layers and depth not in layers:
            continue
        if cpu_minutes is not None and time.process_time() > 60 * cpu_minutes:
            console.print(f"stopped after {cpu_minutes:g} CPU-minutes; the same command goes on", highlight=False)
            break
        if scheme != BASE:
            search.make(BASE, depth, waits=True)  # where all others begin
        search.make(scheme, depth)
    return search.made


class CellSearch:
    """Makes trials and knows those that were made.

    Args:
        question: what is asked.
        results: folder of all results.
        console: where each trial is told.

    Attributes:
        made: trials made so far.
    """

    def __init__(self, question: RateQuestion, results: Path, console: Console) -> None:
        self.question, self.results, self.console = question, results, console
        self.text = text_of(question)
        self.committed = list(read_committed_trials(results, question.setup))
        self.made = 0

    def known(self, scheme: str, layers: int) -> list[RateTrial]:
        """Return the trials of a cell, committed ones among them."""
        committed = [trial for trial in self.committed if (trial.scheme, trial.layers) == (scheme, layers)]
        return [*committed, *read_local(self.results, self.question.setup, scheme, layers)]

    def next_of(self, scheme: str, layers: int) -> tuple[int, int] | None:
        """Return power and seed of a cell's next trial; None once its edge is known."""
        cells = {(name, layers): self.known(name, layers) for name in (BASE, scheme)}
        begin = begin_of(self.question, (scheme, layers), cells)
        return search_edge(self.question.setup, cells[scheme, layers], begin).next

    def make(self, scheme: str, layers: int, *, waits: bool = False) -> None:
        """Make the trials of one cell until its edge is known; leave it, or wait, while another process makes them."""
        while self.next_of(scheme, layers) is not None:
            try:
                with locked(local_folder(self.results, scheme, layers)):
                    while (wanted := self.next_of(scheme, layers)) is not None:
                        self.make_one(scheme, layers, *wanted)
            except Busy:
                if not waits:
                    return
                time.sleep(POLL_SECONDS)

    def make_one(self, scheme: str, layers: int, power: int, seed: int) -> None:
        """Make one trial, keep it and tell how it ended."""
        started = time.process_time()
        trial = make_trial(self.question.setup, scheme, layers, power, seed, self.text)
        write_trial(self.results, trial)
        self.made += 1
        loss = "–" if trial.last_loss is None else f"{trial.last_loss:.3f}"
        told = f"{scheme} layers {layers} rate {trial.rate:.6g} seed {seed}: {trial.ending}, loss {loss}"
        seconds = time.process_time() - started
        self.console.print(f"{told}, {seconds:.1f} CPU-seconds", highlight=False, soft_wrap=True)


def print_price(question: RateQuestion, console: Console) -> None:
    """Measure a few steps of Pre-LN at every depth, and print what the whole map takes of one core's time."""
    prepare_process(1)
    text, setup, whole = text_of(question), question.setup, 0.0
    schemes, short = len(trainable_schemes()), replace(setup, steps=PRICED_STEPS, last=1)
    make_trial(short, BASE, 1, setup.begin, 0, text)  # which pays for what a process does once
    for layers in setup.layers:
        started = time.process_time()
        make_trial(short, BASE, layers, setup.begin, 0, text)
        seconds = (time.process_time() - started) * setup.steps / PRICED_STEPS
        cost = schemes * TRIALS * OTHERS * seconds
        whole += cost
        console.print(
            f"{layers} blocks: {seconds:.1f} CPU-seconds a run of Pre-LN, about {duration(cost)} for {schemes} schemes "
            f"of {TRIALS:g} runs",
            highlight=False,
        )
    console.print(f"the whole map: about {whole / 3600:.2g} CPU-hours", highlight=False)
