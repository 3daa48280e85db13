"""A grid file: which conditions to compare on which corpus, with how many seeds and which tuning.

A grid names base settings (``model``, ``data``, ``trainer``) and the ``conditions``: variants, or variants with
settings of their own. It names values to ``sweep``, ``seeds``, ``tuning`` and settings per corpus (``corpora``). A
corpus may have ``seeds``, ``conditions`` and a ``sweep`` of its own. Later layers win: base, corpus, condition, command
line.

A swept or tuned setting has no other value, and a condition that sets it is refused. The command line may replace a
sweep but cannot set what is tuned. :mod:`experiments.planning.search` says how trials follow from each other. A
condition with ``sweep: false`` or ``tune: false`` takes no part: a bag of embeddings has no depth, so it is one row of
a table and one line in a figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from data_modules.config import DataConfig, slug_of
from experiments.errors import ExperimentError
from experiments.paths import GRIDS, checked_name
from experiments.planning.conditions import Condition, build_conditions, condition_names
from experiments.planning.names import flatten, merge, nest, reject_unknown
from experiments.planning.parser import SECTIONS, validated_sections
from experiments.planning.refusals import refuse_tuned
from experiments.planning.tuning import Tuning
from experiments.planning.yaml_files import mapping_of, positive, read_yaml, whole_number
from experiments.runs.naming import path_safe, short_names, spell
from experiments.tasks import CLASSIFICATION, task_named

KEYS = (
    "title",
    "purpose",
    "task",
    "conditions",
    "baselines",
    "sweep",
    "seeds",
    "delta",
    "threads",
    "tuning",
    "corpora",
    *SECTIONS,
)
MOST_RUNS = 200_000
"""Most runs of a grid on one corpus."""
REPLACED = ("seeds", "conditions", "sweep")
CORPUS_KEYS = ("note", "tuning", *REPLACED, *SECTIONS)
"""What a grid may set for one corpus; what :data:`REPLACED` names takes the place of the grid's own."""
UNLABELLED_OVERRIDES = frozenset(
    {
        *(f"data.{name}" for name in ("corpus", "cache_dir", "train_file", "validation_file", "test_file")),
        *(f"data.{name}" for name in ("text_column", "label_column", "group_column", "revision", "more_text")),
        "model.pretrained",
        *(f"trainer.{name}" for name in ("accelerator", "devices")),
    }
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A grid on one corpus, checked and with overrides applied."""

    name: str
    title: str
    purpose: str
    corpus: str
    """Slug of the corpus."""
    note: str
    """What the grid file says of this corpus: where its rows come from and which subset is used."""
    arguments: str
    """The command-line arguments that name this grid on this corpus with these overrides, free of folders."""
    conditions: tuple[Condition, ...]
    """Conditions that were asked for."""
    all_conditions: tuple[Condition, ...]
    """Conditions of the file, whichever were asked for: a report covers all that is recorded."""
    seeds: tuple[int, ...]
    delta: float = 0.01
    """Smallest difference in the primary metric that matters, stated before the runs."""
    tuning: Tuning | None = None

    @property
    def is_widened(self) -> bool:
        """Whether every tuned condition gets more trials than the listed ones."""
        return self.tuning is not None and self.tuning.widen > 0 and not self.tuning.pilot

    @classmethod
    def load(
        cls,
        name: str,
        overrides: Mapping[str, Any] | None = None,
        seeds: int | None = None,
        only: Sequence[str] | None = None,
        cells: Mapping[str, Any] | None = None,
    ) -> Grid:
        """Read a named grid or a grid file and apply ``overrides`` (nested values of the sections).

        Args:
            name: a grid of ``experiments/grids``, or a YAML file.
            overrides: values that win over the file's.
            seeds: number of seeds of the final runs, instead of the file's.
            only: names of the conditions to keep; all by default.
            cells: swept values to keep, by dotted name; all by default. A condition without such a sweep is kept.

        Raises:
            ExperimentError, ConfigurationError, DataError: naming what is wrong and the nearest valid choice.
        """
        path = grid_path(name)
        content = read_yaml(path)
        for key in content:
            reject_unknown(f"{path.name}: key", key, KEYS)
        overrides = overrides or {}
        task = task_named(str(content.get("task", CLASSIFICATION.name)))
        usual = nest(task.defaults)
        base = {section: merge(usual.get(section, {}), mapping_of(content, section)) for section in SECTIONS}
        corpus = validated_sections({"data": merge(base, overrides)["data"]})["data"].slug
        special = mapping_of(mapping_of(content, "corpora"), corpus, "corpora.")
        for key in special:
            reject_unknown(f"{path.name}: corpora.{corpus}: key", key, CORPUS_KEYS)
        layers = [base, {section: mapping_of(special, section, f"corpora.{corpus}.") for section in SECTIONS}]
        content |= {name: special[name] for name in REPLACED if name in special}
        names = condition_names(content)
        tuning = Tuning.parse(merge(mapping_of(content, "tuning"), mapping_of(special, "tuning")), names)
        built = build_conditions(content, layers, overrides, tuning)
        there = dict.fromkeys(condition.name for condition in built)
        for wanted in only or ():
            if wanted not in there:
                raise ExperimentError(f"{path.name} has no condition {wanted!r}; it has {', '.join(there)}")
        kept = kept_cells([condition for condition in built if not only or condition.name in only], cells or {})
        refuse_tuned({condition.name: condition.trials for condition in kept}, overrides)
        final_seeds = whole_number("seeds", content.get("seeds", 3) if seeds is None else seeds)
        refuse_too_many(path.name, built, len(tuning.seeds) if tuning else 0, final_seeds)
        words = [path.stem, *corpus_arguments(base, special, overrides), *override_arguments(overrides)]
        return cls(
            name=checked_name("grid file", path.stem) + label(overrides),
            title=str(content.get("title", path.stem)),
            purpose=" ".join(str(content.get("purpose", "")).split()),
            corpus=corpus,
            arguments=" ".join(words),
            note=" ".join(str(special.get("note", "")).split()),
            conditions=kept,
            all_conditions=tuple(built),
            seeds=tuple(range(final_seeds)),
            delta=positive("delta", content.get("delta", task.delta)),
            tuning=tuning,
        )


def refuse_too_many(name: str, conditions: Sequence[Condition], tuning_seeds: int, final_seeds: int) -> None:
    """Raise :class:`ExperimentError` if a grid has more runs than can be planned."""
    runs = sum(len(condition.trials) * tuning_seeds + final_seeds for condition in conditions)
    if runs > MOST_RUNS:
        raise ExperimentError(f"{name} has {runs:,} runs; at most {MOST_RUNS:,} are planned")


def kept_cells(conditions: Sequence[Condition], cells: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Return the conditions whose swept values are those of ``cells``, so that a long grid can be made in parts.

    Raises:
        ExperimentError: nothing sweeps such a setting, or not with that value.
    """
    for name, value in cells.items():
        swept = [condition.swept[name] for condition in conditions if name in condition.swept]
        reject_unknown("--cells: swept setting", name, {each for one in conditions for each in one.swept})
        if value not in swept:
            tried = ", ".join(dict.fromkeys(map(spell, swept)))
            raise ExperimentError(f"--cells: {name} is {spell(value)}, and the grid sweeps {tried}")
    return tuple(
        condition
        for condition in conditions
        if all(condition.swept.get(name, value) == value for name, value in cells.items())
    )


def grid_path(name: str) -> Path:
    """The file of a named grid, or the path itself if it is a file."""
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise ExperimentError(f"grid file {name} does not exist")
        return Path(name)
    reject_unknown("grid", name, [path.stem for path in GRIDS.glob("*.yaml")])
    return GRIDS / f"{name}.yaml"


def corpus_arguments(
    base: Mapping[str, Any], special: Mapping[str, Any], overrides: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the options that name the corpus: its Hub id if the grid knows one, else what was given."""
    default = {"corpus": DataConfig.corpus} | mapping_of(base, "data")
    chosen = default | mapping_of(overrides, "data")
    if slug_of(PurePath(default["corpus"]).name) == slug_of(PurePath(chosen["corpus"]).name):
        return
    name = str(mapping_of(special, "data").get("corpus", chosen["corpus"]))
    yield f"--data.corpus {f'FOLDER/{PurePath(name).name}' if name.startswith(('/', '.', '~')) else name}"
    for option in ("train_file", "validation_file", "test_file"):
        if chosen.get(option):
            yield f"--data.{option} {PurePath(chosen[option]).name}"
    for option in ("text_column", "label_column", "group_column"):
        if option in mapping_of(overrides, "data"):
            yield f"--data.{option} {chosen[option]}"


def override_arguments(overrides: Mapping[str, Any]) -> Iterator[str]:
    """Yield the overrides that are part of a grid's name, as options."""
    for name, value in flatten(overrides):
        if name not in UNLABELLED_OVERRIDES:
            yield f"--{name} {spell(value)}"


def label(overrides: Mapping[str, Any]) -> str:
    """Return what overrides add to a grid's name, so that its own tables are never mixed with others.

    The corpus has a folder of its own, and the device decides no setting: they add nothing.
    """
    changed = {name: value for name, value in flatten(overrides) if name not in UNLABELLED_OVERRIDES}
    names = short_names(changed)
    return path_safe("".join(f"+{names[name]}={spell(changed[name])}" for name in sorted(changed)))
