"""Options that are ``auto``: settings chosen by the device and by a measurement of the run in question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig

if TYPE_CHECKING:  # torch takes seconds to import, and most commands choose nothing
    from experiments.runs.trial_steps import Choice

SECTIONS = {"precision": "trainer", "compile": "model"}
"""Where the setting of each option stands: ``--precision auto`` chooses ``trainer.precision``. In the order in which
they are chosen: whether compiling pays depends on the precision."""
HELP = {
    "precision": "choose trainer.precision by the device and a measurement of seconds, made once and then remembered",
    "compile": "choose model.compile by the length of a run and, where it is long, by a measurement of a minute or two",
}


def choose(option: str, config: RunConfig) -> Choice[Any]:
    """Return what an option's setting is to be for a run of this configuration.

    Raises:
        DataError: where the corpus cannot be prepared, whose rows decide how long a run is.
    """
    if option == "precision":
        from experiments.runs import precision

        return precision.choose_precision(config)
    from experiments.runs import compilation

    return compilation.choose_compilation(config, steps_of(config))


def steps_of(config: RunConfig) -> int:
    """Return the optimiser steps of a run; the corpus is prepared where that has not been done yet."""
    from data_modules.labelled_text import TextDataModule
    from experiments.runs.execute import section

    return config.trainer.max_epochs * TextDataModule(**section(config.data)).facts.steps_per_epoch


def refuse_both(option: str, given: Mapping[str, Any]) -> None:
    """Refuse an option whose setting was ``given`` too, among the settings of its section.

    Raises:
        ExperimentError: naming both.
    """
    if option in given:
        raise ExperimentError(f"--{option} auto chooses what --{SECTIONS[option]}.{option} sets; give one or the other")
