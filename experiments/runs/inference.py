"""A trained model and its tokenizer, loaded from a run folder, answering new texts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules.labelled_text import TextDataModule
from data_modules.tokens.encoding import TOKENIZER_FILE
from experiments.errors import ExperimentError
from experiments.planning.saved_runs import CONFIG_FILE, load_run_config
from experiments.runs.naming import TFIDF
from experiments.runs.record import Record
from experiments.runs.run_folder import BEST, RECORD_FILE, check_file, read_record
from experiments.runs.training import prepare_process
from experiments.tasks import task_named
from lightning_modules.errors import ConfigurationError, SpoiltWeights
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.evaluation import predict

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassAnswers:
    """Class probabilities of N texts."""

    class_names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    """(N, K), in the order of the texts."""

    @property
    def predicted(self) -> list[str]:
        """The most probable class of every text."""
        return [self.class_names[index] for index in self.probabilities.argmax(axis=1)]


@dataclass(frozen=True)
class TrainedModel:
    """The chosen weights of a run, with the tokenizer that was learned on its training rows."""

    module: TextClassifier
    data: TextDataModule

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a run folder, on a GPU if the machine has one.

        Raises:
            ExperimentError: the run left no network or is of another task; its checkpoint is damaged or is not the one
                that the record names; or its corpus has changed.
            ConfigurationError, DataError: configuration or corpus cannot be read.
        """
        config = load_run_config(folder)
        if not issubclass(task_named(config.task).load("module"), TextClassifier):
            raise ExperimentError(f"{folder} is of the task {config.task}, and only a classifier answers texts")
        record = read_record(folder) if (folder / RECORD_FILE).is_file() else None
        checkpoint = checkpoint_of(folder, record)
        if not check_file(checkpoint, record, train_again(folder)):
            LOGGER.warning("%s is unchecked: no record names its SHA-256", checkpoint)
        prepare_process(config.threads)
        module = read_checkpoint(checkpoint)
        own = folder / TOKENIZER_FILE  # of a run that started from another one
        text = replace(config.data, tokenizer=str(own)) if own.is_file() else config.text
        data = TextDataModule.from_config(text)
        check_same_text(folder, record, module, data)
        return cls(module.to(device()).eval(), data)

    def answer(self, texts: Sequence[str]) -> ClassAnswers:
        """Return the class probabilities of texts, which are cleaned and tokenised as the corpus was.

        Raises:
            ExperimentError: the network's numbers overflow, so that there is no answer.
        """
        predictions = predict(self.module, self.data.text_batches(texts))
        order = np.argsort(predictions.rows)
        probabilities = predictions.probabilities[order]
        spoilt = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
        if len(spoilt):
            raise ExperimentError(
                f"the network has no answer for {len(spoilt)} of {len(texts)} texts, the first of them text "
                f"{spoilt[0] + 1}: its numbers are not finite"
            )
        return ClassAnswers(self.data.facts.class_names, probabilities)


def device() -> torch.device:
    """Return the accelerator if the machine has one, else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else found


def checkpoint_of(folder: Path, record: Record | None) -> Path:
    """Return the chosen checkpoint of a run.

    Raises:
        ExperimentError: if there is none, saying why and how to get one.
    """
    path = folder / BEST
    if path.is_file():
        return path
    if record is not None and record.condition == TFIDF:
        raise ExperimentError(f"{folder} is the baseline {TFIDF}, fitted by scikit-learn: it left no network to load")
    if record is not None and record.outcome.status in ("diverged", "failed"):
        raise ExperimentError(f"{folder} has no {BEST}: the run {record.outcome.status} ({record.outcome.reason})")
    raise ExperimentError(
        f"{folder} has no {BEST} (unfinished, or removed by `experiments.ablation clean`); {train_again(folder)}"
    )


def train_again(folder: Path) -> str:
    """Return how to get a checkpoint back."""
    return f"train it again with: python -m experiments.train fit --config {folder / CONFIG_FILE}"


def read_checkpoint(path: Path) -> TextClassifier:
    """Return the classifier in a checkpoint; only tensors and plain values are unpickled.

    Raises:
        ExperimentError: the file is truncated or holds something else, or a weight is not finite.
    """
    try:
        return TextClassifier.load_from_checkpoint(path)
    except SpoiltWeights as error:
        raise ExperimentError(f"{error}; {train_again(path.parent)}") from None
    except ConfigurationError:
        raise ExperimentError(
            f"{path} is damaged or is no checkpoint of a classifier; {train_again(path.parent)}"
        ) from None


def check_same_text(folder: Path, record: Record | None, module: TextClassifier, data: TextDataModule) -> None:
    """Raise :class:`ExperimentError` unless the corpus, and so the vocabulary, is the one the model was trained on."""
    trained = module.facts
    assert trained is not None, "load_from_checkpoint builds the network from facts"
    found: dict[str, Any] = {
        "fingerprint": data.corpus.fingerprint,
        "split_hash": data.corpus.split_hash,
        "vocabulary_size": data.facts.vocabulary_size,
    }
    expected = found | {"vocabulary_size": trained.vocabulary_size}
    if record is not None:
        expected |= {name: record.data[name] for name in ("fingerprint", "split_hash")}
    changed = [name for name in found if found[name] != expected[name]]
    if changed or data.facts.class_names != trained.class_names:
        what = changed[0] if changed else "class_names"
        raise ExperimentError(
            f"the corpus {data.corpus.slug} is not the one that {folder} was trained on (another {what}), "
            f"so its tokenizer would not fit; {train_again(folder)}"
        )
