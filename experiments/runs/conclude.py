"""The end of a run: score the chosen and the last weights, judge the outcome, and make the record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from data_modules.labelled_text import TextDataModule
from experiments.planning.runs import Run
from experiments.runs.canonical import finite_or_none, five_digits
from experiments.runs.ending import Ending
from experiments.runs.outcome import judge
from experiments.runs.provenance import environment
from experiments.runs.record import Outcome, Record, Scores
from lightning_modules.network.counting import count
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.evaluation import Predictions, predict, score


@dataclass
class Concluded:
    """What a run leaves behind."""

    record: Record
    predictions: Predictions | None
    """Of the chosen weights on the test split (final runs) or the validation split (tune runs)."""
    groups: list[str] | None = None
    """Group of every predicted row, where the corpus has groups."""


def conclude(run: Run, ending: Ending, module: TextClassifier, data: TextDataModule) -> Concluded:
    """Score a trained run and make its record.

    A final run reads the test split here, once: one pass for the chosen and one for the last checkpoint, or a single
    pass where they are the same.
    """
    steps, checkpoint = ending.steps, ending.checkpoint
    progress = {
        "steps": steps,
        "epochs": ending.epochs,
        "tokens_seen": ending.tokens,
        "best_step": None,
        "best_epoch": None,
    }
    if ending.divergence is not None:
        return Concluded(make_record(run, ending, module, data, progress, ending.divergence), None)
    scorer = Scorer(module, data)
    last = scorer.score_all(final=False, splits=("train", "validation"))
    spoilt = not_finite(last)
    if spoilt:
        outcome = Outcome(status="diverged", step=steps, reason=f"{spoilt} after step {steps}, the last one.")
        return Concluded(make_record(run, ending, module, data, progress, outcome), None)
    if run.stage == "final":
        last.add(scorer.score_all(final=True, splits=("test",)))
    chosen = last
    if checkpoint is not None:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        progress |= {"best_step": saved["global_step"], "best_epoch": saved["epoch"] + 1}
        if saved["global_step"] != steps:
            module.load_state_dict(saved["state_dict"])
            chosen = scorer.score_all(final=run.stage == "final", splits=("train", "validation", "test"))
    outcome = judge(
        step=steps,
        divergence=None,
        validation_macro_f1=last.scores["validation"].metrics["macro_f1"] or 0.0,
        train_cross_entropy=cross_entropy(last.predictions["train"]),
        validation_counts=np.bincount(last.predictions["validation"].labels).tolist(),
        train_counts=data.facts.class_counts,
    )
    record = make_record(run, ending, module, data, progress, outcome)
    record.scores = dict(chosen.scores)
    if "test" in last.scores:
        record.scores["test_last"] = last.scores["test"]
    split = "test" if run.stage == "final" else "validation"
    return Concluded(record, chosen.predictions[split], groups_of(data, split, chosen.predictions[split]))


@dataclass
class Scored:
    """Predictions and scores of one set of weights, by split."""

    predictions: dict[str, Predictions]
    scores: dict[str, Scores]

    def add(self, other: Scored) -> None:
        """Take in what another pass scored."""
        self.predictions |= other.predictions
        self.scores |= other.scores


def scores_of(predictions: Predictions, classes: Sequence[str]) -> Scores:
    """Score predictions, in the shape of a record."""
    values = score(predictions, classes)
    details = {name: values.pop(name) for name in ("per_class", "confusion")}
    return Scores(metrics=values, details=details)


def not_finite(scored: Scored) -> str:
    """Return which loss is not finite, as the beginning of a sentence; nothing where all are.

    The last step can spoil weights although its own loss and gradient were finite.
    """
    for split, scores in scored.scores.items():
        loss = scores.metrics["loss"]
        if loss is not None and not math.isfinite(loss):
            return f"The {split} loss became {loss}"
    return ""


class Scorer:
    """Scores the module's present weights on the splits of a data module."""

    def __init__(self, module: TextClassifier, data: TextDataModule) -> None:
        self.module = module
        self.data = data

    def score_all(self, *, final: bool, splits: tuple[str, ...]) -> Scored:
        """Return predictions and scores by split; the test split is read in final runs only."""
        loaders = {
            "train": self.data.train_sample_dataloader,
            "validation": self.data.val_dataloader,
            "test": self.data.test_dataloader,
        }
        names = [name for name in splits if final or name != "test"]
        predictions = {name: predict(self.module, loaders[name]()) for name in names}
        classes = self.data.facts.class_names
        return Scored(predictions, {name: scores_of(predictions[name], classes) for name in names})


def groups_of(data: TextDataModule, split: str, predictions: Predictions) -> list[str] | None:
    """Return the group of every predicted row; None where the corpus has no groups."""
    groups = data.groups(split)
    return None if groups is None else [groups[int(row)] for row in predictions.rows]


def cross_entropy(predictions: Predictions) -> float:
    """Return the mean cross-entropy in nats, whatever loss was trained."""
    chosen = predictions.probabilities[np.arange(len(predictions.labels)), predictions.labels]
    return float(-np.log(np.clip(chosen.astype(np.float64), 1e-38, None)).mean())


def make_record(
    run: Run,
    ending: Ending,
    module: TextClassifier,
    data: TextDataModule,
    progress: dict[str, Any],
    outcome: Outcome,
) -> Record:
    """Return the record of a run, without scores."""
    size = count(module.network, data.facts.max_length)
    return Record(
        **run.record_fields(),
        data=describe_data(data),
        model={
            "parameters": size.parameters,
            "norms": size.norms,
            "skips": size.skips,
            "flops_per_token": size.flops_per_token,
        },
        environment=environment(
            device=ending.device,
            precision=run.config.trainer.precision,
            threads=run.config.threads,
        ),
        progress=progress,
        history=five_digits(finite_or_none(ending.history)),  # the step that diverged may have been kept
        outcome=outcome,
    )


def describe_data(data: TextDataModule) -> dict[str, Any]:
    """Return what a record says about the text."""
    corpus = data.corpus
    return {
        "slug": corpus.slug,
        "source": corpus.source,
        "fingerprint": corpus.fingerprint,
        "split_hash": corpus.split_hash,
        "rows": {name: len(rows) for name, rows in corpus.splits.items()},
        "removed": removed_rows(corpus.report),
        "classes": list(data.facts.class_names),
        "vocabulary_size": data.facts.vocabulary_size,
    }


def removed_rows(report: dict[str, Any]) -> dict[str, int]:
    """Return how many training rows cleaning and the search for duplicates took away, by reason."""
    empty = report.get("cleaning", {}).get("train", {}).get("empty_rows_removed", 0)
    counts = {**report.get("duplicates", {}), **report.get("near_duplicates", {})}
    reasons = {name.removeprefix("train_"): count for name, count in counts.items() if name.startswith("train_")}
    return {"empty": empty, **reasons}
