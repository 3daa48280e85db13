"""One run outside a grid: ``experiments.train`` gives it a folder and a record, and may go on from a checkpoint."""

from __future__ import annotations

import csv
import inspect
import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path, PurePath
from typing import Any

import torch
from lightning.pytorch import Trainer

from data_modules.config import slug_of
from experiments.errors import ExperimentError, RecordError, explained
from experiments.paths import below, checked_name
from experiments.planning.grid import UNLABELLED_OVERRIDES
from experiments.planning.names import flatten
from experiments.planning.run_config import RunConfig, StartConfig, TrainerConfig
from experiments.planning.runs import Run
from experiments.planning.saved_runs import CONFIG_FILE, run_config_of, section
from experiments.planning.yaml_files import read_yaml, write_yaml
from experiments.runs.conclude import close_run
from experiments.runs.execute import peak_memory_mib
from experiments.runs.finished import refuse_other_records
from experiments.runs.parents import Parent, with_parent
from experiments.runs.run_folder import (
    BEST,
    LAST,
    RECORD_FILE,
    Busy,
    check_file,
    locked,
    read_record,
    remove_earlier_attempt,
    write_atomically,
)
from experiments.runs.training import FIXED_FLAGS, REFUSED_FLAGS
from experiments.tasks import task_named
from lightning_modules.errors import LARGEST, SpoiltWeights, spelled
from lightning_modules.pretrained import SIZES, pretrained_name
from lightning_modules.tasks.base import TaskModule
from lightning_modules.tasks.checkpoints import refuse_spoilt

STARTED = time.perf_counter()
CURVES_FILE = "metrics.csv"
EARLIER_FILE = "metrics.earlier.csv"
"""Curves from before a run went on, while it trains."""
NAMED = {"last": LAST, "best": BEST}
BUDGETS = frozenset({"trainer.max_epochs", "trainer.max_steps", "trainer.max_tokens"})
DISPLAY_FLAGS = {"enable_progress_bar", "profiler"}
"""Flags of Lightning's ``Trainer`` that decide no number."""


def run_of(settings: dict[str, Any]) -> Run:
    """Return the run that a parsed command line describes; its cell names what differs from the defaults.

    Raises:
        ExperimentError: if it sets a flag of the trainer that all runs have in common.
    """
    config = with_parent(replace(run_config_of(settings), trainer_flags=other_flags(settings["trainer"])))
    return Run(
        grid=checked_name("--name", settings["name"]),
        corpus=config.data.slug,
        condition=config.model.variant,
        stage=config.data.stage,
        seed=config.seed,
        config=config,
        swept=changed_values(config),
    )


def other_flags(trainer: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that a grid does not know and that differ from Lightning's defaults: they decide numbers too.

    Raises:
        ExperimentError: for a flag that all runs have in common.
    """
    usual = {name: parameter.default for name, parameter in inspect.signature(Trainer.__init__).parameters.items()}
    known = {entry.name for entry in fields(TrainerConfig)}
    given = {
        name: value
        for name, value in trainer.items()
        if name not in known | DISPLAY_FLAGS and value is not None and value != usual.get(name)
    }
    for name in sorted(FIXED_FLAGS & given.keys()):
        raise ExperimentError(f"trainer.{name} is the same in all runs and cannot be set")
    for name in sorted(REFUSED_FLAGS.keys() & given.keys()):
        raise ExperimentError(f"trainer.{name} is refused: {REFUSED_FLAGS[name]}")
    for name in ("limit_train_batches", "accumulate_grad_batches", "check_val_every_n_epoch"):
        value = given.get(name, 1)
        if not 0 < value <= LARGEST:
            raise ExperimentError(f"trainer.{name} is {spelled(value)}; it must be above 0 and at most {LARGEST:,}")
    return given


def changed_values(config: RunConfig) -> dict[str, Any]:
    """Return the settings that decide numbers and are not at their defaults, as dotted names and values."""
    usual = RunConfig(data=type(config.data)(), trainer=TrainerConfig(), task=config.task)
    defaults = dict(flatten(usual.with_values(dict(task_named(config.task).defaults)).as_dict()))
    defaults |= dict(flatten({"start": vars(StartConfig())}))
    ignored = UNLABELLED_OVERRIDES - {"model.pretrained", "data.more_text"}
    ignored |= {"seed_everything", "threads", "model.variant", "data.stage", "start.run"}
    if config.model.pretrained is not None:
        ignored |= {f"model.{name}" for name in ("pretrained_sha256", *SIZES)}
    return {
        name: named(name, value)
        for name, value in flatten(config.as_dict())
        if name not in ignored and not name.startswith("probes.") and (name not in defaults or value != defaults[name])
    }


def named(setting: str, value: Any) -> Any:
    """Return a value without the folders of what it names."""
    if setting == "model.pretrained":
        return pretrained_name(str(value))
    return [slug_of(PurePath(corpus).name) for corpus in value] if setting == "data.more_text" else value


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Hold a run's folder, made if it is missing.

    Raises:
        ExperimentError: if it cannot be written or another process is training in it.
    """
    try:
        with explained(folder), locked(folder):
            yield
    except Busy:
        raise ExperimentError(f"another process is training in {folder}") from None


def prepare_folder(run: Run, folder: Path, fingerprint: str, *, resumes: bool) -> None:
    """Remove all that an earlier fit left or, if this fit goes on from there, its record alone.

    Raises:
        ExperimentError: it was a fit on another text, whose fingerprint is not ``fingerprint``, or a file to go on
            with is a link.
    """
    with suppress(RecordError):  # none there, or a damaged one
        refuse_other_records(folder, [read_record(folder)], fingerprint)
    if resumes:
        for path in folder.iterdir():
            below(folder, path.name)
        (folder / RECORD_FILE).unlink(missing_ok=True)
    else:
        remove_earlier_attempt(folder)
    write_yaml(folder / CONFIG_FILE, run.config.as_dict())


def finish(
    run: Run, folder: Path, trainer: Trainer, module: TaskModule, data: Any, parent: Parent | None = None
) -> None:
    """Score a fitted model, leave what a run leaves, and say where it is. This process makes one run only."""

    def timing() -> dict[str, float | None]:
        return {"seconds": time.perf_counter() - STARTED, "peak_memory_mib": peak_memory_mib()}

    record = close_run(run, folder, trainer, module, data, timing, parent)
    found = record.model.get("pretrained")
    if found:
        print(
            f"of {found['name']} {found['taken']} tensors were taken and {found['left_out']} left out; "
            f"{found['fresh']} of this network started anew"
        )
    print(f"{record.outcome.status} after {record.outcome.step} steps. {record.outcome.reason}".rstrip())
    for split in ("validation", "test"):
        scores = [
            f"{metric.title} {value:.4f}"
            for metric in task_named(record.task).shown
            if (value := record.score(split, metric.name)) is not None
        ]
        if scores:
            print(f"{split}: {', '.join(scores)}")
    print(f"run folder: {folder}")


# Going on from a checkpoint: only from one that is whole and of the same model, and without losing earlier curves.


def find_checkpoint(given: str, folder: Path) -> Path:
    """Return the checkpoint that ``--ckpt_path`` names; ``last`` and ``best`` are those of the run's own folder.

    Raises:
        ExperimentError: if there is none.
    """
    path = folder / NAMED[given] if given in NAMED else Path(given).expanduser()
    if not path.is_file():
        raise ExperimentError(f"ckpt_path: there is no checkpoint {path}")
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of ``experiments.train`` or of a grid.

    Raises:
        ExperimentError: it is truncated, is no checkpoint of a classifier, or holds numbers that are not finite; or the
            record in its folder names another one.
    """
    record = None
    with suppress(RecordError):  # none there while a run is unfinished
        record = read_record(path.parent)
    check_file(path, record)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything, depending on where a file was cut
        raise ExperimentError(f"{path} is damaged or is no checkpoint ({type(error).__name__})") from error
    if not isinstance(content, dict) or not {"state_dict", "hyper_parameters", "global_step"} <= content.keys():
        raise ExperimentError(f"{path} is no checkpoint of a classifier")
    try:
        refuse_spoilt(content)
    except SpoiltWeights as error:
        raise ExperimentError(f"{path}: {error}") from None
    return content


def refuse_other_model(path: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to train on with other settings of the model than those of the checkpoint.

    Raises:
        ExperimentError: naming the first setting that differs.
    """
    for name, value in saved.items():
        if name in wanted and wanted[name] != value:
            raise ExperimentError(
                f"{path} was trained with model.{name} {value}, and this command asks for {wanted[name]}; "
                "to go on, repeat its settings (--config <its folder>/config.yaml)"
            )


def refuse_other_run(path: Path, content: Mapping[str, Any], config: RunConfig) -> None:
    """Refuse to train on with other settings than those in the checkpoint's folder, or to a budget that is spent.

    A run that changed its settings half-way would leave the record of a run that was never made. If the schedule has
    its own length (``model.schedule_epochs``), a run may go on to a larger budget.

    Raises:
        ExperimentError: naming the first setting that differs.
    """
    epochs, steps = content.get("epoch", 0) + 1, content["global_step"]
    trainer = config.trainer
    budget = trainer.max_steps if trainer.max_tokens is None else None
    if budget is not None and steps > budget:
        raise ExperimentError(f"{path} has {steps} steps, and trainer.max_steps is {budget}")
    if budget is None and trainer.max_tokens is None and epochs > trainer.max_epochs:
        raise ExperimentError(f"{path} has {epochs} epochs, and trainer.max_epochs is {trainer.max_epochs}")
    if not (path.parent / CONFIG_FILE).is_file():
        return
    content = read_yaml(path.parent / CONFIG_FILE)
    before = replace(run_config_of(content), trainer_flags=other_flags(dict(section(content, "trainer"))))
    free = BUDGETS if config.model.schedule_epochs is not None else frozenset()
    was, asked = (dict(flatten(each.identity())) | {"seed_everything": each.seed} for each in (before, config))
    for name in sorted(was.keys() | asked.keys()):
        if name not in free and was.get(name) != asked.get(name):
            raise ExperimentError(
                f"{path} was trained with {name} {was.get(name)}, and this command asks for {asked.get(name)}; "
                "to go on, repeat its settings (--config <its folder>/config.yaml)"
            )


def refuse_weights_only(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse to train on from weights without the optimiser's state.

    Raises:
        ExperimentError: for such a checkpoint.
    """
    if not content.get("optimizer_states"):
        raise ExperimentError(f"{path} holds weights only; training goes on from {LAST}")


def is_inside(path: str | Path, folder: Path) -> bool:
    """Tell whether a file is in a folder itself."""
    return Path(path).resolve().parent == folder.resolve()


def set_curves_aside(folder: Path, step: int) -> None:
    """Keep the rows of ``metrics.csv`` before an optimiser step in a file of their own; Lightning deletes it."""
    rows = [row for row in joined_curves(folder) if row.get("step") and int(row["step"]) < step]
    write_curves(folder / EARLIER_FILE, rows)


def prepend_curves(folder: Path) -> None:
    """Put the rows that were set aside before those that training wrote to ``metrics.csv`` since it went on."""
    if (folder / EARLIER_FILE).is_file():
        write_curves(folder / CURVES_FILE, joined_curves(folder))
        (folder / EARLIER_FILE).unlink()


def joined_curves(folder: Path) -> list[dict[str, str]]:
    """Return what was set aside and then the present curves, each row once, however an earlier process was ended."""
    rows: dict[frozenset[tuple[str, str]], dict[str, str]] = {}
    for name in (EARLIER_FILE, CURVES_FILE):
        if (folder / name).is_file():
            with (folder / name).open(newline="", encoding="utf-8") as file:
                rows |= {frozenset(cell for cell in row.items() if cell[1]): row for row in csv.DictReader(file)}
    return list(rows.values())


def write_curves(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as CSV with the columns of all of them, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, sorted({name for row in rows for name in row}), restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
