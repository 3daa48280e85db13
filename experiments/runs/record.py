"""The record of one run, ``run.json``: everything that tables and figures are made from.

A run is finished if and only if its record is there, so the record is written last and atomically. It holds nothing
that depends on the clock (durations stand in ``timing.csv``): the same run twice gives the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from experiments.runs.canonical import canonical_json, decode, parse_json
from experiments.runs.errors import RecordError
from lightning_modules.schemes.variants import VARIANTS

SCHEMA = 1
Status = Literal["trained", "collapsed", "diverged", "failed"]
METRICS = ("accuracy", "macro_precision", "macro_recall", "macro_f1")


@dataclass(kw_only=True)
class Outcome:
    """How a run ended."""

    status: Status
    """``trained``; ``collapsed``: no better than guessing; ``diverged``: not finite; ``failed``: ended by an error."""

    step: int
    """Optimiser step at which it ended."""

    reason: str = ""
    """One sentence for any status but ``trained``."""


@dataclass(kw_only=True)
class Scores:
    """Metrics of one model over one split, with macro averages over classes; all lie in [0, 1] but the loss."""

    loss: float | None
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    per_class: list[dict[str, float | int | str]]
    """Per class: ``class``, ``support``, ``accuracy`` (one-vs-rest, (TP+TN)/N), ``precision``, ``recall``, ``f1``."""
    confusion: list[list[int]]
    """Rows are true classes, columns predicted ones."""

    def __post_init__(self) -> None:
        for name in METRICS:
            if not -1e-6 <= getattr(self, name) <= 1 + 1e-6:
                raise RecordError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        classes = len(self.per_class)
        if len(self.confusion) != classes or any(len(row) != classes for row in self.confusion):
            raise RecordError(f"the confusion matrix is not {classes} × {classes}, one row and column per class")


@dataclass(kw_only=True)
class Record:
    """One finished run."""

    grid: str
    corpus: str
    """Slug of the corpus, such as ``docstrings``."""
    condition: str
    """Name of the condition's variant or, where a grid renames one with settings of its own, that name."""
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
    """``parameters, norms, skips, flops_per_token`` of the built model."""
    environment: dict[str, Any]
    """``versions {package: version}, python, git_commit, git_dirty, device, precision, threads``. Records
    of an earlier version may say ``population``: so many runs were trained as one batched model."""
    progress: dict[str, Any]
    """``steps, epochs, tokens_seen, best_step, best_epoch``."""
    history: dict[str, Any]
    """``train``: lists ``step, tokens, loss, learning_rate, gradient_norm``; ``validation``: lists ``step, tokens,
    loss, accuracy, macro_f1`` and, where asked for, ``train_macro_f1``; ``gradient_norms``: ``step`` and ``blocks`` (a
    list per kept step, embedding first, head last) over the course of training; where the run was probed, ``probes``:
    ``step`` and per measure a list by step of lists by depth, the last block last."""
    outcome: Outcome
    validation: Scores | None = None
    """Scores of the chosen (best on validation) checkpoint; none where the run diverged or failed."""
    train: Scores | None = None
    """Scores of the chosen checkpoint in evaluation mode on a fixed sample of training rows."""
    test: Scores | None = None
    """Scores of the chosen checkpoint on the test split; final runs only."""
    test_last: Scores | None = None
    """Scores of the last checkpoint on the test split; final runs only."""
    schema: int = field(default=SCHEMA)
    """Version of this layout; a record of another version is refused."""

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
        return canonical_json(asdict(self))

    @staticmethod
    def from_json(text: str, origin: str = "the record") -> Record:
        """Read what :meth:`to_json` wrote; ``origin`` names the file in messages.

        Raises:
            RecordError: for text that is malformed, truncated, of another schema, or not a record.
        """
        try:
            value = parse_json(text)
            schema = value.get("schema") if isinstance(value, dict) else None
            if schema != SCHEMA:
                raise RecordError(f"it has schema {schema!r}, and this version reads schema {SCHEMA}")
            return cast(Record, decode(Record, value))
        except RecordError as error:
            raise RecordError(f"{origin} is not a valid record: {error}") from None
