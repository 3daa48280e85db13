"""The conditions of a grid: variants with settings of their own, and every combination of the swept values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from experiments.errors import ExperimentError
from experiments.paths import GRIDS
from experiments.planning.names import flatten, merge, nest, reject_unknown
from experiments.planning.parser import SECTIONS, checked_value, validated_sections
from experiments.planning.refusals import refuse_fixed, refuse_hidden, refuse_loaders, refuse_other_texts
from experiments.planning.run_config import RunConfig
from experiments.planning.tuning import Tuning
from experiments.planning.yaml_files import mapping_of, values_of, whole_number
from experiments.runs.canonical import canonical_json
from experiments.tasks import CLASSIFICATION, task_named
from lightning_modules.schemes.variants import VARIANTS

MOST_CELLS = 10_000
"""Most combinations of swept values."""
CONDITION_KEYS = ("name", "title", "variant", "tune", "sweep", "chosen_in", *SECTIONS)
CHOICE_KEYS = ("grid", "condition", "rank")


@dataclass(frozen=True, kw_only=True)
class ChosenIn:
    """Values that the tuning of another grid chose: its best ones, or those that came second."""

    grid: str
    """Name of the grid."""
    condition: str
    """Its condition; swept values are those that equal the settings here."""
    rank: int = 1
    """1 for the best values."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A variant with the values that the grid sweeps, ready to be run with any seed."""

    name: str
    title: str = ""
    """Name for people, if the grid gives one; a variant has its own."""
    config: RunConfig
    swept: dict[str, Any] = field(default_factory=dict)
    trials: tuple[dict[str, Any], ...] = ()
    """Values that tuning tries; empty if the condition is not tuned."""
    baseline: bool = False
    """Fitted by scikit-learn, once: it has no seed."""
    chosen_in: ChosenIn | None = None
    """Where values come from that are not in the grid file."""
    chosen: dict[str, Any] | None = None
    """Those values, which ``config`` then has; None before :func:`~experiments.planning.choices.with_choices`."""

    @property
    def waits(self) -> bool:
        """Whether values that another grid chooses are not known yet."""
        return self.chosen_in is not None and self.chosen is None


def build_conditions(
    content: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], overrides: Mapping[str, Any], tuning: Tuning | None
) -> list[Condition]:
    """Return a grid's conditions in order, baselines last.

    Args:
        content: the grid file.
        layers: settings under every condition's own, the first one lowest.
        overrides: settings above every condition's own; one of a swept setting replaces all its values.
        tuning: the grid's trials.
    """
    entries = [parse_condition(entry) for entry in values_of(content, "conditions", optional=True)]
    if not entries:
        raise ExperimentError("the grid names no conditions")
    names = [entry["name"] for entry in entries]
    task = task_named(str(content.get("task", CLASSIFICATION.name)))
    for name in names:
        if names.count(name) > 1 or name in task.baselines:
            raise ExperimentError(f"condition {name!r} is there twice; give each a name of its own")
    threads = whole_number("threads", content.get("threads", 1))
    cells = sweep_cells(mapping_of(content, "sweep"), dict(flatten(overrides)))
    if tuning and tuning.carry:
        reject_unknown("tuning.carry: swept setting", tuning.carry, cells[0])
    built: list[Condition] = []
    for entry in entries:
        own = {section: mapping_of(entry, section) for section in SECTIONS}
        trials = tuning.trials_of(entry["name"], entry["variant"]) if tuning and entry.get("tune", True) else ()
        for swept in cells if entry.get("sweep", True) else [{}]:
            refuse_fixed(swept, trials)
            refuse_hidden(entry["name"], own, swept, trials)
            variant = {"model": {"variant": entry["variant"]}}
            config = RunConfig(
                **validated_sections(merge(*layers, own, variant, overrides, nest(swept))),
                task=task.name,
                threads=threads,
            )
            refuse_loaders(config)
            title = entry.get("title", "")
            choice = parse_choice(entry)
            built.append(
                Condition(name=entry["name"], title=title, config=config, swept=swept, trials=trials, chosen_in=choice)
            )
    for name in values_of(content, "baselines", optional=True):
        reject_unknown("baseline", str(name), task.baselines)
        for swept, cell in data_cells(cells):
            sections = validated_sections(merge(*layers, overrides, nest(cell)) | {"start": {}})
            config = RunConfig(**sections, task=task.name, threads=threads)
            built.append(Condition(name=name, config=config, swept=swept, baseline=True))
    refuse_other_texts([(condition.name, condition.config.data) for condition in built])
    return built


def condition_names(content: Mapping[str, Any]) -> list[str]:
    """Return the names of a grid file's conditions."""
    return [parse_condition(entry)["name"] for entry in values_of(content, "conditions", optional=True)]


def parse_condition(entry: Any) -> dict[str, Any]:
    """Return a condition as a mapping with ``name`` and ``variant``; a bare string names a variant."""
    condition = dict(entry) if isinstance(entry, Mapping) else {"name": str(entry), "variant": str(entry)}
    for key in condition:
        reject_unknown("condition key", str(key), CONDITION_KEYS)
    if "name" not in condition and "variant" not in condition:
        raise ExperimentError("a condition needs a variant")
    condition.setdefault("variant", condition.get("name"))
    condition["name"] = str(condition.get("name", condition["variant"]))
    reject_unknown("variant", str(condition["variant"]), VARIANTS)
    return condition


def parse_choice(entry: Mapping[str, Any]) -> ChosenIn | None:
    """Return where a condition's values are chosen; None if its grid has them all.

    Raises:
        ExperimentError: a key is unknown, or the grid or the rank is missing or wrong.
    """
    where = f"condition {entry['name']!r}: chosen_in."
    content = mapping_of(entry, "chosen_in", f"condition {entry['name']!r}: ")
    if not content:
        return None
    for key in content:
        reject_unknown(f"{where}key", str(key), CHOICE_KEYS)
    reject_unknown(f"{where}grid", str(content.get("grid")), sorted(path.stem for path in GRIDS.glob("*.yaml")))
    return ChosenIn(
        grid=str(content["grid"]),
        condition=str(content.get("condition", entry["variant"])),
        rank=whole_number(f"{where}rank", content.get("rank", 1)),
    )


def sweep_cells(sweep: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the swept values, each checked for its type. An override leaves only itself."""
    checked = {
        name: [checked_value(name, value) for value in values_of(sweep, name, "sweep.")]
        if name not in overrides
        else [overrides[name]]
        for name in sweep
    }
    cells = prod(len(values) for values in checked.values())
    if cells > MOST_CELLS:
        raise ExperimentError(f"sweep has {cells:,} combinations; at most {MOST_CELLS:,} are made")
    return [dict(zip(checked, values, strict=True)) for values in product(*checked.values())]


def data_cells(cells: Sequence[Mapping[str, Any]]) -> list[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Return the swept settings of the data, each once, with the first cell that has them.

    A baseline without a network depends on nothing else that a grid can sweep.
    """
    found: dict[str, tuple[dict[str, Any], Mapping[str, Any]]] = {}
    for cell in cells:
        swept = {name: value for name, value in cell.items() if name.startswith("data.")}
        found.setdefault(canonical_json(swept), (swept, cell))
    return list(found.values())
