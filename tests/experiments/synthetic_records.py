"""A small, deterministic set of runs: conditions that trained, collapsed and diverged, baselines and tuning trials."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from experiments.reporting.frame import Description, Row, make_rows
from experiments.runs.naming import run_name
from experiments.runs.predictions import answers_digest
from experiments.runs.record import Outcome, Record, Scores
from experiments.runs.run_folder import left_files, read_record, write_record
from experiments.runs.store import Evidence

CLASSES = ["torch", "numpy", "pandas"]
ROWS = 120
SEEDS = (0, 1, 2)
SKILL = {
    "post_ln": 0.80,
    "pre_ln": 0.86,
    "no_residual": 0.0,
    "no_norm": 0.70,
    "bag_of_embeddings": 0.74,
    "tfidf_logistic_regression": 0.78,
}
FURTHER_SKILL = {"no_residual_pre": 0.05, "plain": 0.30, "plain_gain": 0.40}
"""Conditions that are no part of the evidence of the golden tables."""
LABELS = np.repeat([0, 1, 2], [60, 36, 24])


def scores_of(labels: np.ndarray, predicted: np.ndarray, loss: float | None) -> Scores:
    """Score predictions with scikit-learn, as an oracle that shares no code with the project."""
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(len(CLASSES)), zero_division=0
    )
    metrics = {
        "loss": loss,
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
    }
    details = {
        "per_class": [
            {
                "class": name,
                "support": int(support[index]),
                "accuracy": float(accuracy_score(labels == index, predicted == index)),
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
            }
            for index, name in enumerate(CLASSES)
        ],
        "confusion": confusion_matrix(labels, predicted, labels=range(len(CLASSES))).tolist(),
    }
    return Scores(metrics=metrics, details=details)


def with_scores(record: Record, split: str, **values: Any) -> Record:
    """Return the record with some metrics or details of a split replaced."""
    scores = record.scores[split]
    details = {name: values.pop(name) for name in list(values) if name in scores.details}
    changed = replace(scores, metrics=scores.metrics | values, details=scores.details | details)
    return replace(record, scores=record.scores | {split: changed})


def without_scores(record: Record) -> Record:
    """Return the record of a run that has no scores on the test split."""
    return replace(record, scores={name: each for name, each in record.scores.items() if name != "test"})


def predict(skill: float, seed: int) -> np.ndarray:
    """Return predictions that are right with probability ``skill``; all of the first class where it is 0."""
    generator = np.random.default_rng([seed, round(1000 * skill)])
    right = generator.random(ROWS) < skill
    guesses = generator.integers(0, len(CLASSES), ROWS)
    return np.where(right, LABELS, guesses) if skill else np.zeros(ROWS, dtype=int)


@cache
def expected_scores(skill: float, seed: int, loss: float) -> Scores:
    """Score what a skill and a seed predict, once: tests make thousands of records, and scikit-learn takes its time."""
    return scores_of(LABELS, predict(skill, seed), loss)


def make_history(condition: str, skill: float, seed: int) -> dict[str, Any]:
    if condition == "tfidf_logistic_regression":
        return {"train": {}, "validation": {}, "gradient_norms": {}}
    steps = list(range(10, 210, 10))
    start = np.log(3)
    losses = [round(float(start * (1 - skill) + start * skill * np.exp(-step / 60) + 0.01 * seed), 4) for step in steps]
    blocks = 2 if condition == "bag_of_embeddings" else 6
    decay = 0.1 if condition == "no_residual" else 0.9
    return {
        "train": {
            "step": steps,
            "tokens": [step * 1000 for step in steps],
            "loss": losses,
            "learning_rate": [0.001] * len(steps),
            "gradient_norm": [1.0] * len(steps),
        },
        "validation": {
            "step": [50, 100, 150, 200],
            "tokens": [50000, 100000, 150000, 200000],
            "loss": [round(losses[step // 10 - 1] + 0.05, 4) for step in (50, 100, 150, 200)],
            "accuracy": [round(skill * part, 4) for part in (0.8, 0.9, 1.0, 1.0)],
            "macro_f1": [round(skill * part, 4) for part in (0.8, 0.9, 1.0, 1.0)],
        },
        "gradient_norms": {
            "step": [1, 2, 3],
            "blocks": [[round(decay ** (blocks - block) * (1 + 0.1 * seed), 6) for block in range(blocks)]] * 3,
        },
    }


def make_record(condition: str, seed: int, stage: str = "final", **changes: Any) -> Record:
    """Return a record whose scores follow from the condition's skill and the seed."""
    skill = (SKILL | FURTHER_SKILL)[condition]
    diverged = changes.pop("diverged", False)
    swept, tuned = changes.pop("swept", {}), changes.pop("tuned", {"model.learning_rate": 0.001})
    scores = deepcopy(expected_scores(skill, seed, 0.5))
    history = make_history(condition, skill, seed)
    if diverged:
        history["train"]["loss"][3:] = [None] * (len(history["train"]["loss"]) - 3)
        history["validation"] = {name: values[:0] for name, values in history["validation"].items()}
        outcome = Outcome(status="diverged", step=40, reason="the training loss was not finite")
    elif skill == 0:
        outcome = Outcome(status="collapsed", step=200, reason="validation macro-F1 is that of the majority class")
    else:
        outcome = Outcome(status="trained", step=200)
    learned = condition != "tfidf_logistic_regression"
    by_split = {
        "validation": None if diverged else scores,
        "train": None if diverged or not learned else deepcopy(expected_scores(1, 0, 0.1)),
        "test": None if diverged or stage == "tune" else scores,
        "test_last": None if diverged or stage == "tune" else scores,
    }
    values: dict[str, Any] = {
        "grid": "toy",
        "corpus": "toycorpus",
        "condition": condition,
        "swept": swept,
        "tuned": tuned if learned else {},
        "stage": stage,
        "seed": seed,
        "config": {
            "seed_everything": seed,
            "model": {"variant": condition, "loss": "cross_entropy", **{k[6:]: v for k, v in tuned.items()}},
            "data": {"corpus": "/elsewhere/toycorpus", "stage": stage},
            "trainer": {"max_epochs": 4},
        },
        "config_hash": f"{condition}-{stage}-{seed}-{tuned}-{swept}".encode().hex()[-16:],
        "data": {
            "slug": "toycorpus",
            "source": "made up for the tests",
            "fingerprint": "f00d",
            "split_hash": "beef",
            "rows": {"train": 800, "validation": 120, "test": 120},
            "classes": CLASSES,
            "vocabulary_size": 500,
        },
        "model": {"parameters": 1234 if learned else 1500, "norms": 2 * ("ln" in condition), "skips": 12},
        "environment": {
            "versions": {"torch": "2.13.0", "lightning": "2.6.6"},
            "python": "3.11.0",
            "git_commit": "abc123",
            "git_dirty": False,
            "device": "cpu",
            "precision": "32-true",
            "threads": 1,
        },
        "progress": {"steps": 200, "epochs": 4, "tokens_seen": 200000, "best_step": 150, "best_epoch": 3},
        "history": history,
        "outcome": outcome,
        "scores": {name: each for name, each in by_split.items() if each is not None},
    }
    return Record(**{**values, **changes})


def make_records() -> list[Record]:
    """Return five conditions with three seeds each (one of ``no_norm`` diverged), TF-IDF once, and tuning trials."""
    records = [
        make_record(condition, seed, diverged=(condition, seed) == ("no_norm", 2))
        for condition in SKILL
        for seed in ((0,) if condition == "tfidf_logistic_regression" else SEEDS)
    ]
    for condition in ("post_ln", "pre_ln"):
        for rate in (0.0003, 0.001, 0.003):
            diverged = rate == 0.003
            tuned = {"model.learning_rate": rate}
            records.append(make_record(condition, 1000, "tune", tuned=tuned, diverged=diverged))
    return records


def write_run(runs_folder: Path, record: Record) -> Path:
    """Write a run folder as the runner leaves it."""
    folder = runs_folder / run_name(record)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "timing.csv").write_text(f"seconds,tokens_per_second\n{10 + record.seed}.5,1000\n")
    if record.test is not None:
        predicted = predict(SKILL[record.condition], record.seed)
        frame = pd.DataFrame(
            {
                "row": np.arange(ROWS),
                "group": [f"file_{row // 4}" for row in range(ROWS)],
                "label": LABELS,
                "predicted": predicted,
                "probability_0": (predicted == 0).astype(float),
            }
        )
        frame.to_parquet(folder / "predictions.parquet")
    write_record(folder, replace(record, files=left_files(folder)))
    return folder


def write_predictions(folder: Path, frame: pd.DataFrame) -> None:
    """Put other predictions into a run folder, as its own run would have left them."""
    frame.to_parquet(folder / "predictions.parquet")
    write_record(folder, replace(read_record(folder), files=left_files(folder), answers=answers_digest(frame)))


def write_runs(runs_folder: Path, records: list[Record] | None = None) -> Path:
    for record in make_records() if records is None else records:
        write_run(runs_folder, record)
    return runs_folder


def evidence_of(*records: Record) -> Evidence:
    """Return evidence of records alone, without predictions and timings."""
    return Evidence(list(records), pd.DataFrame(), pd.DataFrame())


def rows_of(*records: Record) -> list[Row]:
    """Return the rows of a report on records."""
    return make_rows(evidence_of(*records), Description(arguments="toy", title="Toy", purpose="To test."))
