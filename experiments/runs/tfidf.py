"""The baseline without a network: TF-IDF features and logistic regression, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from data_modules.labelled_text import TextDataModule
from experiments.planning.runs import Run
from experiments.runs.conclude import Concluded, describe_data, groups_of, scores_of
from experiments.runs.provenance import environment
from experiments.runs.record import Outcome, Record
from experiments.tasks import task_named
from lightning_modules.tasks.classification import evaluation_of
from lightning_modules.training.evaluation import Predictions

INVERSE_PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Values of logistic regression's ``C``; validation chooses, as it does for every other condition."""

Texts = dict[str, tuple[list[str], np.ndarray]]


def fit_tfidf(run: Run) -> Concluded:
    """Fit the baseline on the training rows and score it; it has no seed and no history.

    Words and word pairs for corpora that are split into words, characters and character pairs for those that are
    split into characters; terms in at least two training rows (in one, where none is in two); sublinear
    term frequency.
    """
    data = TextDataModule.from_config(run.config.data)
    texts = read_texts(data, final=run.stage == "final")
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        analyzer="char" if run.config.data.tokenizer == "char" else "word",
        token_pattern=r"(?u)\b\w+\b" if run.config.data.tokenizer != "char" else None,
        min_df=2,
        sublinear_tf=True,
    )
    features = {"train": fit_terms(vectorizer, texts["train"][0])}
    features |= {split: vectorizer.transform(rows) for split, (rows, _) in texts.items() if split != "train"}
    model, inverse_penalty = choose_penalty(features, {split: labels for split, (_, labels) in texts.items()})
    predictions = {
        split: as_predictions(model, features[split], labels, len(data.facts.class_names))
        for split, (_, labels) in texts.items()
    }
    classes = data.facts.class_names
    task = task_named(run.config.task)
    scores = {split: scores_of(evaluation_of(predicted, classes), task) for split, predicted in predictions.items()}
    record = Record(
        **run.record_fields() | {"tuned": {"C": inverse_penalty}},
        data=describe_data(data),
        model={"parameters": model.coef_.size + model.intercept_.size, "norms": 0, "skips": 0, "flops_per_token": None},
        environment=environment(device="cpu", precision="64-true", threads=run.config.threads),
        progress={"steps": 0, "epochs": 0, "tokens_seen": 0, "best_step": None, "best_epoch": None},
        history={},
        outcome=Outcome(status="trained", step=0),
        scores=scores | ({"test_last": scores["test"]} if "test" in scores else {}),
    )
    split = "test" if run.stage == "final" else "validation"
    groups = groups_of(data, split, predictions[split])
    return Concluded(record=record, predictions=predictions[split], groups=groups)


def fit_terms(vectorizer: TfidfVectorizer, texts: Sequence[str]) -> Any:
    """Fit the vectorizer and return the features, (N, terms); with terms of one row if none is in two."""
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:
        return vectorizer.set_params(min_df=1).fit_transform(texts)


def read_texts(data: TextDataModule, *, final: bool) -> Texts:
    """Return texts and labels by split; the test split in final runs only."""
    splits = data.corpus.splits
    names = ["train", "validation", *(["test"] if final else [])]
    return {name: (list(splits[name]["text"]), np.asarray(splits[name]["label"])) for name in names}


def choose_penalty(features: dict[str, Any], labels: dict[str, np.ndarray]) -> tuple[LogisticRegression, float]:
    """Return the model with the best validation macro-F1 and its inverse penalty."""
    fitted = []
    for inverse_penalty in INVERSE_PENALTIES:
        model = LogisticRegression(C=inverse_penalty, max_iter=1000).fit(features["train"], labels["train"])
        macro_f1 = f1_score(labels["validation"], model.predict(features["validation"]), average="macro")
        fitted.append((macro_f1, model, inverse_penalty))
    _, model, inverse_penalty = max(fitted, key=lambda candidate: candidate[0])
    return model, inverse_penalty


def as_predictions(model: LogisticRegression, features: Any, labels: np.ndarray, classes: int) -> Predictions:
    """Return the model's predictions, with probability 0 for a class that the training rows lack."""
    probabilities = np.zeros((len(labels), classes), dtype=np.float32)
    probabilities[:, model.classes_] = model.predict_proba(features)
    predictions = Predictions(rows=np.arange(len(labels)), labels=labels, probabilities=probabilities, loss=None)
    return replace(predictions, loss=predictions.cross_entropy())
