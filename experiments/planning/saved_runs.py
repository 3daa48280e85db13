"""Run folders that a person names on a command line, and the configuration that they hold. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from data_modules.errors import nearest
from experiments.errors import ExperimentError
from experiments.planning.parser import validated_sections
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.planning.yaml_files import read_yaml
from experiments.runs.run_folder import RECORD_FILE
from experiments.tasks import CLASSIFICATION

CONFIG_FILE = "config.yaml"
LISTED = 8
"""Folders that a message lists."""


def load_run_config(folder: Path) -> RunConfig:
    """Return the configuration in a run folder, whether a grid or LightningCLI wrote it.

    Raises:
        ExperimentError: if the file is missing, is unreadable or holds an unknown option.
        ConfigurationError, DataError: if a value is out of range.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ExperimentError(f"{folder} has no {CONFIG_FILE}, so it is no run folder")
    return run_config_of(read_yaml(path))


def run_config_of(settings: Mapping[str, Any]) -> RunConfig:
    """Return the configuration that the options of ``experiments.train`` describe.

    Only those flags of the trainer count that decide a run's numbers. What LightningCLI adds (``ckpt_path``,
    ``weights_only``, folders, the linked seeds) is ignored.

    Raises:
        ExperimentError: if an option of the model or the data is unknown.
        ConfigurationError, DataError: if a value is out of range.
    """
    known = {entry.name for entry in fields(TrainerConfig)}
    trainer = {name: value for name, value in section(settings, "trainer").items() if name in known}
    trainer = {name: value for name, value in trainer.items() if value is not None or name == "gradient_clip_val"}
    if trainer.get("max_steps") == -1:  # Lightning's word for no limit
        del trainer["max_steps"]
    sections = {
        "model": without_seed(section(settings, "model")),
        "data": without_seed(section(settings, "data")),
        "trainer": trainer | {"devices": device_count(trainer.get("devices", 1))},
        "probes": section(settings, "probes"),
        "start": section(settings, "start"),
    }
    seed, task = settings.get("seed_everything", 0), str(settings.get("task", CLASSIFICATION.name))
    config = RunConfig(**validated_sections(sections), task=task, threads=int(settings.get("threads", 1)))
    return config.with_seed(0 if seed is True else int(seed))


def section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of the settings; an absent one is empty.

    Raises:
        ExperimentError: if it holds anything but names and values.
    """
    values = settings.get(name) or {}
    if not isinstance(values, Mapping):
        raise ExperimentError(f"the section {name} must hold names and values, not {values!r}")
    return values


def device_count(devices: Any) -> int:
    """Return Lightning's ``devices`` as a number; ``auto`` counts as 1."""
    return int(devices) if str(devices).isdigit() else 1


def without_seed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section without the seed, which belongs to the run."""
    return {name: value for name, value in values.items() if name != "seed"}


def is_run_folder(folder: Path) -> bool:
    """Tell whether a folder holds a run, finished or not."""
    return (folder / CONFIG_FILE).is_file() or (folder / RECORD_FILE).is_file()


def run_folder(name: str) -> Path:
    """Return the run folder that a person named.

    Raises:
        ExperimentError: if it does not exist; the message names the nearest sibling or the runs below.
    """
    folder = existing_folder(name)
    if is_run_folder(folder):
        return folder
    raise ExperimentError(f"{name} is no run folder; {runs_below(folder)}")


def existing_folder(name: str) -> Path:
    """Return a folder that a person named.

    Raises:
        ExperimentError: if it does not exist; the message names the nearest sibling.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise ExperimentError(f"{name} is a file; name its folder {folder.parent}")
    parent = next(parent for parent in folder.absolute().parents if parent.is_dir())
    wanted = folder.absolute().relative_to(parent).parts[0]
    siblings = [path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    raise ExperimentError(f"{name} does not exist: {parent} has no {wanted!r}{nearest(wanted, siblings)}")


def runs_below(folder: Path) -> str:
    """Return a phrase that lists the runs below a folder."""
    runs = sorted({path.parent.relative_to(folder).as_posix() for path in folder.glob(f"**/{CONFIG_FILE}")})
    if not runs:
        return "there are no runs below it either"
    more = f" and {len(runs) - LISTED} more" if len(runs) > LISTED else ""
    return f"the runs below it are: {', '.join(runs[:LISTED])}{more}"


def run_names(folders: Sequence[Path]) -> list[str]:
    """Return ``condition/cell/seed_n`` of every run folder, with the folders before it that tell them apart."""
    parts = [folder.absolute().parts for folder in folders]
    longest = max(len(each) for each in parts)
    lengths = (length for length in range(3, longest) if len({each[-length:] for each in parts}) == len(parts))
    length = next(lengths, longest)
    return ["/".join(each[-length:]) for each in parts]
