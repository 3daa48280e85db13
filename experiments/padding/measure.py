"""How far a trained network's answers depend on the padding of its batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.errors import ExperimentError
from experiments.padding.arrangements import AS_TESTED, arrangements
from experiments.planning.saved_runs import run_names
from experiments.runs.files import RECORD_FILE, read_record
from experiments.runs.inference import TrainedModel
from lightning_modules.tasks.classification import Batch, TextClassifier
from lightning_modules.training.evaluation import predict, score


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The answers to all N rows in one arrangement, beside those to the same rows as tested."""

    arrangement: str
    padding: float
    """Columns of padding in a row, mean over rows."""
    padded_otherwise: float
    """Share of the rows that have another number of them than as tested."""
    changed: float
    """Share of the rows whose most probable class is another one than as tested."""
    classes: int
    """Classes that are the most probable one of any row."""
    macro_f1: float
    f1_difference: float
    """Macro-F1 minus that as tested."""
    largest_change: float
    """Largest absolute difference of any class's probability in any row."""


@dataclass(frozen=True, kw_only=True)
class RunEffects:
    """What was measured of one run."""

    name: str
    """``condition/cell/seed_n``, with the folders before it that tell runs apart."""
    condition: str
    corpus: str
    rows: int
    longest: int
    """Most columns of a batch."""
    effects: tuple[Effect, ...]
    """From no padding to most."""

    @property
    def folder_name(self) -> str:
        """``condition/cell``, which runs that differ in their seeds have in common."""
        return self.name.rpartition("/")[0]


@dataclass(frozen=True)
class Answers:
    """Answers in one arrangement, sorted by row."""

    rows: NDArray[np.int64]
    padding: NDArray[np.int64]
    """(N,) columns of padding."""
    probabilities: NDArray[np.float32]
    """(N, K)."""
    macro_f1: float


def measure_runs(folders: Sequence[Path]) -> list[RunEffects]:
    """Measure the chosen checkpoint of every run folder on the test rows of its corpus.

    Raises:
        ExperimentError: where a run left no network, its corpus has changed or the corpora differ.
        DataError: where a run is a tuning trial, which must not see the test rows.
    """
    measured: list[RunEffects] = []
    texts: list[tuple[str, str, bool]] = []
    for folder, name in zip(folders, run_names(folders), strict=True):
        trained = TrainedModel.load(folder)
        corpus, is_shuffled = trained.data.corpus, trained.data.config.shuffle_words
        texts.append((corpus.fingerprint, corpus.split_hash, is_shuffled))
        if texts[-1] != texts[0]:
            raise ExperimentError(
                f"{measured[0].name} and {name} have different test rows (another split, or words shuffled in one "
                "alone), so no table can hold both"
            )
        measured.append(measure_run(folder, name, trained))
    return measured


def measure_run(folder: Path, name: str, trained: TrainedModel) -> RunEffects:
    """Measure a loaded run on the test rows of its corpus."""
    module = trained.module
    effects = measure(module, list(trained.data.test_dataloader()))
    assert module.facts is not None, "a network that was loaded has facts"
    record = read_record(folder) if (folder / RECORD_FILE).is_file() else None
    return RunEffects(
        name=name,
        condition=record.condition if record else module.config.variant,
        corpus=trained.data.corpus.slug,
        rows=len(trained.data.encoded.splits["test"]),
        longest=module.facts.max_length,
        effects=tuple(effects),
    )


def measure(module: TextClassifier, batches: Sequence[Batch]) -> list[Effect]:
    """Return the effect of every arrangement of the batches, which are as tested."""
    facts = module.facts
    assert facts is not None, "only a network that was built can answer"
    found = {
        name: answers_to(module, rearranged, facts.class_names)
        for name, rearranged in arrangements(batches, facts.padding_id, facts.max_length).items()
    }
    return [effect(name, answers, found[AS_TESTED]) for name, answers in found.items()]


def answers_to(module: TextClassifier, batches: Sequence[Batch], class_names: Sequence[str]) -> Answers:
    """Return the answers to batches."""
    predictions = predict(module, batches)
    order = np.argsort(predictions.rows)
    padding = torch.cat([(~batch["attention_mask"]).sum(dim=1) for batch in batches]).numpy()
    return Answers(
        predictions.rows[order],
        padding[order],
        predictions.probabilities[order],
        score(predictions, class_names)["macro_f1"],
    )


def effect(arrangement: str, answers: Answers, tested: Answers) -> Effect:
    """Compare the answers in an arrangement with those to the same rows as tested."""
    np.testing.assert_array_equal(answers.rows, tested.rows)
    predicted = answers.probabilities.argmax(axis=1)
    return Effect(
        arrangement=arrangement,
        padding=float(answers.padding.mean()),
        padded_otherwise=float((answers.padding != tested.padding).mean()),
        changed=float((predicted != tested.probabilities.argmax(axis=1)).mean()),
        classes=len(np.unique(predicted)),
        macro_f1=answers.macro_f1,
        f1_difference=answers.macro_f1 - tested.macro_f1,
        largest_change=float(np.abs(answers.probabilities - tested.probabilities).max()),
    )
