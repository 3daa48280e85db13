"""A grid file: which conditions to compare on which corpus, with how many seeds and which tuning.

A grid names base settings (``model``, ``data``, ``trainer``), the ``conditions`` (variants, or variants with settings
of their own), values to ``sweep``, ``seeds``, ``tuning`` and settings per corpus (``corpora``). Later layers win:
base, corpus, condition, command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError
from experiments.paths import GRIDS
from experiments.planning.names import merge, reject_unknown
from experiments.planning.parser import SECTIONS, validated_sections
from experiments.planning.run_config import RunConfig
from experiments.planning.tuning import Tuning
from experiments.planning.yaml_files import read_yaml
from experiments.records.naming import TFIDF
from lightning_modules.variants import VARIANTS

KEYS = ("title", "purpose", "conditions", "baselines", "sweep", "seeds", "threads", "tuning", "corpora", *SECTIONS)
CONDITION_KEYS = ("name", "variant", "tune", *SECTIONS)
CORPUS_KEYS = ("note", "tuning", *SECTIONS)
BASELINES = (TFIDF,)
UNLABELLED_OVERRIDES = frozenset(
    {
        *(f"data.{name}" for name in ("corpus", "cache_dir", "train_file", "validation_file", "test_file")),
        *(f"data.{name}" for name in ("text_column", "label_column", "group_column", "revision")),
        *(f"trainer.{name}" for name in ("accelerator", "devices")),
    }
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A variant with the values that the grid sweeps, ready to be run with any seed."""

    name: str
    config: RunConfig
    swept: dict[str, Any] = field(default_factory=dict)
    trials: tuple[dict[str, Any], ...] = ()
    """Values that tuning tries; none where the condition is not tuned."""
    baseline: bool = False
    """Fitted by scikit-learn, once: it has no seed."""


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
    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...]
    tuning: Tuning | None = None

    @classmethod
    def load(
        cls,
        name: str,
        overrides: Mapping[str, Any] | None = None,
        seeds: int | None = None,
        only: Sequence[str] | None = None,
    ) -> Grid:
        """Read a named grid or a grid file and apply ``overrides`` (nested values of the three sections).

        Args:
            name: a grid of ``experiments/grids``, or a YAML file.
            overrides: values that win over the file's.
            seeds: number of seeds of the final runs, instead of the file's.
            only: names of the conditions to keep; all by default.

        Raises:
            ExperimentError, ConfigurationError, DataError: naming what is wrong and the nearest valid choice.
        """
        path = grid_path(name)
        content = read_yaml(path)
        for key in content:
            reject_unknown(f"{path.name}: key", key, KEYS)
        overrides = overrides or {}
        base = {section: content.get(section) or {} for section in SECTIONS}
        corpus = validated_sections(merge(base, overrides))["data"].slug
        special = (content.get("corpora") or {}).get(corpus) or {}
        for key in special:
            reject_unknown(f"{path.name}: corpora.{corpus}: key", key, CORPUS_KEYS)
        layers = [base, {section: special.get(section) or {} for section in SECTIONS}]
        tuning = Tuning.parse(merge(content.get("tuning") or {}, special.get("tuning") or {}))
        built = conditions(content, layers, overrides, tuning)
        for wanted in only or ():
            reject_unknown("condition", wanted, [condition.name for condition in built])
        return cls(
            name=path.stem + label(overrides),
            title=str(content.get("title", path.stem)),
            purpose=" ".join(str(content.get("purpose", "")).split()),
            corpus=corpus,
            note=" ".join(str(special.get("note", "")).split()),
            conditions=tuple(condition for condition in built if not only or condition.name in only),
            seeds=tuple(range(seed_count(seeds if seeds is not None else content.get("seeds", 3)))),
            tuning=tuning,
        )


def grid_path(name: str) -> Path:
    """Return the file of a named grid, or the path itself where it is a file."""
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise ExperimentError(f"grid file {name} does not exist")
        return Path(name)
    reject_unknown("grid", name, [path.stem for path in GRIDS.glob("*.yaml")])
    return GRIDS / f"{name}.yaml"


def seed_count(seeds: Any) -> int:
    """Return the number of seeds, checked."""
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise ExperimentError(f"seeds is {seeds!r}; it must be a whole number of at least 1")
    return seeds


def label(overrides: Mapping[str, Any]) -> str:
    """Return what overrides add to a grid's name, so that its own tables are never mixed with others.

    The corpus has a folder of its own, and the device decides no setting: they add nothing.
    """
    changed = dict(flatten(overrides))
    parts = [
        f"{name.rpartition('.')[2]}={changed[name]}" for name in sorted(changed) if name not in UNLABELLED_OVERRIDES
    ]
    return "".join(f"+{part}".replace("/", "_").replace(" ", "") for part in parts)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the dotted names and values of nested values."""
    pairs: list[tuple[str, Any]] = []
    for key, value in nested.items():
        name = f"{prefix}{key}"
        pairs += flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return pairs


def conditions(
    content: Mapping[str, Any], layers: list[dict[str, Any]], overrides: Mapping[str, Any], tuning: Tuning | None
) -> list[Condition]:
    """Return the grid's conditions in order, baselines last."""
    entries = [parse_condition(entry) for entry in content.get("conditions") or []]
    if not entries:
        raise ExperimentError("the grid names no conditions")
    built: list[Condition] = []
    threads = int(content.get("threads", 1))
    swept_cells = sweep_cells(content.get("sweep") or {})
    for entry in entries:
        own = {section: entry.get(section) or {} for section in SECTIONS}
        own["model"] = {**own["model"], "variant": entry["variant"]}
        config = RunConfig(**validated_sections(merge(*layers, own, overrides)), threads=threads)
        trials = tuning.trials_of(entry["variant"]) if tuning and entry.get("tune", True) else ()
        for swept in swept_cells:
            built.append(Condition(name=entry["name"], config=config.with_values(swept), swept=swept, trials=trials))
    base = RunConfig(**validated_sections(merge(*layers, overrides)), threads=threads)
    for name in content.get("baselines") or []:
        reject_unknown("baseline", name, BASELINES)
        built.append(Condition(name=name, config=base, baseline=True))
    return built


def parse_condition(entry: Any) -> dict[str, Any]:
    """Return a condition as a mapping with ``name`` and ``variant``; a bare string names a variant."""
    condition = {"name": entry, "variant": entry} if isinstance(entry, str) else dict(entry)
    for key in condition:
        reject_unknown("condition key", key, CONDITION_KEYS)
    condition.setdefault("variant", condition.get("name"))
    condition.setdefault("name", condition["variant"])
    reject_unknown("variant", str(condition["variant"]), VARIANTS)
    return condition


def sweep_cells(sweep: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the swept values, each checked for its type."""
    for name, values in sweep.items():
        for value in values:
            section, _, entry = name.partition(".")
            validated_sections({section: {entry: value}})
    return [dict(zip(sweep, values, strict=True)) for values in product(*sweep.values())]
