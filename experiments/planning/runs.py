"""One run of a grid: what is trained, with which seed, in which folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from experiments.paths import below, runs_folder
from experiments.planning.run_config import RunConfig
from experiments.runs.naming import cell_name, path_safe


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run, or one fit of a baseline."""

    grid: str
    corpus: str
    condition: str
    stage: Literal["tune", "final"]
    seed: int
    config: RunConfig
    swept: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, Any] = field(default_factory=dict)
    pending: bool = False
    """The values that earlier trials decide are not known yet; ``config`` then holds the first trial's."""
    baseline: bool = False
    """Fitted by scikit-learn instead of trained."""

    @property
    def cell(self) -> str:
        """Folder name of the swept (and, while tuning, tried) values, such as ``layers=6,learning_rate=0.001``."""
        return cell_name(self.swept, self.tuned, self.stage)

    @property
    def name(self) -> str:
        """Name for people: ``post_ln/layers=6/seed_0``."""
        return f"{path_safe(self.condition)}/{self.cell}/seed_{self.seed}"

    def record_fields(self) -> dict[str, Any]:
        """Return what a record says about which run it is."""
        return {
            "grid": self.grid,
            "corpus": self.corpus,
            "condition": self.condition,
            "swept": self.swept,
            "tuned": self.tuned,
            "stage": self.stage,
            "seed": self.seed,
            "config": self.config.identity(),
            "config_hash": self.config.hash(),
            "task": self.config.task,
        }

    def folder(self, results: Path) -> Path:
        """Return the run's folder: ``results/runs/<grid>/<corpus>/<condition>/<cell>/seed_<n>``."""
        return below(runs_folder(results, self.grid, self.corpus), *self.name.split("/"))
