"""The record of one run, ``run.json``: everything that tables and figures are made from.

A run is finished if and only if its record is there, so the record is written last and atomically. It holds nothing
that depends on the clock (durations are in ``timing.csv``): the same run twice gives the same bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from experiments.errors import RecordError
from experiments.planning.run_config import newer_defaults
from experiments.runs.canonical import canonical_json, decode, parse_json
from experiments.tasks import CLASSIFICATION, TASKS
from lightning_modules.schemes.variants import VARIANTS

SCHEMA = 2
SPLITS = ("validation", "train", "test", "test_last")
FIELDS_OF_SCHEMA_1 = ("loss", "accuracy", "macro_precision", "macro_recall", "macro_f1")
DETAILS_OF_SCHEMA_1 = ("per_class", "confusion")
Status = Literal["trained", "collapsed", "diverged", "failed", "no_parent"]


@dataclass(kw_only=True)
class Outcome:
    """How a run ended."""

    status: Status
    """``trained``; ``collapsed``: no better than guessing; ``diverged``: not finite; ``failed``: ended by an error;
    ``no_parent``: the run that it should start from is missing, or did not train."""

    step: int
    """Optimiser step at which it ended."""

    reason: str = ""
    """One sentence for any status but ``trained``."""


@dataclass(kw_only=True)
class Scores:
    """What one model scored on one split."""

    metrics: dict[str, float | None]
    """Values by name, ``loss`` among them; what a task measures is open (:mod:`experiments.tasks`)."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else tables need. Classification: ``per_class`` (``class``, ``support``, ``accuracy`` (one-vs-rest,
    (TP+TN)/N), ``precision``, ``recall``, ``f1``) and ``confusion`` (rows are true classes, columns predicted ones)."""


@dataclass(kw_only=True)
class Record:
    """One finished run."""

    grid: str
    corpus: str
    """Slug of the corpus, such as ``docstrings``."""
    condition: str
    """Name of the condition's variant or, if a grid renames one with settings of its own, that name."""
    swept: dict[str, Any]
    """Values that the grid sweeps, by their dotted names: ``{"model.layers": 6}``."""
    tuned: dict[str, Any]
    """Values chosen by tuning (final runs) or tried (tune runs), by their dotted names."""
    stage: Literal["tune", "final"]
    seed: int
    config: dict[str, Any]
    """Complete configuration, as in ``config.yaml``."""
    config_hash: str
    data: dict[str, Any]
    """``slug, source, fingerprint, split_hash, rows {split: n}, classes [names], vocabulary_size`` and, in newer
    records, ``removed {reason: training rows}``."""
    model: dict[str, Any]
    """``parameters, norms, skips, flops_per_token`` of the built model and, in newer records, ``weights_sha256``, the
    digest of the chosen weights."""
    environment: dict[str, Any]
    """``versions {package: version}, python, git_commit, git_dirty, device, precision, threads``. Records
    of an earlier version may say ``population``: how many runs were trained as one batched model."""
    progress: dict[str, Any]
    """``steps, epochs, tokens_seen, best_step, best_epoch``."""
    history: dict[str, Any]
    """``train``: lists ``step, tokens, loss, learning_rate, gradient_norm``; ``validation``: lists ``step, tokens,
    loss, accuracy, macro_f1`` and, if asked for, ``train_macro_f1``; ``gradient_norms``: ``step`` and ``blocks`` (a
    list per kept step, embedding first, head last) over the course of training; if the run was probed, ``probes``:
    ``step`` and per measure a list by step of lists by depth, the last block last."""
    outcome: Outcome
    task: str = CLASSIFICATION.name
    """Name of the task; :mod:`experiments.tasks` says what its metrics are."""
    scores: dict[str, Scores] = field(default_factory=dict)
    """By split. ``validation``, ``train`` (a fixed sample of training rows) and, for final runs, ``test`` score the
    chosen checkpoint, the best on validation; ``test_last`` scores the last one. Empty if the run diverged or failed.
    """
    files: dict[str, str] = field(default_factory=dict, metadata={"since": 2})
    """SHA-256 of the files that the run left next to this record, by name: predictions and the best checkpoint. It is
    empty in older records, whose files are unchecked."""
    answers: str | None = field(default=None, metadata={"since": 2})
    """SHA-256 of the predicted and true class of every test row, in the rows' order; a published table of predictions
    is compared with it. None for a run without such answers, and in older records."""
    parent: dict[str, Any] | None = field(default=None, metadata={"since": 2})
    """The run that this one started from: ``run`` (grid, corpus, condition, cell and seed), ``config_hash``,
    ``weights_sha256``. Records of runs without a start do not have it."""
    schema: int = SCHEMA
    """Layout that the record was read in, and is written back in."""

    def score(self, split: str, name: str) -> float | None:
        """Return a metric on a split; None if the split was not scored or the record lacks the metric."""
        scores = self.scores.get(split)
        return None if scores is None else scores.metrics.get(name)

    @property
    def test(self) -> Scores | None:
        """Scores of the chosen checkpoint on the test split; None unless this is a final run that could be scored."""
        return self.scores.get("test")

    @property
    def validation(self) -> Scores | None:
        """Scores of the chosen checkpoint on the validation split; None if the run could not be scored."""
        return self.scores.get("validation")

    @property
    def config_as_built(self) -> dict[str, Any]:
        """The configuration with the depth that was built, which some variants fix whatever the setting says."""
        model = self.config["model"]
        variant = VARIANTS.get(model.get("variant"))
        if variant is None or variant.layers is None or "layers" not in model:
            return self.config
        return {**self.config, "model": {**model, "layers": variant.layers}}

    def to_json(self) -> str:
        """Return the record as one line of JSON; equal records give equal text.

        Raises:
            RecordError: for a number that is not finite.
        """
        outcome, scores = vars(self.outcome), {split: vars(scores) for split, scores in self.scores.items()}
        value = vars(self) | {"outcome": outcome, "scores": scores}  # what asdict() gives, without copying curves
        value = {name: item for name, item in value.items() if name not in newer_defaults(self)}
        if self.schema == 1:
            return canonical_json(lowered(value))
        return canonical_json(value | {"digest": digest_of(value)})

    @staticmethod
    def from_json(text: str, origin: str = "the record") -> Record:
        """Read what :meth:`to_json` wrote; ``origin`` names the file in messages.

        Raises:
            RecordError: for text that is malformed, truncated, of another schema, or not a record.
        """
        try:
            value = parse_json(text)
            schema = value.get("schema") if isinstance(value, dict) else None
            if schema not in (1, SCHEMA):
                raise RecordError(f"it has schema {schema!r}, and this version reads schemas 1 and {SCHEMA}")
            if schema == 1:
                value = lifted(value)
            elif value.pop("digest", None) != digest_of(value):
                raise RecordError("its content and its digest disagree, so it was damaged or edited")
            record = cast(Record, decode(Record, value))
            record.refuse_faults()
            return record
        except RecursionError:
            raise RecordError(f"{origin} is not a valid record: its values are nested too deeply") from None
        except RecordError as error:
            raise RecordError(f"{origin} is not a valid record: {error}") from None

    def refuse_faults(self) -> None:
        """Check every split's scores by the rules of the task; a task that this version does not know has none.

        Raises:
            RecordError: a metric is out of bounds, or contradicts the record's own details.
        """
        spec = TASKS.get(self.task)
        for split, scores in self.scores.items():
            fault = spec.fault(scores.metrics, scores.details) if spec else None
            if fault:
                raise RecordError(f"the scores on {split} cannot be: {fault}")


def digest_of(value: dict[str, Any]) -> str:
    """Return the SHA-256 of a record's canonical form, without its digest."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def lifted(value: dict[str, Any]) -> dict[str, Any]:
    """Turn the plain values of a record of schema 1 into those of today; the record keeps its schema number.

    Schema 1 knew one task: each split was a field of its own, with a fixed list of metrics.
    """
    value = dict(value)
    scores = {}
    for split in SPLITS:
        of_split = value.pop(split, None)
        if of_split is None:
            continue
        if not isinstance(of_split, dict):
            raise RecordError(f"field {split} holds {repr(of_split)[:60]}, which is not what belongs there")
        for name in (*FIELDS_OF_SCHEMA_1, *DETAILS_OF_SCHEMA_1):
            if name not in of_split:
                raise RecordError(f"field {split}.{name} is missing")
        for name in sorted(of_split.keys() - {*FIELDS_OF_SCHEMA_1, *DETAILS_OF_SCHEMA_1}):
            raise RecordError(f"field {split}.{name} is not known")
        scores[split] = {
            "metrics": {name: of_split[name] for name in FIELDS_OF_SCHEMA_1},
            "details": {name: of_split[name] for name in DETAILS_OF_SCHEMA_1},
        }
    return {**value, "scores": scores, "task": CLASSIFICATION.name}


def lowered(value: dict[str, Any]) -> dict[str, Any]:
    """Turn the plain values of a record that was read in schema 1 back into that schema."""
    splits = dict.fromkeys(SPLITS)
    splits |= {split: {**each["metrics"], **each["details"]} for split, each in value["scores"].items()}
    return {name: item for name, item in value.items() if name not in ("scores", "task")} | splits
