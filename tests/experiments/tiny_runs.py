"""Runs of a second or two, made as a grid makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from data_modules.config import DataConfig, ListOpsOptions
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.planning.runs import Run
from experiments.runs.execute import execute
from lightning_modules.config import ModelConfig


def tiny_run(cache: Path, *, condition: str = "pre_ln", seed: int = 0, baseline: bool = False, **data: Any) -> Run:
    """Return a run of one layer of width 16 on 300 rows of listops."""
    options = ListOpsOptions(train_rows=300, evaluation_rows=80, levels=1)
    settings = {"stage": "final", "listops": options, "max_length": 24, "batch_size": 32, "cache_dir": str(cache)}
    config = RunConfig(
        model=ModelConfig(variant="pre_ln" if baseline else condition, layers=1, width=16, heads=2, learning_rate=1e-2),
        data=DataConfig(corpus="listops", **{**settings, **data}),
        trainer=TrainerConfig(max_epochs=1, accelerator="cpu"),
    ).with_seed(seed)
    return Run(
        grid="tiny",
        corpus="listops",
        condition=condition,
        stage=config.data.stage,
        seed=seed,
        config=config,
        baseline=baseline,
    )


def make(run: Run, results: Path) -> Path:
    """Make a run and return its folder."""
    torch.set_num_threads(1)
    execute(run, results)
    return run.folder(results)
