"""Refusals: what a grid must not ask for is refused before anything runs, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_modules.config import SPLIT_SETTINGS, TEXT_SETTINGS, DataConfig
from experiments.errors import ExperimentError
from experiments.planning.names import flatten
from experiments.planning.run_config import RunConfig

SET_ELSEWHERE = {
    "model.variant": "variants are named under conditions",
    "data.stage": "tuning trials and final runs have a stage of their own",
}
"""Settings that a grid decides by other means."""


def refuse_fixed(swept: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> None:
    """Raise :class:`ExperimentError` if a sweep or a tuning space names what cannot vary within a grid."""
    tuned = {name for trial in trials for name in trial}
    for name in (*swept, *sorted(tuned)):
        if name in SET_ELSEWHERE:
            raise ExperimentError(f"{name} cannot be swept or tuned: {SET_ELSEWHERE[name]}")
    for name in sorted(tuned):
        section, _, setting = name.partition(".")
        if section == "data" and setting.partition(".")[0] in (*TEXT_SETTINGS, *SPLIT_SETTINGS):
            raise ExperimentError(f"{name} cannot be tuned: its values would be chosen on different validation rows")


def refuse_other_texts(runs: Sequence[tuple[str, DataConfig]]) -> None:
    """Raise :class:`ExperimentError` if runs, given as condition and data, would use more than one text."""
    (_, first), *others = runs
    for name, data in others:
        for setting in TEXT_SETTINGS:
            if getattr(data, setting) != getattr(first, setting):
                raise ExperimentError(
                    f"data.{setting} is not the same for all runs (see the sweep and condition {name!r}); a table "
                    "compares runs on one text, so run the grid once for each text"
                )


def refuse_hidden(
    name: str, own: Mapping[str, Any], swept: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]
) -> None:
    """Raise :class:`ExperimentError` if a condition's own setting would be overwritten by a sweep or by tuning."""
    for setting, _ in flatten(own):
        if setting in swept:
            raise ExperimentError(f"condition {name!r} sets {setting}, which the grid sweeps; only one of them can win")
        if any(setting in trial for trial in trials):
            raise ExperimentError(
                f"condition {name!r} sets {setting}, which the grid tunes; give the condition `tune: false`"
            )


def refuse_loaders(config: RunConfig) -> None:
    """Raise :class:`ExperimentError` if a run would start processes of its own, which a worker must not."""
    if config.trainer.devices > 1:
        raise ExperimentError(
            f"trainer.devices is {config.trainer.devices}; in a grid it must be 1, because the grid's workers are the "
            "parallel processes (see --workers); `experiments.train` takes any number"
        )
    if config.data.num_workers:
        raise ExperimentError(
            f"data.num_workers is {config.data.num_workers}; in a grid it must be 0, because the grid's workers are "
            "the parallel processes (see --workers); `experiments.train` takes any number"
        )


def refuse_tuned(trials: Mapping[str, Sequence[Mapping[str, Any]]], overrides: Mapping[str, Any]) -> None:
    """Raise :class:`ExperimentError` if the tuning trials of a condition would overwrite an override."""
    for condition, tried in trials.items():
        for name in dict(flatten(overrides)):
            if any(name in trial for trial in tried):
                raise ExperimentError(
                    f"{name} is tuned for condition {condition!r}, so it cannot be set; "
                    "change tuning.spaces in a copy of the grid file"
                )
