"""The trainer that every run uses, made by a grid or by ``experiments.train`` alike."""

from __future__ import annotations

import ctypes
import logging
import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, Strategy
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher

from experiments.errors import ExperimentError
from experiments.planning.run_config import SPELLINGS, ProbesConfig, RunConfig, steps_of
from experiments.runs.run_folder import BEST, LAST
from experiments.tasks import CLASSIFICATION, TaskSpec, resolved
from lightning_modules.training.callbacks.attached import callbacks_of
from lightning_modules.training.callbacks.divergence import DivergenceGuard
from lightning_modules.training.callbacks.gradient_norms import GradientNorms
from lightning_modules.training.callbacks.history import History
from lightning_modules.training.callbacks.probes import Probes
from lightning_modules.training.callbacks.step_budget import StepBudget
from lightning_modules.training.callbacks.throughput import Throughput
from lightning_modules.training.processes import FullyShardedStrategy

FIXED_FLAGS = frozenset(
    {"logger", "default_root_dir", "deterministic", "enable_checkpointing", "enable_model_summary"}
    | {"num_sanity_val_steps", "barebones", "use_distributed_sampler"}
)
"""Flags of the trainer that every run sets alike."""
WORKING_FLAGS = frozenset(
    {"accelerator", "strategy", "devices", "precision", "callbacks", "max_epochs", "max_steps", "limit_train_batches"}
    | {"val_check_interval", "check_val_every_n_epoch", "log_every_n_steps", "accumulate_grad_batches"}
    | {"gradient_clip_val", "gradient_clip_algorithm", "inference_mode", "detect_anomaly"}
    | {"reload_dataloaders_every_n_epochs", "enable_progress_bar", "profiler"}
)
"""Flags of Lightning's ``Trainer`` that work as Lightning documents them."""
_WHOLE_SPLITS = "scores are of whole splits; cut the data instead"
REFUSED_FLAGS = {
    "num_nodes": "a run is trained on one machine; several share the runs of a grid by --engine ray",
    "fast_dev_run": "it would leave the record of a run that was none; use trainer.max_steps 1",
    "min_epochs": "nothing ends a run early but its budget, or a loss that is not finite",
    "min_steps": "nothing ends a run early but its budget, or a loss that is not finite",
    "max_time": "how long a run is may not depend on the clock; use trainer.max_steps or trainer.max_tokens",
    "limit_val_batches": _WHOLE_SPLITS,
    "limit_test_batches": _WHOLE_SPLITS,
    "limit_predict_batches": "experiments.predict answers texts",
    "overfit_batches": "it puts single rows in place of batches; use data.max_train_rows for a few training rows",
    "benchmark": "it chooses kernels by the clock, so that no run could be repeated",
    "plugins": "they change what no record would show; precision and strategy have flags of their own",
    "sync_batchnorm": "it replaces PyTorch's own BatchNorm, which no scheme is made of",
    "enable_autolog_hparams": "checkpoints always carry the settings",
    "model_registry": "run folders are where models are kept",
}
"""Flags of Lightning's ``Trainer`` that no run takes, and why."""
REFUSED_CALLBACKS = {
    "LearningRateFinder": "the record would name another rate than the run took; give it with model.learning_rate",
    "BatchSizeFinder": "the record would name another batch size; give it with data.batch_size",
    "GradientAccumulationScheduler": "the schedule's length could not be known; use trainer.accumulate_grad_batches",
    "Timer": "how long a run is may not depend on the clock; use trainer.max_steps or trainer.max_tokens",
}
"""Callbacks of Lightning that no run takes, and why."""
OUR_SETTINGS = frozenset({"track_train_metrics", "max_tokens", "validate_every_n_steps"})
"""Settings of a run's trainer that our callbacks read and Lightning does not."""
FULLY_SHARDED = "fsdp2"
"""Value of ``trainer.strategy`` that spreads one model's weights over the devices."""
OTHER_SHARDS = f"trainer.strategy: to spread the weights choose {FULLY_SHARDED}, which measures gradients as a whole"


def build_trainer(
    settings: dict[str, Any],
    folder: Path,
    extra: Iterable[Callback] = (),
    *,
    task: TaskSpec = CLASSIFICATION,
    steps: int | None = None,
    resumed_step: int | None = None,
) -> Trainer:
    """Return the trainer of one run: curves, histories and the best checkpoint go to ``folder``.

    Args:
        settings: flags of Lightning's ``Trainer``, and ``track_train_metrics``; those that the protocol fixes
            (``FIXED_FLAGS``) are set here.
        folder: the run's folder.
        extra: callbacks of the caller.
        task: names the metrics whose curves are kept, and the one that chooses the best checkpoint.
        steps: a budget in place of ``max_epochs``.
        resumed_step: the step from which training goes on; curves in the folder are cut there.

    Raises:
        ExperimentError: if Lightning refuses the settings.
    """
    tracks = settings.get("track_train_metrics", False)
    callbacks = standard_callbacks(folder, task, track_train_metrics=tracks)
    if steps is not None:
        settings = settings | {"max_epochs": -1, "max_steps": -1}
        callbacks.append(StepBudget(steps))
    fixed = {
        "default_root_dir": folder,
        "logger": curve_loggers(folder, resumed_step),
        "callbacks": [*callbacks, *extra],
        "deterministic": True,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return checked_trainer({"enable_progress_bar": False, **settings, **fixed})


def step_budget(config: RunConfig, data: Any) -> int | None:
    """Steps of a budget in steps or tokens; None for one in epochs, which Lightning has by itself."""
    trainer = config.trainer
    return None if trainer.max_steps is None and trainer.max_tokens is None else steps_of(config, data.facts)


def build_bare_trainer(settings: dict[str, Any], extra: Iterable[Callback] = ()) -> Trainer:
    """Return a trainer that writes nothing, to score a checkpoint or to look inside a network.

    Raises:
        ExperimentError: if Lightning refuses the settings.
    """
    fixed = {
        "logger": False,
        "callbacks": list(extra),
        "deterministic": True,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }
    return checked_trainer({**settings, **fixed})


def checked_trainer(flags: dict[str, Any]) -> Trainer:
    """Return Lightning's trainer, without settings that are ours alone; a value it refuses is a user's mistake.

    Raises:
        ExperimentError: with the first sentence of Lightning's message, or naming a variable of the environment that
            would change the run.
    """
    refuse_environment()
    given = {name: value for name, value in flags.items() if name not in OUR_SETTINGS}
    if flags.get("validate_every_n_steps"):
        given |= {"val_check_interval": flags["validate_every_n_steps"], "check_val_every_n_epoch": None}
    if given.get("max_steps") is None:  # Lightning's word for no limit is -1
        given["max_steps"] = -1
    # Rows are shared by our own samplers: Lightning's repeats some so that all processes have equally many.
    settings = given | {"use_distributed_sampler": False, "strategy": strategy_of(given.get("strategy", "auto"))}
    try:
        trainer = Trainer(**settings)
    except (MisconfigurationException, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ExperimentError(f"Lightning's trainer cannot be built: {reason[0].rstrip('.')}") from error
    refuse_unfit(trainer.strategy)
    wanted = str(given.get("precision") or trainer.precision)
    if SPELLINGS.get(wanted, wanted) != trainer.precision:
        raise ExperimentError(
            f"trainer.precision is {wanted}, and this device computes in {trainer.precision} instead; name that"
        )
    return trainer


def refuse_callbacks(callbacks: Iterable[Callback]) -> None:
    """Refuse callbacks with which a record would not describe what was trained.

    Raises:
        ExperimentError: naming the first, and what to do instead.
    """
    for callback in callbacks:
        for kind in type(callback).__mro__:
            if kind.__name__ in REFUSED_CALLBACKS:
                raise ExperimentError(
                    f"trainer.callbacks: {type(callback).__name__} is refused: {REFUSED_CALLBACKS[kind.__name__]}"
                )


OTHER_ARITHMETIC = (
    "DNNL_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Variables that have oneDNN or CUDA multiply float32 matrices in another precision than the record says."""


def refuse_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse variables that would change the numbers of a run without a trace in configuration, hash or record.

    Lightning reads ``PL_TRAINER_<FLAG>`` for each flag of its ``Trainer``. Those of :data:`OTHER_ARITHMETIC` change the
    precision of products. The rest of the environment decides where files are and what is printed (``docs/running.md``
    lists it). Threads and seeds are set by every run.

    Raises:
        ExperimentError: naming the variables.
    """
    arithmetic = [name for name in OTHER_ARITHMETIC if environment.get(name)]
    if arithmetic:
        raise ExperimentError(
            f"the environment sets {', '.join(arithmetic)}, which changes the precision of products without a trace in "
            "records; unset it, and use --trainer.precision"
        )
    found = sorted(name for name in environment if name.startswith("PL_TRAINER_"))
    if found:
        raise ExperimentError(
            f"the environment sets {', '.join(found)}, which would change runs without a trace in their records; "
            "unset it, and use flags such as --trainer.max_epochs"
        )


def strategy_of(given: Any) -> Any:
    """Return what Lightning's ``Trainer`` takes as ``strategy``: ours for ``fsdp2``, else what is given.

    Raises:
        ExperimentError: for Lightning's ``fsdp``.
    """
    if given == FULLY_SHARDED:
        return FullyShardedStrategy()
    if isinstance(given, str) and given.startswith("fsdp"):  # Lightning would only say that it needs a GPU
        raise ExperimentError(OTHER_SHARDS)
    return given


def refuse_unfit(strategy: Strategy) -> None:
    """Refuse a strategy under which no process would see all that was measured, or the whole gradient.

    Raises:
        ExperimentError: naming those that can be chosen.
    """
    if isinstance(strategy, FSDPStrategy | ModelParallelStrategy) and not isinstance(strategy, FullyShardedStrategy):
        raise ExperimentError(OTHER_SHARDS)
    if isinstance(strategy.launcher, _MultiProcessingLauncher):
        raise ExperimentError(
            "trainer.strategy starts processes that keep to themselves what they measured; "
            f"choose ddp or {FULLY_SHARDED}"
        )


def curve_loggers(folder: Path, resumed_step: int | None = None) -> list[Logger]:
    """Return what writes a run's curves: TensorBoard, cut at ``resumed_step``, and ``metrics.csv``."""
    return [
        CurvesLogger(folder, name="", version="", default_hp_metric=False, purge_step=resumed_step),
        CSVLogger(folder, name="", version=""),
    ]


class CurvesLogger(TensorBoardLogger):
    """TensorBoard whose first screen shows losses and scores; without ``epoch``, which Lightning adds to every point.

    TensorBoard sorts groups of curves by name: ``loss_and_score`` comes before ``training``, which has gradients,
    rates and what was probed.
    """

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log all metrics but ``epoch`` in their groups."""
        super().log_metrics({screen_tag(name): value for name, value in metrics.items() if name != "epoch"}, step)


def screen_tag(name: str) -> str:
    """Return the name of a curve on TensorBoard's page: ``loss_and_score/train_loss`` for ``train/loss``."""
    group = name.split("/")[0]
    if group in ("train", "validation", "test"):
        return f"loss_and_score/{name.replace('/', '_')}"
    return f"training/{name}" if group in ("gradient_norm", "learning_rate", "probe", "throughput") else name


def standard_callbacks(folder: Path, task: TaskSpec, *, track_train_metrics: bool = False) -> list[Callback]:
    """Return what every run records: histories, gradients, throughput, divergence, the best checkpoint."""
    return [
        DivergenceGuard(),
        History(task.curves, (task.primary,) if track_train_metrics else ()),
        GradientNorms(),
        Throughput(),
        *(resolved(callback)() for callback in task.callbacks),
        ModelCheckpoint(
            dirpath=folder,
            filename=Path(BEST).stem,
            monitor=task.monitor,
            mode="max" if task.primary_metric.higher_is_better else "min",
            save_weights_only=True,
            enable_version_counter=False,
        ),
    ]


def probing_callbacks(config: ProbesConfig) -> list[Callback]:
    """Return the callback that probes the network while it trains, or nothing if that is off."""
    return [Probes(config.every_n_steps, config.rows)] if config.every_n_steps else []


def resumable_checkpoint(folder: Path) -> ModelCheckpoint:
    """Return the callback that keeps the whole state of training at the end of every epoch, for resuming."""
    return ModelCheckpoint(
        dirpath=folder,
        filename=Path(LAST).stem,
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def find(trainer: Trainer, kind: type[Any]) -> Any:
    """Return the trainer's callback of a kind."""
    return next(callback for callback in callbacks_of(trainer) if isinstance(callback, kind))


def prepare_process(threads: int) -> None:
    """Set what holds for a whole process: the number of threads, reuse of freed memory, and quiet libraries."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")  # short runs are usual here
    warnings.filterwarnings("ignore", message=".*(Checkpoint|Experiment logs) directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*is deprecated.*")


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next step instead of returning it to the system after each.

    Every step allocates the same activations; returning and fetching their pages took about a tenth of a step of the
    grid `article`. Only glibc has this switch (``mallopt``); elsewhere nothing happens.
    """
    trim_threshold, mmap_threshold = (-1, 1 << 30), (-3, 1 << 25)  # the second is the largest that glibc takes
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        for parameter, limit in (trim_threshold, mmap_threshold):
            library.mallopt(parameter, limit)
