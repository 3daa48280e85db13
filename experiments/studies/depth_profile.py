"""Depth profiles: every probe of a network by depth, at initialisation, while it trains, or of a trained run.

A profile becomes a table in the terminal, rows of a CSV, and a figure with a small panel per measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.table import Table

from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError
from experiments.escaping import for_terminal
from experiments.planning.run_config import RunConfig, steps_of
from experiments.planning.saved_runs import load_run_config
from experiments.reporting.probed import (
    PANELS,
    ProbePanel,
    name_the_unseen,
    scale_linearly,
    scale_logarithmically,
)
from experiments.reporting.render import EMPTY, TextTable, to_csv
from experiments.reporting.style import GREY, Picture, look_of
from experiments.runs.canonical import finite_or_none
from experiments.runs.inference import TrainedModel, device
from experiments.runs.run_folder import RECORD_FILE, read_record
from experiments.runs.training import build_bare_trainer, prepare_process, step_budget
from lightning_modules.probes.measuring import measure
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.callbacks.divergence import DivergenceGuard
from lightning_modules.training.callbacks.probes import Probes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lightning_modules.training.callbacks.probes import Depths


SHOWN_DEPTHS = 5
"""Depths that a table in the terminal shows, which fit into 80 columns."""


@dataclass(frozen=True, kw_only=True)
class DepthProfile:
    """Every probe of one network at one step."""

    name: str
    """What is shown: a variant, or ``condition/cell/seed_n`` of a run. Profiles of one network share it."""
    condition: str
    """What decides its colour."""
    corpus: str
    """Slug of the corpus whose rows it was measured on."""
    step: int | None
    """Optimiser steps taken; None if no record of the run says it."""
    measures: dict[str, Depths]
    """Per measure a list by depth, the last block last; measures of the stream begin with the embedding."""

    @property
    def blocks(self) -> int:
        """Number of blocks of the network."""
        return len(self.measures["stream_rms"]) - 1

    def value_at(self, measure: str, depth: int) -> float | None:
        """Return a measure after ``depth`` blocks; None at the embedding for a measure of blocks, or without one."""
        values = self.measures.get(measure, [])
        place = depth - (self.blocks + 1 - len(values))
        return values[place] if 0 <= place < len(values) else None


def probe_variant(config: RunConfig, steps: int) -> tuple[list[DepthProfile], str]:
    """Measure the configured network at initialisation and, unless ``steps`` is 0, while it trains that long.

    Returns:
        Profiles, the first one at step 0, and a note: empty, or why training ended before ``steps``.

    Raises:
        ExperimentError: if the configured training is shorter than ``steps``.
    """
    prepare_process(config.threads)
    data = TextDataModule.from_config(config.data)
    module = TextClassifier.from_config(config.model)
    names = {"name": config.model.variant, "condition": config.model.variant, "corpus": config.data.slug}
    if steps == 0:
        module.build(data.facts)
        measures = measure_module(module.to(device()), data, config.probes.rows)
        return [DepthProfile(**names, step=0, measures=measures)], ""
    longest, module.step_budget = steps_of(config, data.facts), step_budget(config, data)
    if steps > longest:
        raise ExperimentError(
            f"--steps is {steps}, and training ends after {longest} (trainer.max_epochs {config.trainer.max_epochs})"
        )
    probes, guard = Probes(config.probes.every_n_steps or steps, config.probes.rows, steps), DivergenceGuard()
    settings = asdict(config.trainer) | {"max_steps": steps, "limit_val_batches": 0, "enable_progress_bar": False}
    if module.step_budget is not None:
        settings["max_epochs"] = -1
    build_bare_trainer(settings, [guard, probes]).fit(module, datamodule=data)
    found = profiles_of(probes.as_record(), names)
    return found, f"{config.model.variant} diverged: {guard.reason}" if guard.has_diverged else ""


def profiles_of(history: Mapping[str, Any], names: dict[str, str]) -> list[DepthProfile]:
    """Take the profiles from the ``probes`` of a run's history."""
    measures = [name for name in history if name != "step"]
    return [
        DepthProfile(**names, step=step, measures={name: history[name][index] for name in measures})
        for index, step in enumerate(history["step"])
    ]


def probe_run(folder: Path, rows: int, name: str) -> DepthProfile:
    """Measure the chosen checkpoint of a run folder on the first ``rows`` of the run's own training sample.

    Raises:
        ExperimentError: if the run left no network or its corpus has changed.
    """
    trained = TrainedModel.load(folder)
    record = read_record(folder) if (folder / RECORD_FILE).is_file() else None
    return DepthProfile(
        name=name,
        condition=record.condition if record else trained.module.config.variant,
        corpus=load_run_config(folder).data.slug,
        step=record.progress["best_step"] if record else None,
        measures=measure_module(trained.module, trained.data, rows),
    )


def measure_module(module: TextClassifier, data: TextDataModule, rows: int) -> dict[str, Depths]:
    """Measure a classifier on the first ``rows`` of the training sample; None if a measure has no finite value."""
    batch = {name: value.to(module.device) for name, value in data.train_sample(rows).items()}
    measures = measure(
        module.network,
        batch["input_ids"],
        batch["attention_mask"],
        lambda logits: module.training_loss(logits, batch["labels"]),
    )
    return finite_or_none(measures)


def terminal_table(profile: DepthProfile) -> Table:
    """Tabulate a profile, a row per measure and a column per depth, with evenly spread depths if there are many."""
    step = "" if profile.step is None else f", step {profile.step}"
    table = Table(
        title=for_terminal(f"{profile.name}{step}, by blocks below (0: the embedding)"),
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column("measure", no_wrap=True)
    depths = shown_depths(profile.blocks)
    for depth in depths:
        table.add_column(str(depth), justify="right", no_wrap=True)
    for name in profile.measures:
        table.add_row(name, *(reading(profile.value_at(name, depth)) for depth in depths))
    return table


def shown_depths(blocks: int) -> list[int]:
    """Choose at most ``SHOWN_DEPTHS`` depths from 0, the embedding, to the last block, evenly spread."""
    steps = min(blocks, SHOWN_DEPTHS - 1)
    return [round(index * blocks / steps) for index in range(steps + 1)] if steps else [0]


def reading(value: float | None) -> str:
    """Spell two significant digits with a real minus sign; a dash for what is not defined."""
    return EMPTY if value is None else f"{value:.2g}".replace("-", "−")


def as_csv(profiles: Sequence[DepthProfile]) -> str:
    """Write one row per profile and depth with a column per measure; an empty cell is not defined.

    Column ``depth`` counts the blocks below: 0 is the embedding, 1 the first block's output.
    """
    measures = list(dict.fromkeys(name for profile in profiles for name in profile.measures))
    rows = [
        [profile.name, profile.corpus, profile.step, depth, *(profile.value_at(name, depth) for name in measures)]
        for profile in profiles
        for depth in range(profile.blocks + 1)
    ]
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    return to_csv(TextTable(["network", "corpus", "step", "depth", *measures], cells))


COLUMNS = 4
LEADING = ("effective_rank", "token_cosine", "stream_rms")
"""Measures that a title may speak of, the first that every network has."""


def depth_figure(profiles: Sequence[DepthProfile]) -> Picture:
    """Draw the first and the last profile of every network, a panel per measure that any of them has.

    The title is the finding or, without one, the caption. The caption names the corpus and says which lines show the
    start.
    """
    subjects = [list(group) for _, group in groupby(profiles, key=lambda profile: profile.name)]
    panels = [panel for panel in PANELS if any(has_values(profile, panel.measure) for profile in profiles)]
    lines = ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(10.0, 1.9 * lines + 1.0), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, sharex=True, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, subjects)
    for axes in grid[max(len(panels) - COLUMNS, 0) : len(panels)]:
        axes.tick_params(labelbottom=True)
    handles = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=min(len(handles), 4))
    caption = caption_of(subjects)
    figure.supxlabel(f"blocks below (0: the embedding)\n{caption}", fontsize=9)
    return Picture(figure, finding([profiles[-1] for profiles in subjects]) or caption, caption)


def caption_of(subjects: Sequence[Sequence[DepthProfile]]) -> str:
    """Say what is drawn: corpus, steps, and which lines are of the start."""
    corpora = ", ".join(dict.fromkeys(profiles[0].corpus for profiles in subjects))
    last = [profiles[-1].step for profiles in subjects]
    if all(step == 0 for step in last):
        return f"Inside the untrained network, by depth ({corpora})"
    if any(len(profiles) > 1 for profiles in subjects):
        steps = ", ".join(dict.fromkeys(str(step) for step in last))
        return f"Inside the network, by depth ({corpora}): step {steps}; thin and pale: step 0"
    return f"Inside the trained network, by depth ({corpora})"


def finding(profiles: Sequence[DepthProfile]) -> str:
    """Say how the leading measure that all networks have ends: one network's change with depth, or two extremes.

    Empty if no leading measure has a value after the last block.
    """
    for leading in LEADING:
        values = {profile.name: _known(profile, leading) for profile in profiles}
        if not all(values.values()):
            continue
        title = next(panel.title for panel in PANELS if panel.measure == leading)
        if len(values) == 1:
            ((name, known),) = values.items()
            return f"{name}, {title}: from {known[0]:.3g} at the bottom to {known[-1]:.3g} after the last block"
        most, least = (pick(values, key=lambda name: values[name][-1]) for pick in (max, min))
        ends = f"highest in {most} ({values[most][-1]:.3g}), lowest in {least} ({values[least][-1]:.3g})"
        return f"After the last block {title} is {ends}"
    return ""


def _known(profile: DepthProfile, measure: str) -> list[float]:
    """Return the values by depth without gaps; empty if the last block has no value."""
    values = profile.measures.get(measure) or [None]
    return [] if values[-1] is None else [value for value in values if value is not None]


def has_values(profile: DepthProfile, measure: str) -> bool:
    """Tell whether a profile has a value of a measure at any depth."""
    return any(value is not None for value in profile.measures.get(measure, []))


def _draw_panel(axes: Axes, panel: ProbePanel, subjects: Sequence[Sequence[DepthProfile]]) -> None:
    for profiles in subjects:
        look, last = look_of(profiles[-1].condition), profiles[-1]
        if len(profiles) > 1:
            axes.plot(*points(profiles[0], panel), color=look.color, lw=0.8, alpha=0.5)
        axes.plot(
            *points(last, panel), color=look.color, ls=look.line, marker=look.marker, ms=3.5, lw=1.3, label=last.name
        )
    if panel.log:
        scale_logarithmically(axes)
        values = {profiles[-1].name: values_of(profiles[-1], panel) for profiles in subjects}
        name_the_unseen(axes, values)
        if not any((found > 0).any() for found in values.values()):
            axes.set_yticks([])  # else an axis of no meaning
    else:
        scale_linearly(axes)
    if panel.reference is not None:
        axes.axhline(panel.reference, color=GREY, lw=0.8, ls=":", zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_title(panel.title, loc="left", fontsize=8.5)
    axes.tick_params(which="both", labelsize=7.5)


def values_of(profile: DepthProfile, panel: ProbePanel) -> np.ndarray:
    """Return the values of a panel's measure by depth, NaN for one that is not defined."""
    found = profile.measures.get(panel.measure, [])
    base = profile.measures.get(panel.over, []) if panel.over else [None] * len(found)
    relative = [panel.relative(value, below) for value, below in zip(found, base, strict=False)]
    return np.array([np.nan if value is None else value for value in relative], dtype=float)


def points(profile: DepthProfile, panel: ProbePanel) -> tuple[np.ndarray, np.ndarray]:
    """Return depths and values; on a log scale without values that are zero."""
    values = values_of(profile, panel)
    depths = np.arange(profile.blocks + 1)[profile.blocks + 1 - len(values) :]
    return depths, np.where(values > 0, values, np.nan) if panel.log else values
