"""Runs of one architecture trained together as a population, each ending in a folder and record of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, cast

import torch

from data_modules.batches.batching import Batch, BatchOrder
from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError, explained
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run
from experiments.planning.saved_runs import CONFIG_FILE
from experiments.planning.yaml_files import write_yaml
from experiments.runs.conclude import conclude
from experiments.runs.ending import Ending, device_name
from experiments.runs.execute import leave, section
from experiments.runs.leftovers import log_hyperparameters
from experiments.runs.locks import UNSEEN, Mark, locked
from experiments.runs.population_leftovers import write_best_checkpoint, write_curves
from experiments.runs.record import Outcome, Record
from experiments.runs.run_folder import empty
from experiments.runs.training import curve_loggers, prepare_process
from lightning_modules.errors import reject_unknown
from lightning_modules.facts import TaskFacts
from lightning_modules.population.members import Member
from lightning_modules.population.requirements import PRECISIONS, refuse_unlike
from lightning_modules.population.training import LoopSettings, PopulationTrainer
from lightning_modules.tasks.classification import TextClassifier


def execute_population(
    runs: Sequence[Run],
    results: Path,
    after_step: Callable[[int], None] = lambda step: None,
    seen: Mapping[str, Mark] | None = None,
) -> list[Record]:
    """Make runs together and return their records, which agree with those of the runs one by one to rounding.

    Args:
        runs: of one architecture and text; they may differ in seed and in ``population.requirements.OWN_VALUES``.
        results: the folder of all results.
        after_step: called with the number of every step that was taken.
        seen: by the name of a run, the mark of the record that it had when it was decided to make it.

    Raises:
        Busy: where another process is making one of the runs, or has made it meanwhile; none is made then.
        ExperimentError: where they are no population, a folder cannot be written, or access to a file is refused.
        ConfigurationError: where two differ in their architecture.
    """
    refuse_unfit(runs)
    with ExitStack() as locks, explained(results):
        for run in runs:
            locks.enter_context(locked(run.folder(results), (seen or {}).get(run.name, UNSEEN)))
        for run in runs:
            empty(run.folder(results))
            write_yaml(run.folder(results) / CONFIG_FILE, run.config.as_dict())
        return train_together(runs, results, after_step)


def refuse_unfit(runs: Sequence[Run]) -> None:
    """Refuse runs that cannot be trained together.

    Raises:
        ExperimentError: naming the run or the section of the configuration.
        ConfigurationError: naming the field of the model.
    """
    refuse_unlike([run.config.model for run in runs])
    for run in runs:
        config = run.config
        if run.baseline or run.pending:
            raise ExperimentError(f"{run.name} has no network to train yet, so it belongs to no population")
        if config.probes.every_n_steps or config.trainer.track_train_metrics:
            raise ExperimentError(f"{run.name} is measured while it trains, which a population is not; make it alone")
        if config.model.compile:
            raise ExperimentError(f"{run.name} has model.compile, which a population does without; make it alone")
        if config.trainer_flags or config.trainer.devices != 1:
            raise ExperimentError(f"{run.name} sets flags of the trainer that a population does not have")
        reject_unknown("trainer.precision of a population", config.trainer.precision, PRECISIONS)
        if common_settings(config) != common_settings(runs[0].config) or run.stage != runs[0].stage:
            raise ExperimentError(f"{run.name} differs from {runs[0].name} in its data, trainer, threads or stage")
    if len({run.name for run in runs}) < len(runs):
        raise ExperimentError("a run stands twice in a population")


def common_settings(config: RunConfig) -> dict[str, Any]:
    """Return what all members share besides the model: data but for the seed, trainer, threads."""
    return {"data": asdict(replace(config.data, seed=0)), "trainer": asdict(config.trainer), "threads": config.threads}


def train_together(runs: Sequence[Run], results: Path, after_step: Callable[[int], None]) -> list[Record]:
    """Train and score the runs and write what each leaves, its record last."""
    started, config = time.perf_counter(), runs[0].config
    prepare_process(config.threads)
    device = choose_device(config.trainer.accelerator)
    data = member_data(runs)
    names = {field.name for field in fields(LoopSettings)}
    settings = LoopSettings(**{name: value for name, value in asdict(config.trainer).items() if name in names})
    facts = TaskFacts.of(data[0].facts)
    trainer = PopulationTrainer([run.config.model for run in runs], facts, settings, device)
    training = time.perf_counter()
    members = trainer.fit(batches_by_epoch(data), data[0].val_dataloader, after_step)
    trained = time.perf_counter()
    shares = {"training_seconds": (trained - training) / len(runs), "seconds": (trained - started) / len(runs)}
    return [
        finish(run, member, text, results, device, shares, len(runs))
        for run, member, text in zip(runs, members, data, strict=True)
    ]


def choose_device(accelerator: str) -> torch.device:
    """Return the device that a run's accelerator means.

    Raises:
        ExperimentError: where it is not the CPU or a CUDA GPU of this machine.
    """
    has_gpu = torch.cuda.is_available()
    if accelerator == "cpu" or (accelerator == "auto" and not has_gpu):
        return torch.device("cpu")
    if accelerator in ("auto", "gpu", "cuda") and has_gpu:
        return torch.device("cuda", torch.cuda.current_device())
    raise ExperimentError(f"trainer.accelerator is {accelerator}; a population trains on cpu, or on a gpu where one is")


def member_data(runs: Sequence[Run]) -> list[TextDataModule]:
    """Return every run's data module; the text is read once. Worker processes of each member would be too many."""
    first = TextDataModule(**section(replace(runs[0].config.data, num_workers=0)))
    return [first.with_seed(run.config.data.seed) for run in runs]


def batches_by_epoch(data: Sequence[TextDataModule]) -> Callable[[int], Iterable[Sequence[Batch]]]:
    """Return what yields, for an epoch, one batch per member and step: those of each member's own run."""
    loaders = [text.train_dataloader() for text in data]

    def batches(epoch: int) -> Iterator[Sequence[Batch]]:
        for loader in loaders:
            cast(BatchOrder, loader.sampler).set_epoch(epoch)
        return zip(*loaders, strict=True)

    return batches


def finish(
    run: Run,
    member: Member,
    data: TextDataModule,
    results: Path,
    device: torch.device,
    shares: dict[str, float],
    population: int,
) -> Record:
    """Score one member as a run by itself is scored, and leave what that leaves.

    Args:
        run: which run the member is.
        member: what training left of it.
        data: its text.
        results: the folder of all results.
        device: where it was trained and is scored.
        shares: ``training_seconds`` and ``seconds`` up to now, of the population's time divided by its members.
        population: number of members.
    """
    started = time.perf_counter()
    folder = run.folder(results)
    module = TextClassifier(**section(run.config.model))
    module.build(data.facts)
    ending = Ending(
        steps=member.steps,
        epochs=member.epochs,
        tokens=member.history.tokens,
        history=member.curves(),
        device=device_name(device),
        divergence=Outcome(status="diverged", step=member.steps, reason=member.reason) if member.reason else None,
        checkpoint=write_best_checkpoint(folder, module, member),
        population=population,
    )
    concluded = conclude(run, ending, module.to(device), data)
    loggers = curve_loggers(folder)
    write_curves(loggers, ending.history, list(module.network.parts()), run.config.trainer.log_every_n_steps)
    log_hyperparameters(loggers, concluded.record)
    timing = {
        "training_seconds": shares["training_seconds"],
        "tokens_per_second": member.history.tokens / shares["training_seconds"],
        "seconds": shares["seconds"] + time.perf_counter() - started,
        "peak_memory_mib": None,  # of the whole population, so of no member
    }
    leave(folder, run, concluded, timing)
    return concluded.record
