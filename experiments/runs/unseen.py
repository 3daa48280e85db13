"""A trained model on text that it never saw: rows from anywhere, their labels matched by name, scores, calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from data_modules.cleaning.duplicates import same_text_key
from data_modules.cleaning.prepared import prepare
from data_modules.cleaning.text import clean_text
from data_modules.config import FILE_FORMATS, PLAIN_TEXT, DataConfig
from data_modules.sources.columns import POINT_ZERO, raw_corpus, require_columns
from data_modules.sources.files import read_table
from data_modules.sources.plain_text import source as plain_text
from data_modules.sources.source import columns_of
from data_modules.tokens.encoding import EncodedCorpus, pack
from experiments.errors import ExperimentError
from experiments.runs.inference import TrainedModel
from experiments.runs.writing import TrainedLanguageModel
from experiments.statistics.rows import METRICS, by_class, counts_by_unit, percentiles, resampled_totals
from experiments.tasks import task_named
from lightning_modules.network.heads import IGNORED
from lightning_modules.tasks.base import Evaluation
from lightning_modules.tasks.classification import evaluation_of
from lightning_modules.training.evaluation import Predictions

BINS = 15
"""Bins of confidence, as Guo et al. 2017 (arXiv:1706.04599) take them."""
FEWEST_UNITS = 2
"""Groups or rows from which an interval can be drawn."""
MISSING = "(missing)"
"""Value of a row without one, in a column by which scores are split."""


@dataclass(frozen=True, kw_only=True)
class UnseenRows:
    """Rows of text that a model is to be scored on."""

    name: str
    """Short name of where they come from."""
    texts: list[str]
    labels: list[str] | None = None
    """Name of the class of every row; None for text without labels."""
    groups: list[str] | None = None
    """Groups of rows that hang together, which intervals resample as a whole."""
    split_by: list[str] | None = None
    """Value of the column by which scores are asked for, row by row."""
    left_out: int = 0
    """Rows that had no label."""


def unseen_rows(config: DataConfig, split: str = "test", split_by: str | None = None) -> UnseenRows:
    """Read rows to score a model on: every row of a file, or a split of any other corpus as a run would see it.

    Args:
        config: where the rows are; ``train_file`` names a file.
        split: which split, unless they are in a file.
        split_by: a column of the file, or ``group``, by which scores are asked for.

    Raises:
        DataError: there is no such source, or its columns are unfit.
        ExperimentError: the source has no column to split by.
    """
    if config.corpus in FILE_FORMATS:
        return _rows_of_file(config, split_by)
    if config.corpus == PLAIN_TEXT:
        rows = plain_text(config).load().splits["train"]
        groups = rows["group"].tolist() if "group" in rows else None
        return UnseenRows(name=config.slug, texts=rows["text"].tolist(), groups=groups)
    corpus = prepare(config)
    table = corpus.splits[split]
    labels = [corpus.class_names[index] for index in table["label"][:]] if corpus.class_names else None
    groups = list(table["group"][:]) if "group" in table.column_names else None
    if split_by is not None and (split_by != "group" or groups is None):
        raise ExperimentError(
            f"the corpus {corpus.slug} has no column {split_by!r} to score by; "
            + ("it has 'group'" if groups is not None else "columns other than the text are kept of files alone")
        )
    return UnseenRows(
        name=corpus.slug,
        texts=table["text"][:],
        labels=labels,
        groups=groups,
        split_by=groups if split_by is not None else None,
    )


def _rows_of_file(config: DataConfig, split_by: str | None) -> UnseenRows:
    path = Path(config.train_file or "").expanduser()
    table = read_table(path, config.corpus, config.encoding, config.columns)
    columns = columns_of(config)
    wanted = {f"data.{kind}_column": column for kind, column in columns.items()}
    require_columns(path.name, list(table.columns), wanted | ({"--groups": split_by} if split_by else {}))
    label_names: list[str] | None = None
    raw = raw_corpus({"train": [table]}, columns, names={"train": path.name})
    rows = raw.splits["train"]
    if "label" in columns:
        label_names = [raw.class_names[index] for index in rows["label"]]
    parts: list[str] | None = None
    if split_by is not None:
        spelt = table[split_by].map(lambda cell: MISSING if pd.isna(cell) or not str(cell).strip() else str(cell))
        named = {kind: column for kind, column in columns.items() if kind != "group"} | {"group": split_by}
        again = raw_corpus({"train": [table.assign(**{split_by: spelt})]}, named, names={"train": path.name})
        parts = again.splits["train"]["group"].tolist()
    return UnseenRows(
        name=config.slug,
        texts=rows["text"].tolist(),
        labels=label_names,
        groups=rows["group"].tolist() if "group" in columns else None,
        split_by=parts,
        left_out=int(raw.report.get("train_rows_without_label", 0)),
    )


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Answers of nearly one confidence."""

    low: float
    high: float
    rows: int
    confidence: float
    """Mean probability of the answered class."""
    accuracy: float
    """Share of right answers."""


@dataclass(frozen=True, kw_only=True)
class GroupScore:
    """Scores of the rows that share a value of a column."""

    value: str
    rows: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]


@dataclass(frozen=True, kw_only=True)
class UnseenScores:
    """What a classifier scored on rows that it never saw."""

    name: str
    """Where the rows come from."""
    evaluation: Evaluation
    """The metrics of the task, each class and the confusion matrix."""
    class_names: tuple[str, ...]
    intervals: dict[str, tuple[float, float] | None]
    """95 % bootstrap interval by metric; None if there are too few rows."""
    class_intervals: list[dict[str, tuple[float, float] | None]]
    """The same of each class's accuracy, precision, recall and F1."""
    unit: str
    """What is resampled: ``row`` or ``group``."""
    units: int
    calibration: list[Bin]
    calibration_error: float
    """Expected calibration error, of the answered class's probability in 15 bins."""
    rows: int
    unknown: dict[str, int] = field(default_factory=dict)
    """Rows by a label that the model has no class for; they are not scored."""
    left_out: int = 0
    """Rows that had no label."""
    seen: int = 0
    """Scored rows whose text, apart from case and white space, is among the run's training rows."""
    absent: tuple[str, ...] = ()
    """Classes of the model that no row has."""
    groups: tuple[GroupScore, ...] = ()

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the task by name."""
        return {name: self.evaluation.metrics[name] for name in METRICS}


def matched(rows: UnseenRows, class_names: Sequence[str]) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the class of every row by its label's name, −1 for a name that the model does not know, and these counted.

    ``1.0`` is ``1``, as whole numbers are written in a column with gaps.

    Raises:
        ExperimentError: there are no labels, or the model knows none of them.
    """
    if rows.labels is None:
        raise ExperimentError(
            f"{rows.name} has no labels to score answers by; name their column with data.label_column"
        )
    place = {name: index for index, name in enumerate(class_names)}
    found = np.array([place.get(name, place.get(POINT_ZERO.sub("", name), -1)) for name in rows.labels], dtype=np.int64)
    unknown = Counter(name for name, index in zip(rows.labels, found, strict=True) if index < 0)
    if len(found) == unknown.total():
        shown = ", ".join(repr(name) for name, _ in unknown.most_common(5))
        raise ExperimentError(
            f"{rows.name} has no label that the run knows: its labels are {shown}, and the run's classes are "
            f"{', '.join(map(repr, class_names[:10]))}"
        )
    return found, dict(unknown.most_common())


def score_unseen(model: TrainedModel, rows: UnseenRows, seed: int = 0) -> UnseenScores:
    """Score a classifier on rows that it never saw, with 95 % bootstrap intervals over groups of rows, or over rows.

    Args:
        model: of a run folder.
        rows: with labels, by name.
        seed: of the resampling.

    Raises:
        ExperimentError: no label is known, or the network has no answer.
    """
    names = model.data.facts.class_names
    labels, unknown = matched(rows, names)
    kept = np.flatnonzero(labels >= 0)
    texts, labels = [rows.texts[row] for row in kept], labels[kept]
    predictions = Predictions(kept, labels, model.answer(texts).probabilities, None)
    evaluation = evaluation_of(predictions, names)
    groups = None if rows.groups is None else numbered([rows.groups[row] for row in kept])
    counts = counts_by_unit(labels, predictions.predicted, len(names), groups)
    intervals, class_intervals = bootstrap(counts, np.random.default_rng(seed))
    calibration = reliability(predictions.probabilities, labels)
    trained_on = {same_text_key(text) for text in model.data.texts("train")}
    return UnseenScores(
        name=rows.name,
        evaluation=evaluation,
        class_names=names,
        intervals=intervals,
        class_intervals=class_intervals,
        unit="row" if groups is None else "group",
        units=len(counts),
        calibration=calibration,
        calibration_error=sum(each.rows * abs(each.accuracy - each.confidence) for each in calibration) / len(kept),
        rows=len(kept),
        unknown=unknown,
        left_out=rows.left_out,
        seen=sum(same_text_key(clean_text(text)) in trained_on for text in texts),
        absent=tuple(name for index, name in enumerate(names) if not (labels == index).any()),
        groups=_by_value(rows, kept, labels, predictions.predicted, groups, len(names), seed),
    )


def numbered(values: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for each value, equal for equal ones."""
    return np.unique(np.array(values, dtype=object).astype(str), return_inverse=True)[1]


def bootstrap(
    counts: NDArray[np.int64], generator: np.random.Generator
) -> tuple[dict[str, tuple[float, float] | None], list[dict[str, tuple[float, float] | None]]]:
    """Return the intervals of every metric, and of each class's scores, from counts by unit (G, 3, K)."""
    classes = counts.shape[-1]
    if len(counts) < FEWEST_UNITS:
        return dict.fromkeys(METRICS), [dict.fromkeys(("accuracy", "precision", "recall", "f1"))] * classes
    totals = resampled_totals(counts, generator)
    of_classes = by_class(totals)
    return (
        {name: percentiles(metric(totals)) for name, metric in METRICS.items()},
        [{name: percentiles(values[:, index]) for name, values in of_classes.items()} for index in range(classes)],
    )


def reliability(probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = BINS) -> list[Bin]:
    """Return how often answers of each confidence are right, in bins of equal width (Guo et al. 2017, section 2).

    Bin m holds confidences in ((m − 1)/M, m/M]. The expected calibration error is, by equation 3,
    ``Σ_m rows_m/N · |accuracy_m − confidence_m|``. Empty bins are left out.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        Bin(
            low=index / bins,
            high=(index + 1) / bins,
            rows=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for index in range(bins)
        if (inside := places == index).any()
    ]


def _by_value(
    rows: UnseenRows,
    kept: NDArray[np.int64],
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    classes: int,
    seed: int,
) -> tuple[GroupScore, ...]:
    """Return the scores of each value of the column that was asked for, the most frequent one first."""
    if rows.split_by is None:
        return ()
    values = np.array([rows.split_by[row] for row in kept], dtype=object)
    by_itself = rows.groups is None or rows.groups == rows.split_by  # whose resampling would have one unit
    scores = []
    for value, _ in Counter(values).most_common():
        inside = np.flatnonzero(values == value)
        units = None if groups is None or by_itself else groups[inside]
        counts = counts_by_unit(labels[inside], predicted[inside], classes, units)
        scores.append(
            GroupScore(
                value=str(value),
                rows=len(inside),
                metrics={name: float(metric(counts.sum(axis=0))) for name, metric in METRICS.items()},
                intervals=bootstrap(counts, np.random.default_rng(seed))[0],
            )
        )
    return tuple(scores)


@dataclass(frozen=True, kw_only=True)
class UnseenPerplexity:
    """What a language model scored on text that it never saw."""

    name: str
    metrics: dict[str, float]
    """Metrics of the task by name."""
    perplexity: str
    """Name of the metric that is the exponential of the loss."""
    interval: tuple[float, float] | None
    """Its 95 % bootstrap interval over windows."""
    documents: int
    windows: int
    targets: int
    """Tokens that were predicted."""


def score_unseen_text(model: TrainedLanguageModel, rows: UnseenRows, seed: int = 0) -> UnseenPerplexity:
    """Score a language model on other text, cut into windows as its own was.

    Args:
        model: of a run folder.
        rows: documents; their labels play no part.
        seed: of the resampling.

    Raises:
        ExperimentError: the text has no token.
    """
    config = model.config.data
    texts = [clean_text(text) for text in rows.texts] if config.clean else list(rows.texts)
    texts = [text for text in texts if text]
    split = pack(model.tokenizer.encode_documents(texts), None)
    kind = task_named(model.config.task).load("data")
    encoded = EncodedCorpus({"test": split}, model.tokenizer, model.folder)
    data = kind.of_encoded(replace(config, stage="final"), encoded)
    if not len(split.tokens):
        raise ExperimentError(f"{rows.name} has no text")
    evaluation = model.module.evaluate(data.evaluation_loader("test"))
    losses, targets = window_losses(model, data.evaluation_loader("test"))
    interval = None
    if len(losses) >= FEWEST_UNITS:
        totals = resampled_totals(np.stack([losses, targets], axis=1), np.random.default_rng(seed))
        means = totals[:, 0] / np.maximum(totals[:, 1], 1)
        interval = percentiles(np.exp(np.minimum(means, 700)))
    return UnseenPerplexity(
        name=rows.name,
        metrics=evaluation.metrics,
        perplexity=model.module.perplexity,
        interval=interval,
        documents=len(texts),
        windows=len(losses),
        targets=int(targets.sum()),
    )


@torch.inference_mode()
def window_losses(model: TrainedLanguageModel, batches: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the loss of each window in nats, summed over its targets, and the number of these, ``(W,)`` both."""
    losses: list[float] = []
    counts: list[int] = []
    for batch in batches:
        on_device: Mapping[str, torch.Tensor] = {name: part.to(model.module.device) for name, part in batch.items()}
        answers = model.module(on_device)
        targets = (on_device["targets"] != IGNORED).sum(dim=1).tolist()
        losses += [float(part.double().sum()) for part in answers.losses.split(targets)]
        counts += targets
    return np.array(losses), np.array(counts, dtype=np.float64)
