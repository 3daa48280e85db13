"""What the records say of a claim beside its effects: set-up, levels, explosions, rare classes, what could be shown."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.evidence.cells import Cells
from experiments.evidence.effect_tables import EXPLODING, has_exploded
from experiments.evidence.evidence import GridResults
from experiments.evidence.judge import Judgement, detectable_in_weakest
from experiments.evidence.measures import MEASURES
from experiments.evidence.quantities import rare_classes
from experiments.evidence.setting import GridUse, SettingWriter, grids_of, span
from experiments.evidence.wording import Phrases
from experiments.reporting.render import rounded


@dataclass(frozen=True)
class Remarks:
    """Writes in one language what is computed for a claim as a whole."""

    language: str
    phrases: Phrases

    def settings(self, judgement: Judgement) -> list[str]:
        """Return a line per grid: under what settings its runs are made."""
        writer = SettingWriter(self.phrases)
        return [self.line("setup", writer.write(use)) for use in grids_of(judgement)]

    def about_measures(self, judgement: Judgement) -> list[str]:
        """Return what there is to know about a claim's measures before its table."""
        found = [self.units(judgement), self.levels(judgement), self.weakest(judgement), self.rare(judgement)]
        return [line for line in (*found, self.none_exploded(judgement)) if line]

    def units(self, judgement: Judgement) -> str:
        """Return the unit of every measure that decides."""
        say, measures = self.phrases, [MEASURES[part.metric] for part in judgement.claim.parts]
        units = dict.fromkeys(f"{m.title[self.language]}{say['colon']}{m.effect[self.language]}" for m in measures)
        return self.line("measured", say["semicolon"].join(units) + say["stop"])

    def levels(self, judgement: Judgement) -> str:
        """Return the validation score that speed and overfitting are measured at, by corpus; empty where none is."""
        say = self.phrases
        asking = {part.grid for part in judgement.claim.parts if MEASURES[part.metric].needs_target}
        known = [
            say["level"].format(
                corpus=results.grid.corpus, level=rounded(results.target), budget=self.budget(use, results)
            )
            for use in grids_of(judgement)
            if use.parts[0].grid in asking
            for results in use.results
            if results.target is not None
        ]
        return self.line("levels", say["comma"].join(known) + say["stop"]) if known else ""

    def budget(self, use: GridUse, results: GridResults) -> str:
        """Return the steps that a run on one corpus has."""
        return self.phrases["only_steps"].format(values=span(use.steps(results) or [0]))

    def weakest(self, judgement: Judgement) -> str:
        """Return how large a gain in the weakest class and score could be shown; empty where a claim has no classes."""
        say, cells = self.phrases, Cells(self.phrases)
        effects = [effect for effect in judgement.confirmatory if effect.interval and effect.measurement.weakest]
        said = []
        for effect in effects:
            measurement = effect.measurement
            where = f"{measurement.corpus} {rounded(detectable_in_weakest(effect))}"
            inside = say["comma"].join([measurement.part.title[self.language], cells.component(measurement.weakest)])
            said.append(say["brackets"].format(text=where, inside=inside))
        if not said:
            return ""
        name = say["weakest"].format(delta=rounded(judgement.claim.parts[0].delta))
        return f"{name}{say['colon']}{say['semicolon'].join(said)}{say['stop']}"

    def rare(self, judgement: Judgement) -> str:
        """Return which classes are rare on each corpus, with their test rows; empty where no part asks for them."""
        say, found = self.phrases, dict[str, str]()
        for effect in judgement.effects:
            record = next((record for record in effect.measurement.results.finals if record.test), None)
            if effect.measurement.part.metric != "rare_class_lead" or record is None or record.test is None:
                continue
            classes = [say["brackets"].format(text=name, inside=rows) for name, rows in rare_classes(record).items()]
            rows = sum(int(entry["support"]) for entry in record.test.details["per_class"])
            corpus, listed = effect.measurement.corpus, say["and_names"].join(classes)
            found[corpus] = say["rare_classes"].format(corpus=corpus, classes=listed, rows=f"{rows:,}")
        return self.line("rare", say["semicolon"].join(found.values()) + say["stop"]) if found else ""

    def none_exploded(self, judgement: Judgement) -> str:
        """Return that no step exploded in any run that a claim compares; empty where one did, or nothing is known."""
        shares = [
            (effect.measurement, shown)
            for effect in judgement.effects
            for shown in effect.measurement.shown
            if shown.metric == EXPLODING and (shown.treatment.count or shown.control.count)
        ]
        if not shares or any(has_exploded(shown) for _, shown in shares):
            return ""
        runs = {
            (run.condition, run.corpus, str(run.swept), run.seed)
            for measurement, _ in shares
            for side in (measurement.part.treatment, measurement.part.control)
            for run in measurement.results.planned(side)
            if measurement.results.record_of(run) is not None
        }
        return self.phrases["none_exploded"].format(runs=len(runs))

    def line(self, name: str, text: str) -> str:
        """Return a paragraph with its name in front."""
        return f"{self.phrases[name]}{self.phrases['colon']}{text}"
