"""One run in one folder: configuration first, record last."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from data_modules.tokens.word_vectors import read_word_vectors
from experiments.errors import explained
from experiments.making.messages import Progress
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run
from experiments.planning.saved_runs import CONFIG_FILE
from experiments.planning.yaml_files import write_yaml
from experiments.runs.conclude import Concluded, Timing, close_run, describe_corpus, leave
from experiments.runs.parents import Parent, ParentMissing, find_parent, refuse_other_classes
from experiments.runs.provenance import STATUS, environment, memory_in
from experiments.runs.record import Outcome, Record
from experiments.runs.run_folder import UNSEEN, Mark, locked, remove_earlier_attempt
from experiments.runs.training import build_trainer, prepare_process, probing_callbacks, step_budget
from experiments.tasks import task_named
from lightning_modules.errors import ConfigurationError
from lightning_modules.pretrained import pretrained_name, pretrained_network
from lightning_modules.tasks.base import TaskModule
from lightning_modules.training.borrowed_weights import borrowed_weights
from lightning_modules.training.callbacks.attached import steps_of_fit
from lightning_modules.training.starting import WeightStart, WordStart

RESET = Path("/proc/self/clear_refs")


def execute(
    run: Run, results: Path, send: Callable[[Progress], None] = lambda progress: None, seen: Mark = UNSEEN
) -> Record:
    """Make a run and return its record. What an interrupted attempt left in the folder is removed first.

    Args:
        run: which run.
        results: the folder of all results.
        send: gets the run's progress.
        seen: mark of the record that the run replaces.

    Raises:
        Busy: another process is making this run, or has written a record since ``seen``.
        ExperimentError: the folder cannot be written, or access to a file is refused.
    """
    folder = run.folder(results)
    with explained(folder), locked(folder, seen):
        remove_earlier_attempt(folder)
        write_yaml(folder / CONFIG_FILE, run.config.as_dict())
        started, is_measured = time.perf_counter(), forget_peak_memory()

        def timing() -> Timing:
            seconds = time.perf_counter() - started
            return {"seconds": seconds, "peak_memory_mib": peak_memory_mib() if is_measured else None}

        return fit_baseline(run, folder, timing) if run.baseline else train(run, folder, send, timing)


def fit_baseline(run: Run, folder: Path, timing: Callable[[], Timing]) -> Record:
    """Fit and score a baseline without a network, which its condition names."""
    concluded: Concluded = task_named(run.config.task).load(run.condition)(run)
    leave(folder, run, concluded, timing())
    return concluded.record


def train(run: Run, folder: Path, send: Callable[[Progress], None], timing: Callable[[], Timing]) -> Record:
    """Train the run's model and score it."""
    task = task_named(run.config.task)
    prepare_process(run.config.threads)
    try:
        parent = find_parent(run.config)
        text = run.config.text if parent is None else parent.text(run.config.data)
    except ParentMissing as missing:
        return leave_without_parent(run, folder, str(missing), timing)
    data = task.load("data").from_config(text)
    module = task.load("module").from_config(run.config.model)
    begin(module, data, run.config, parent)
    trainer = build_trainer(
        asdict(run.config.trainer),
        folder,
        [*probing_callbacks(run.config.probes), ProgressReporter(send)],
        task=task,
        steps=step_budget(run.config, data),
    )
    trainer.fit(module, datamodule=data)
    return close_run(run, folder, trainer, module, data, timing, parent)


def begin(module: TaskModule, data: Any, config: RunConfig, parent: Parent | None) -> None:
    """Let a module start from earlier weights or from word vectors, once it builds its network.

    Raises:
        ExperimentError: the head is to be taken, and it tells other classes apart.
        ConfigurationError: the pretrained network is not the one that the configuration says.
        DataError: the word vectors cannot be read.
    """
    if parent is not None:
        if config.start.part == "all":
            refuse_other_classes(parent, data)
        module.start = parent.start(config.start)
    elif config.model.pretrained is not None:
        module.start = pretrained_start(config)
    if config.model.word_vectors is not None:
        path = Path(config.model.word_vectors).expanduser()
        vectors = read_word_vectors(path, data.encoded.tokenizer.backend.get_vocab())
        module.words = WordStart(
            ids=torch.from_numpy(vectors.ids),
            values=torch.from_numpy(vectors.values),
            projected=config.model.word_vectors_width == "projected",
        )


def pretrained_start(config: RunConfig) -> WeightStart:
    """Return the weights of the network that ``model.pretrained`` names.

    Raises:
        ConfigurationError: it is not there, or is another one than the configuration says.
    """
    model = config.model
    network = pretrained_network(model.pretrained or "")
    for name, value in network.settings.items():
        if getattr(model, name) != value:
            raise ConfigurationError(
                f"model.{name} is {getattr(model, name)}, and the pretrained network has {value}; leave out the sizes "
                "and model.pretrained_sha256"
            )
    return WeightStart(
        weights=borrowed_weights(network, model.pretrained_sha256 or ""),
        top_blocks=config.start.top_blocks,
        rate_per_block=config.start.rate_per_block,
        surgery=True,
        origin={
            "name": pretrained_name(model.pretrained or ""),
            "family": network.family,
            "commit": network.commit,
            "weights_sha256": model.pretrained_sha256,
        },
    )


def leave_without_parent(run: Run, folder: Path, reason: str, timing: Callable[[], Timing]) -> Record:
    """Leave the record of a run whose parent is missing."""
    data = task_named(run.config.task).load("data").from_config(run.config.data)
    record = Record(
        **run.record_fields(),
        data=describe_corpus(data.corpus),
        model={},
        environment=environment(
            device=run.config.trainer.accelerator,
            precision=run.config.trainer.precision,
            threads=run.config.threads,
        ),
        progress={"steps": 0, "epochs": 0, "tokens_seen": 0, "best_step": None, "best_epoch": None},
        history={},
        outcome=Outcome(status="no_parent", step=0, reason=reason),
    )
    leave(folder, run, Concluded(record=record), timing())
    return record


def forget_peak_memory() -> bool:
    """Let the peak start again from what the process holds now; return whether the system can do that.

    ``ru_maxrss`` never falls, so it would give a run the peak of the largest one before it. Linux has a peak that can
    be set back (``man 5 proc``: writing 5 to ``/proc/self/clear_refs`` resets ``VmHWM``).
    """
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True


def peak_memory_mib() -> float | None:
    """The most memory that the process has held since the peak began, in MiB; None if the system does not say."""
    peak = memory_in(STATUS).get("VmHWM")
    return None if peak is None else peak / 1024


INTERVAL = 0.5
"""Seconds between two messages."""


class ProgressReporter(Callback):
    """Send :class:`Progress` about twice a second."""

    def __init__(self, send: Callable[[Progress], None]) -> None:
        self.send = send
        self.last = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Send a message when the last one is old enough."""
        now = time.monotonic()
        if now - self.last < INTERVAL:
            return
        self.last = now
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        steps = steps_of_fit(trainer, pl_module)
        self.send(
            Progress(
                trainer.current_epoch + 1, trainer.global_step, 0 if steps == math.inf else int(steps), float(loss)
            )
        )
