"""Snapshots of networks: of a variant at initialisation and while it trains, or of a trained run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from experiments.planning.saved_runs import load_run_config
from experiments.runs.canonical import finite_or_none
from experiments.runs.execute import section
from experiments.runs.files import RECORD_FILE, read_record
from experiments.runs.inference import TrainedModel, device
from experiments.runs.training import build_bare_trainer, prepare_process
from lightning_modules.probes.measures import measure
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.callbacks.divergence import DivergenceGuard
from lightning_modules.training.callbacks.probes import Depths, Probes


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Every probe of one network at one step."""

    name: str
    """What is shown: a variant, or ``condition/cell/seed_n`` of a run. Snapshots of one network share it."""
    condition: str
    """What decides its colour."""
    corpus: str
    """Slug of the corpus whose rows it was measured on."""
    step: int | None
    """Optimiser steps taken; None where a run left no record that says it."""
    measures: dict[str, Depths]
    """Per measure a list by depth, the last block last; measures of the stream begin with the embedding."""

    @property
    def blocks(self) -> int:
        """Number of blocks of the network."""
        return len(self.measures["stream_rms"]) - 1


def probe_variant(config: RunConfig, steps: int) -> tuple[list[Snapshot], str]:
    """Measure the configured network at initialisation and, where ``steps`` is not 0, while it trains so many steps.

    Returns:
        Snapshots, the first one at step 0, and a note: empty, or why training ended before ``steps``.

    Raises:
        ExperimentError: where the configured training is shorter than ``steps``.
    """
    prepare_process(config.threads)
    data = TextDataModule(**section(config.data))
    module = TextClassifier(**section(config.model))
    names = {"name": config.model.variant, "condition": config.model.variant, "corpus": config.data.slug}
    if steps == 0:
        module.build(data.facts)
        return [Snapshot(**names, step=0, measures=measure_module(module.to(device()), data, config.probes.rows))], ""
    longest = data.facts.steps_per_epoch * config.trainer.max_epochs
    if steps > longest:
        raise ExperimentError(
            f"--steps is {steps}, and training ends after {longest} (trainer.max_epochs {config.trainer.max_epochs})"
        )
    probes, guard = Probes(config.probes.every_n_steps or steps, config.probes.rows, steps), DivergenceGuard()
    settings = asdict(config.trainer) | {"max_steps": steps, "limit_val_batches": 0, "enable_progress_bar": False}
    build_bare_trainer(settings, [guard, probes]).fit(module, datamodule=data)
    found = snapshots_of(probes.as_record(), names)
    return found, f"{config.model.variant} diverged: {guard.reason}" if guard.has_diverged else ""


def snapshots_of(history: Mapping[str, Any], names: dict[str, str]) -> list[Snapshot]:
    """Return the snapshots in the ``probes`` of a run's history."""
    measures = [name for name in history if name != "step"]
    return [
        Snapshot(**names, step=step, measures={name: history[name][index] for name in measures})
        for index, step in enumerate(history["step"])
    ]


def probe_run(folder: Path, rows: int, name: str) -> Snapshot:
    """Measure the chosen checkpoint of a run folder on the first ``rows`` of the run's own training sample.

    Raises:
        ExperimentError: where the run left no network or its corpus has changed.
    """
    trained = TrainedModel.load(folder)
    record = read_record(folder) if (folder / RECORD_FILE).is_file() else None
    return Snapshot(
        name=name,
        condition=record.condition if record else trained.module.config.variant,
        corpus=load_run_config(folder).data.slug,
        step=record.progress["best_step"] if record else None,
        measures=measure_module(trained.module, trained.data, rows),
    )


def measure_module(module: TextClassifier, data: TextDataModule, rows: int) -> dict[str, Depths]:
    """Measure a classifier on the first ``rows`` of the training sample; None where a measure has no finite value."""
    batch = {name: value.to(module.device) for name, value in data.train_sample(rows).items()}
    measures = measure(
        module.network,
        batch["input_ids"],
        batch["attention_mask"],
        lambda logits: module.training_loss(logits, batch["labels"]),
    )
    return finite_or_none(measures)
