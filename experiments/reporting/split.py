"""The test split behind a report's scores: every run's answers, and their scores on resampled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.errors import RecordError
from experiments.runs.naming import run_name
from experiments.runs.record import Record
from experiments.runs.store import Evidence
from experiments.statistics.components import UNSCORED, ResampledSplit, SeedScores
from experiments.statistics.rows import METRICS, Metric

FILES = ("docstrings",)
"""Corpora whose rows are grouped by source file."""
Replicas = Mapping[str, NDArray[np.float64]]


class ScoredSplit:
    """The answers of all final runs of a grid to the rows of its test split.

    Scores are computed again on resampled rows when they are first asked for, of all runs at once: all conditions then
    share the resampled rows.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._finals = evidence.finals
        self._predictions = evidence.predictions

    @cached_property
    def _split(self) -> ResampledSplit | None:
        """The rows; None if no run has answers."""
        table = self._predictions
        if not len(table) or table["label"].isna().any():
            return None
        groups = table["group"]
        if not groups.notna().any():
            return ResampledSplit(table["label"].to_numpy(np.int64))
        own = pd.Series([f"row {row}" for row in table["row"]], index=groups.index, dtype="string")
        name = "file" if self._finals[0].corpus in FILES and not _by_directory(self._finals[0].config) else "group"
        return ResampledSplit(table["label"].to_numpy(np.int64), groups.fillna(own), group=name)

    @cached_property
    def _replicas(self) -> dict[str, Replicas]:
        """By metric and run name, (B,) scores on the resampled splits."""
        if self._split is None:
            return {}
        answers = {
            name: self._answers(name, len(record.data.get("classes") or ()))
            for record in self._finals
            if (name := run_name(record)) in self._predictions.columns
        }
        return {metric: replicas for metric, (_, replicas) in self._split.replicas(answers, METRICS).items()}

    def _answers(self, name: str, classes: int) -> NDArray[np.int64]:
        found = self._predictions[name].fillna(UNSCORED).to_numpy(np.int64)
        labels = self._predictions["label"].to_numpy(np.int64)
        if min(found.min(), labels.min()) < UNSCORED or max(found.max(), labels.max()) >= classes:
            raise RecordError(f"{name}: its predictions name a class beyond the {classes} of its record")
        return found

    def seed_scores(self, records: Sequence[Record], metric: str, scores: Mapping[int, float]) -> SeedScores:
        """Return the scores by seed of one condition's runs with their replicas, of the runs that have answers.

        Args:
            records: final runs that differ in nothing but the seed.
            metric: name of a test metric; one that is no function of the answers has no replicas.
            scores: the recorded metric by seed.
        """
        found = self._replicas.get(metric, {}) if metric in METRICS else {}
        if self._split is None or not found:
            return SeedScores(scores, {})
        replicas = {record.seed: found[name] for record in records if (name := run_name(record)) in found}
        return SeedScores(scores, replicas, self._split.units, self._split.unit)

    def counted(self, records: Sequence[Record], metrics: Mapping[str, Metric]) -> dict[str, SeedScores]:
        """Return scores of the answers of one condition's runs by name of the metric; a run without answers has none.

        Args:
            records: final runs that differ in nothing but the seed.
            metrics: functions of counts by class, which no report shows for itself.
        """
        if self._split is None:
            return {name: SeedScores({}, {}) for name in metrics}
        answers = {
            record.seed: self._answers(name, len(record.data.get("classes") or ()))
            for record in records
            if (name := run_name(record)) in self._predictions.columns
        }
        found = self._split.replicas(answers, metrics)
        return {name: SeedScores(*each, self._split.units, self._split.unit) for name, each in found.items()}


def _by_directory(config: Mapping[str, Any]) -> bool:
    options = (config.get("data") or {}).get("docstrings") or {}
    return options.get("split_by") == "directory"
