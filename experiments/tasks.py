"""The one place that says what a task is: its metrics, the primary one, and what its scores must obey.

Running, tuning, judging and reporting read a :class:`TaskSpec` and name no metric themselves. Free of torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from experiments.planning.names import reject_unknown

Values = Mapping[str, "float | None"]
ROUNDING = 1e-5
"""Largest difference between a recorded metric and the one that its own confusion matrix gives: float32 sums."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that scores a model on a split."""

    name: str
    """Name in records and CSV files."""

    title: str
    """Name in tables and figures."""

    higher_is_better: bool = True

    bounds: tuple[float, float] = (0.0, 1.0)
    """Least and largest value; a record outside is refused."""

    curve: bool = False
    """Whether a record keeps its value at every validation; the task's module must then measure it."""

    of_details: Callable[[Mapping[str, Any]], float] | None = None
    """Computes the metric from the details of the scores, such as a confusion matrix; None: the task's module measures
    it. With this function a metric takes one line here, and nothing elsewhere."""

    @property
    def worst(self) -> float:
        """The bound that a run without a score counts as; infinite without such a bound."""
        return self.bounds[0] if self.higher_is_better else self.bounds[1]

    def better(self, first: float, second: float) -> bool:
        """Tell whether ``first`` beats ``second``."""
        return first > second if self.higher_is_better else first < second

    def best(self, values: Iterable[float]) -> float:
        """The best of some values."""
        return max(values) if self.higher_is_better else min(values)


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """What the machinery of experiments must know of a task."""

    name: str
    """Name in configurations and records."""

    parts: frozenset[str] = frozenset()
    """Parts that only some tasks have: the tables and figures ``per_class`` and ``confusion``, and ``tokenizer``, a
    file in the run's folder."""

    metrics: tuple[Metric, ...]
    """Metrics of the tables, in their order; a record may lack one, and may hold more."""

    primary: str
    """The metric that chooses checkpoints and trials, and that tables rank by."""

    module: Any
    """The :class:`~lightning_modules.tasks.base.TaskModule` that is trained; ``package.module:name`` or the class."""

    data: Any
    """The data module that feeds it, likewise."""

    collapse: Any
    """Says why weights have learned nothing; empty if they have learned. It is a function of the evaluations of the
    last weights by split and of the data's facts (``(Mapping[str, Evaluation], facts) -> str``), likewise."""

    baselines: Mapping[str, Any] = field(default_factory=dict)
    """By condition name, the function that fits a baseline without a network, likewise."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Settings of this task, by dotted names, unless a command line, a grid or a file sets them."""

    callbacks: tuple[Any, ...] = ()
    """Callbacks that only this task has, such as a picture of its errors; classes, likewise."""

    delta: float = 0.01
    """Smallest difference in the primary metric that matters, unless a grid says otherwise."""

    useful_within: float = 0.05
    """How near a tuning trial must come to the best one, in the primary metric, to count as useful."""

    contradiction: Callable[[Values, Mapping[str, Any]], str | None] = lambda metrics, details: None
    """Says what scores and their details disagree about; None if they agree."""

    @property
    def monitor(self) -> str:
        """What Lightning's checkpoint callback watches."""
        return f"validation/{self.primary}"

    @property
    def shown(self) -> list[Metric]:
        """The metrics that a summary in a line or two shows, the primary one first."""
        others = [metric for metric in self.metrics if metric.curve and metric.name != self.primary]
        return [self.primary_metric, *others]

    @property
    def curves(self) -> tuple[str, ...]:
        """What a record keeps of every validation: the loss and the metrics that say so."""
        return ("loss", *(metric.name for metric in self.metrics if metric.curve))

    def load(self, part: str) -> Any:
        """Import what the field of this name, or the baseline of this name, refers to."""
        return resolved(self.baselines[part] if part in self.baselines else getattr(self, part))

    def metric(self, name: str) -> Metric:
        """Return a metric by its name.

        Raises:
            ExperimentError: the task has no such metric; the message names the nearest.
        """
        reject_unknown(f"metric of the task {self.name}", name, [metric.name for metric in self.metrics])
        return next(metric for metric in self.metrics if metric.name == name)

    @property
    def primary_metric(self) -> Metric:
        """The metric that chooses checkpoints and trials."""
        return self.metric(self.primary)

    def completed(self, metrics: Mapping[str, float], details: Mapping[str, Any]) -> dict[str, float | None]:
        """Add the metrics that the details of the scores give to those that the module measured."""
        derived = {metric.name: metric.of_details(details) for metric in self.metrics if metric.of_details}
        return {**derived, **metrics}

    def fault(self, metrics: Values, details: Mapping[str, Any]) -> str | None:
        """Say what is wrong with the scores of one split: a metric out of bounds, or a contradiction."""
        for metric in self.metrics:
            value, (low, high) = metrics.get(metric.name), metric.bounds
            if value is not None and not low - 1e-6 <= value <= high + 1e-6:
                return f"{metric.name} is {value}; it must lie between {low:g} and {high:g}"
        return self.contradiction(metrics, details) or self._wrongly_derived(metrics, details)

    def _wrongly_derived(self, metrics: Values, details: Mapping[str, Any]) -> str | None:
        for metric in self.metrics:
            value = metrics.get(metric.name)
            if metric.of_details is None or value is None:
                continue
            try:
                expected = metric.of_details(details)
            except (ArithmeticError, LookupError, TypeError, ValueError):  # the details come from a file
                return f"{metric.name} is {value:.6g}, and the details of the scores do not give it"
            if abs(value - expected) > ROUNDING:
                return f"{metric.name} is {value:.6g}, and the details of the scores give {expected:.6g}"
        return None


def resolved(reference: Any) -> Any:
    """Import what ``package.module:name`` refers to; a value that is not a string is returned as it is."""
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def classification_contradiction(metrics: Values, details: Mapping[str, Any]) -> str | None:
    """Recompute accuracy and macro averages from the confusion matrix (rows: true classes, columns: predicted ones).

    Precision, recall and F1 of a class are 0 where their denominator is 0. Macro averages are over classes that occur
    among labels or predictions, as torchmetrics takes them.
    """
    if "confusion" not in details:
        return None
    classes, confusion = details.get("per_class", []), np.asarray(details.get("confusion", []), dtype=float)
    if confusion.shape != (len(classes), len(classes)):
        return f"the confusion matrix is not {len(classes)} × {len(classes)}, one row and column per class"
    hits, labels, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    present = labels + predicted > 0
    if not present.any():
        return None
    rows = confusion.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        by_class = {
            "support": labels,
            "accuracy": (rows - labels - predicted + 2 * hits) / rows,
            "precision": np.nan_to_num(hits / predicted),
            "recall": np.nan_to_num(hits / labels),
            "f1": np.nan_to_num(2 * hits / (labels + predicted)),
        }
    expected = {"accuracy": hits.sum() / rows}
    expected |= {f"macro_{name}": by_class[name][present].mean() for name in ("precision", "recall", "f1")}
    pairs = [(name, metrics.get(name), value) for name, value in expected.items()]
    for name, values in by_class.items():
        pairs += [(f"{name} of class {c['class']!r}", c[name], v) for c, v in zip(classes, values, strict=True)]
    for name, recorded, value in pairs:
        if recorded is not None and abs(recorded - value) > ROUNDING:
            return f"{name} is {recorded:.6g}, and the confusion matrix gives {value:.6g}"
    return None


CLASSIFICATION = TaskSpec(
    name="classification",
    parts=frozenset({"per_class", "confusion"}),
    metrics=(
        Metric(name="accuracy", title="accuracy", curve=True),
        Metric(name="macro_precision", title="macro precision"),
        Metric(name="macro_recall", title="macro recall"),
        Metric(name="macro_f1", title="macro F1", curve=True),
        Metric(name="matthews", title="Matthews correlation", bounds=(-1.0, 1.0)),
    ),
    primary="macro_f1",
    module="lightning_modules.tasks.classification:TextClassifier",
    data="data_modules.labelled_text:TextDataModule",
    collapse="experiments.runs.outcome:classification_collapse",
    baselines={"tfidf_logistic_regression": "experiments.runs.tfidf:fit_tfidf"},
    callbacks=("lightning_modules.training.callbacks.confusion_matrix:ConfusionMatrixPicture",),
    contradiction=classification_contradiction,
)

LANGUAGE_DEFAULTS = {
    "data.corpus": "prose",
    "data.label_column": None,
    "data.tokenizer": "bpe",
    "data.vocabulary_size": 2048,
    "data.lowercase": False,
    "data.batch_size": 32,
    "data.evaluation_batch_size": 64,
}
"""Settings that language models have in common: text without labels, and byte pieces as tokens."""
UNIGRAM, TRIGRAM = "unigram", "trigram"
TOKEN_ACCURACY = Metric(name="token_accuracy", title="token accuracy", curve=True)
UNKNOWN_SHARE = Metric(name="unknown_share", title="unknown words", higher_is_better=False)
"""Share of unknown words among the targets. The larger it is, the easier the text, so scores must be read with it."""

CAUSAL_LM = TaskSpec(
    name="causal_lm",
    parts=frozenset({"tokenizer"}),
    metrics=(
        Metric(name="perplexity", title="perplexity", higher_is_better=False, bounds=(1.0, math.inf), curve=True),
        Metric(name="bits_per_byte", title="bits per byte", higher_is_better=False, bounds=(0.0, math.inf)),
        TOKEN_ACCURACY,
        UNKNOWN_SHARE,
    ),
    primary="perplexity",
    delta=1.0,
    useful_within=5.0,
    module="lightning_modules.tasks.causal_lm:CausalLanguageModel",
    data="data_modules.token_stream:TokenStream",
    collapse="experiments.runs.outcome:language_collapse",
    baselines={UNIGRAM: "experiments.runs.ngrams:fit_unigram", TRIGRAM: "experiments.runs.ngrams:fit_trigram"},
    defaults=LANGUAGE_DEFAULTS,
    callbacks=("lightning_modules.training.callbacks.text_samples:TextSamples",),
)
MASKED_LM = TaskSpec(
    name="masked_lm",
    parts=frozenset({"tokenizer"}),
    metrics=(
        Metric(
            name="pseudo_perplexity",
            title="pseudo-perplexity",
            higher_is_better=False,
            bounds=(1.0, math.inf),
            curve=True,
        ),
        TOKEN_ACCURACY,
        Metric(name="sentence_accuracy", title="next-sentence accuracy"),
        UNKNOWN_SHARE,
    ),
    primary="pseudo_perplexity",
    delta=1.0,
    useful_within=5.0,
    module="lightning_modules.tasks.masked_lm:MaskedLanguageModel",
    data="data_modules.token_stream:MaskedStream",
    collapse="experiments.runs.outcome:language_collapse",
    baselines={UNIGRAM: "experiments.runs.ngrams:fit_unigram", TRIGRAM: "experiments.runs.ngrams:fit_trigram"},
    defaults=LANGUAGE_DEFAULTS,
)

LANGUAGE_TASKS = (CAUSAL_LM.name, MASKED_LM.name)
"""Tasks whose models predict tokens."""
TASKS: dict[str, TaskSpec] = {spec.name: spec for spec in (CLASSIFICATION, CAUSAL_LM, MASKED_LM)}


def task_named(name: str) -> TaskSpec:
    """Return a task by its name.

    Raises:
        ExperimentError: there is none; the message names the nearest.
    """
    reject_unknown("task", name, TASKS)
    return TASKS[name]
