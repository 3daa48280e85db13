"""Under what settings a claim's runs were made, in a sentence per grid: computed from the planned runs and records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.evidence.evidence import GridResults
from experiments.evidence.judge import Judgement
from experiments.evidence.part import Part
from experiments.evidence.quantities import budget
from experiments.evidence.wording import Phrases
from experiments.planning.runs import Run
from experiments.runs.naming import sort_key, spell

TUNABLE = ("model.learning_rate", "model.warmup_fraction", "model.initialisation_gain")


@dataclass(frozen=True)
class GridUse:
    """A grid with the parts of one claim that compare its runs, on all corpora that these name."""

    parts: tuple[Part, ...]
    results: tuple[GridResults, ...]
    """One for each corpus."""

    def runs(self, results: GridResults) -> list[Run]:
        """Return the planned runs of both sides of every part on one corpus."""
        sides = [side for part in self.parts for side in (part.treatment, part.control)]
        return [run for side in sides for run in results.planned(side)]

    def all_runs(self) -> list[Run]:
        """Return the planned runs on all corpora."""
        return [run for results in self.results for run in self.runs(results)]

    def tuned(self) -> dict[str, list[str]]:
        """Return the conditions for which each setting is tuned, by the setting's name."""
        found: dict[str, list[str]] = {}
        for results in self.results:
            for condition in results.grid.conditions:
                names = {name for trial in condition.trials for name in trial} if self.has(condition.name) else set()
                for name in names:
                    found.setdefault(name, []).append(condition.name)
        return {name: list(dict.fromkeys(found[name])) for name in sorted(found)}

    def has(self, condition: str) -> bool:
        """Tell whether a part compares this condition."""
        return any(condition in (part.treatment.condition, part.control.condition) for part in self.parts)

    def steps(self, results: GridResults) -> list[int]:
        """Return the budgets in optimiser steps of the recorded runs on one corpus, each once and sorted."""
        records = (results.record_of(run) for run in self.runs(results))
        return sorted({budget(record, "step") for record in records if record is not None})


def grids_of(judgement: Judgement) -> list[GridUse]:
    """Return every grid that a claim rests on, in the order of its parts."""
    parts: dict[str, list[Part]] = {}
    results: dict[str, dict[str, GridResults]] = {}
    for effect in judgement.effects:
        grid = effect.measurement.part.grid
        parts.setdefault(grid, []).append(effect.measurement.part)
        results.setdefault(grid, {}).setdefault(effect.measurement.corpus, effect.measurement.results)
    return [
        GridUse(tuple(part for index, part in enumerate(parts[grid]) if part not in parts[grid][:index]), tuple(found))
        for grid, found in ((grid, results[grid].values()) for grid in parts)
    ]


@dataclass(frozen=True)
class SettingWriter:
    """Says in one language what the runs of a grid have in common."""

    phrases: Phrases

    def write(self, use: GridUse) -> str:
        """Return the sentence of one grid: sizes, precision, rate and warm-up, clipping, seeds, budgets."""
        say, runs = self.phrases, use.all_runs()
        models, trainers = [run.config.model for run in runs], [run.config.trainer for run in runs]
        clips = ordered(trainer.gradient_clip_val for trainer in trainers)
        said = [
            say["layers"].format(values=self.listed(model.layers for model in models)),
            say["width"].format(values=self.listed(model.width for model in models)),
            say["arithmetic_of_runs"].format(values=self.by_corpus(use, [self.precision(use, r) for r in use.results])),
            *self.rates(use, runs),
            *(say[f"decay_{decay}"] for decay in ordered(model.decay for model in models)),
            say["or"].join(say["unclipped" if clip is None else "clipped"].format(value=spell(clip)) for clip in clips),
            say["seed_count"].format(values=self.by_corpus(use, [str(len(r.grid.seeds)) for r in use.results])),
            say["budget"].format(values=self.by_corpus(use, [self.budget(use, r) for r in use.results])),
        ]
        grid = say["of_grid"].format(grid=use.parts[0].grid)
        return f"{grid}{say['colon']}{say['semicolon'].join(said)}{say['stop']}"

    def rates(self, use: GridUse, runs: Sequence[Run]) -> list[str]:
        """Return what is said of learning rate, warm-up and initial gain: tuned, with how many trials, or fixed."""
        say, tuned = self.phrases, use.tuned()
        conditions = list(dict.fromkeys(run.condition for run in runs))
        fixed, by_scope = [], dict[tuple[str, ...], list[str]]()
        for name in TUNABLE:
            field = name.removeprefix("model.")
            if name in tuned:
                by_scope.setdefault(tuple(tuned[name]), []).append(say[field])
            if name not in tuned and field != "initialisation_gain":
                values = self.listed(getattr(run.config.model, field) for run in runs)
                fixed.append(say["fixed"].format(name=say[field], values=values))
        found = []
        for scope, names in by_scope.items():
            whom = "" if len(scope) == len(conditions) else say["for_some"].format(names=self.quoted(scope))
            found.append(say["tuned"].format(names=say["and"].join(names), whom=whom))
        if found:
            found[-1] += say["trials"].format(count=self.trials(use))
        return [*found, *fixed]

    def trials(self, use: GridUse) -> str:
        """Return how many trials every tuned condition had, further ones included."""
        grids = [results.grid for results in use.results]
        counts = (
            len(condition.trials) + (grid.tuning.widen if grid.tuning else 0)
            for grid in grids
            for condition in grid.conditions
            if condition.trials and use.has(condition.name)
        )
        return self.listed(counts)

    def precision(self, use: GridUse, results: GridResults) -> str:
        """Return the precision of the runs on one corpus."""
        return self.listed(run.config.trainer.precision for run in use.runs(results))

    def budget(self, use: GridUse, results: GridResults) -> str:
        """Return the epochs on one corpus, and the steps where runs are recorded."""
        say, steps = self.phrases, use.steps(results)
        count = span(run.config.trainer.max_epochs for run in use.runs(results))
        epochs = say["one_epoch" if count == "1" else "epochs"].format(values=count)
        return say["steps"].format(values=span(steps), epochs=epochs) if steps else epochs

    def by_corpus(self, use: GridUse, said: Sequence[str]) -> str:
        """Return what holds for each corpus, said once for those that share it."""
        corpora: dict[str, list[str]] = {}
        for results, text in zip(use.results, said, strict=True):
            corpora.setdefault(text, []).append(results.grid.corpus)
        if len(corpora) == 1:
            return next(iter(corpora))
        say = self.phrases
        texts = (
            say["for_corpora"].format(text=text, names=say["and_names"].join(names)) for text, names in corpora.items()
        )
        return say["comma"].join(texts)

    def listed(self, values: Iterable[object]) -> str:
        """Return different values, each once."""
        return self.phrases["and_names"].join(map(spell, ordered(values)))

    def quoted(self, names: Sequence[str]) -> str:
        """Return names of conditions as code."""
        return self.phrases["and_names"].join(f"`{name}`" for name in names)


def ordered(values: Iterable[object]) -> list[object]:
    """Return different values once each, sorted."""
    return sorted(dict.fromkeys(values), key=sort_key)


def span(values: Iterable[int]) -> str:
    """Return ``500``, or ``494–500`` where values differ."""
    found = sorted(set(values))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,}–{found[-1]:,}"
