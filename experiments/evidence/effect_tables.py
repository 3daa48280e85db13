"""The effects of a claim as tables: a line per part and corpus, and the values of both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.evidence.cells import Cells, digits_of, p_value
from experiments.evidence.judge import Effect
from experiments.evidence.measurement import Shown
from experiments.evidence.measures import MEASURES
from experiments.evidence.verdict_files import FOLDER
from experiments.evidence.wording import Phrases
from experiments.reporting.render import EMPTY, Grid, mean_and_sd, rounded, to_markdown
from experiments.runs.naming import cell_name

EXPLODING = "exploding_gradient_share"


@dataclass(frozen=True)
class EffectTables:
    """Writes effects in one language."""

    language: str
    phrases: Phrases
    results: Path
    """Folder of the report; links are relative to it."""

    @property
    def cells(self) -> Cells:
        """Writes single cells."""
        return Cells(self.phrases)

    def write(self, effects: Sequence[Effect]) -> list[str]:
        """Return the tables of what is recorded, and a sentence about parts of which nothing is."""
        recorded = [effect for effect in effects if effect.measurement.found]
        paragraphs = []
        if recorded:
            paragraphs.append(to_markdown(self.effects_table(recorded), verbatim={self.phrases["evidence"]}))
            paragraphs += self.values(recorded)
        return [*paragraphs, *self.without_runs(effects)]

    def without_runs(self, effects: Sequence[Effect]) -> list[str]:
        """Return the corpora of which no run is recorded, as one sentence; parts are named where others have runs."""
        say, planned, absent = self.phrases, dict[str, list[Effect]](), dict[str, list[str]]()
        for effect in effects:
            planned.setdefault(effect.measurement.corpus, []).append(effect)
        for corpus, members in planned.items():
            titles = [m.measurement.part.title[self.language] for m in members if not m.measurement.found]
            if titles:
                which = say["and_names"].join(titles) if len(titles) < len(members) else ""
                absent.setdefault(which, []).append(corpus)
        names = {which: say["and_names"].join(corpora) for which, corpora in absent.items()}
        said = [say["brackets"].format(text=text, inside=which) if which else text for which, text in names.items()]
        return [say["without_runs"].format(parts=say["semicolon"].join(said))] if said else []

    def effects_table(self, effects: Sequence[Effect]) -> Grid:
        """Return a table with one line per part and corpus."""
        names = ("part", "corpus", "effect", "interval", "p", "p_flip", "seeds", "excluded", "delta", "detectable")
        columns = [self.phrases[name] for name in (*names, "verdict", "evidence")]
        return Grid(columns, [self.effect_row(effect) for effect in effects])

    def effect_row(self, effect: Effect) -> list[str]:
        """Return the cells of a part on one corpus."""
        measurement, cells, is_judged = effect.measurement, self.cells, effect.interval is not None
        return [
            measurement.part.title[self.language],
            measurement.corpus,
            cells.effect(effect),
            cells.interval(effect),
            p_value(effect.adjusted.p_value) if is_judged else EMPTY,
            p_value(measurement.sign_flip_p_value) if is_judged else EMPTY,
            str(measurement.pairs),
            cells.left_out(effect),
            rounded(measurement.part.delta),
            cells.detectable(effect),
            cells.verdict(effect),
            self.links(effect),
        ]

    def links(self, effect: Effect) -> str:
        """Return links to the table and the figure behind an effect in its grid's report, where they are there."""
        part, folder = effect.measurement.part, effect.measurement.results.folder
        measure, cell = MEASURES[part.metric], cell_name(part.treatment.swept, {}, "final")
        figures = [
            path
            for pattern in measure.figures  # in order of preference; of one kind, that of the swept values comes first
            for path in sorted(
                (folder / "figures").glob(pattern), key=lambda path: (not path.stem.endswith(f"_{cell}"), path.name)
            )
        ]
        by_seed = self.results / FOLDER / f"{effect.measurement.claim.id}.csv"
        behind = (
            ("by_seed", [by_seed]),
            ("table", [folder / name for name in measure.tables]),
            ("figure", figures),
        )
        found = []
        for name, files in behind:
            file = next((file for file in files if file.is_file()), None)
            if file is not None:
                found.append(f"[{self.phrases[name]}]({file.relative_to(self.results).as_posix()})")
        return self.phrases["and_names"].join(found)

    def values(self, effects: Sequence[Effect]) -> list[str]:
        """Return the table of both sides' values, for what is recorded.

        Shares of exploding steps have rows only where there is one above 0; else a sentence says so for the claim.
        """
        say, exploded = (
            self.phrases,
            any(has_exploded(shown) for effect in effects for shown in effect.measurement.shown),
        )
        rows = [
            [
                effect.measurement.part.title[self.language],
                effect.measurement.corpus,
                MEASURES[shown.metric].title[self.language],
                *(f"{mean_and_sd(side, digits_of(shown))} ({side.count})" for side in (shown.treatment, shown.control)),
            ]
            for effect in effects
            for shown in effect.measurement.shown
            if (shown.treatment.count or shown.control.count) and (exploded or shown.metric != EXPLODING)
        ]
        if not rows:
            return []
        columns = [say[name] for name in ("part", "corpus", "measure", "treatment", "control")]
        table = to_markdown(Grid(columns, rows))
        return [f"<details><summary>{say['values']}</summary>\n\n{table}\n</details>"]


def has_exploded(shown: Shown) -> bool:
    """Tell whether a step of any run behind a shown measure exploded."""
    return shown.metric == EXPLODING and any(bool(side.mean) for side in (shown.treatment, shown.control))
