"""The effects of a claim as tables: a line per part and corpus, and the values of both sides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.judging.judge import Effect
from experiments.judging.measurement import Shown
from experiments.judging.measures import MEASURES
from experiments.judging.verdict_files import FOLDER
from experiments.judging.wording import Phrases
from experiments.records.naming import cell_name
from experiments.reporting.render import EMPTY, Grid, mean_and_sd, rounded, to_markdown

BOUNDS = ("lower_bound", "upper_bound")
"""Doubts of pairs that only bound an effect."""


@dataclass(frozen=True)
class EffectTables:
    """Writes effects in one language."""

    language: str
    phrases: Phrases
    results: Path
    """Folder of the report; links are relative to it."""

    def write(self, effects: Sequence[Effect]) -> list[str]:
        """Return the tables of what is recorded, and a sentence about parts of which nothing is."""
        recorded = [effect for effect in effects if effect.measurement.found]
        absent = [effect for effect in effects if not effect.measurement.found]
        paragraphs = []
        if recorded:
            paragraphs.append(to_markdown(self.effects_table(recorded), verbatim={self.phrases["evidence"]}))
            paragraphs += self.values(recorded)
        return [*paragraphs, self.without_runs(absent)] if absent else paragraphs

    def without_runs(self, effects: Sequence[Effect]) -> str:
        """Return the parts and corpora of which no run is recorded, as one sentence."""
        corpora: dict[str, list[str]] = {}
        for effect in effects:
            corpora.setdefault(effect.measurement.part.title[self.language], []).append(effect.measurement.corpus)
        parts: dict[str, list[str]] = {}
        for title, names in corpora.items():
            parts.setdefault(", ".join(names), []).append(title)
        listed = "; ".join(f"{names} ({' / '.join(titles)})" for names, titles in parts.items())
        return self.phrases["without_runs"].format(parts=listed)

    def effects_table(self, effects: Sequence[Effect]) -> Grid:
        """Return a table with one line per part and corpus."""
        names = ("part", "corpus", "effect", "interval", "p", "p_flip", "seeds", "excluded", "delta", "detectable")
        columns = [self.phrases[name] for name in (*names, "verdict", "evidence")]
        return Grid(columns, [self.effect_row(effect) for effect in effects])

    def effect_row(self, effect: Effect) -> list[str]:
        """Return the cells of a part on one corpus."""
        measurement, interval = effect.measurement, effect.interval
        judged = [EMPTY] * 4
        if interval is not None:
            weakest = f" ({measurement.weakest})" if measurement.weakest else ""
            judged = [
                bound_sign(measurement.comparison.doubts) + rounded(interval.mean) + weakest,
                f"[{end(interval.low, measurement.part.delta)}, {end(interval.high, measurement.part.delta)}]",
                p_value(effect.adjusted.p_value),
                p_value(measurement.sign_flip_p_value),
            ]
        return [
            measurement.part.title[self.language],
            measurement.corpus,
            *judged,
            str(measurement.pairs),
            self.left_out(effect),
            rounded(measurement.part.delta),
            rounded(effect.detectable),
            self.verdict(effect),
            self.links(effect),
        ]

    def left_out(self, effect: Effect) -> str:
        """Return how many pairs are left out, and for how many of them one side alone is the reason."""
        say, lacking = self.phrases, effect.measurement.lacking
        alone = [f"{say['only']} {say[side]} {count}" for side, count in lacking.items() if count]
        return f"{effect.measurement.excluded} ({', '.join(alone)})" if alone else str(effect.measurement.excluded)

    def verdict(self, effect: Effect) -> str:
        """Return a verdict with its reason."""
        say, measurement, reason = self.phrases, effect.measurement, effect.verdict.reason
        doubts = measurement.comparison.doubts
        bounds = sum(doubts.get(name, 0) for name in BOUNDS)
        if not reason and not bounds:
            return say[effect.verdict.name]
        if not reason:
            bounded = say["bounded"].format(count=bounds, pairs=measurement.pairs)
            return f"{say[effect.verdict.name]} ({bounded})"
        count = doubts.get(reason, 0)
        said = say[reason].format(found=measurement.found, planned=measurement.planned, count=count)
        return f"{say[effect.verdict.name]} ({said})"

    def links(self, effect: Effect) -> str:
        """Return links to the table and the figure behind an effect in its grid's report, where they are there."""
        part, folder = effect.measurement.part, effect.measurement.results.folder
        measure, cell = MEASURES[part.metric], cell_name(part.treatment.swept, {}, "final")
        figures = [path for pattern in measure.figures for path in sorted((folder / "figures").glob(pattern))]
        figures.sort(
            key=lambda path: not path.stem.endswith(f"_{cell}")
        )  # that of the swept values, where there is one
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
        return ", ".join(found)

    def values(self, effects: Sequence[Effect]) -> list[str]:
        """Return the table of both sides' values, for what is recorded."""
        say = self.phrases
        rows = [
            [
                effect.measurement.part.title[self.language],
                effect.measurement.corpus,
                MEASURES[shown.metric].title[self.language],
                *(f"{mean_and_sd(side, digits_of(shown))} ({side.count})" for side in (shown.treatment, shown.control)),
            ]
            for effect in effects
            for shown in effect.measurement.shown
            if shown.treatment.count or shown.control.count
        ]
        if not rows:
            return []
        columns = [say[name] for name in ("part", "corpus", "measure", "treatment", "control")]
        table = to_markdown(Grid(columns, rows))
        return [f"<details><summary>{say['values']}</summary>\n\n{table}\n</details>"]


def digits_of(shown: Shown) -> int:
    """Return the decimals that a measure is shown with: none for steps and tokens."""
    return 0 if MEASURES[shown.metric].kind == "time" else 3


def bound_sign(doubts: Collection[str]) -> str:
    """Return ``≥ `` where pairs bound an effect from below alone, ``≤ `` where from above alone, else nothing."""
    from_below, from_above = (name in doubts for name in BOUNDS)
    if from_below == from_above:
        return ""
    return "≥ " if from_below else "≤ "


def end(value: float, delta: float) -> str:
    """Return an interval's end for reading, with more digits where rounding would put it on 0 or δ."""
    text = rounded(value)
    if value not in (0, delta) and text in (rounded(0.0), "−0.000", rounded(delta)):
        return f"{value:.5f}".replace("-", "−")
    return text


def p_value(value: float | None) -> str:
    """Return a p-value for reading; a dash where there is none."""
    if value is None:
        return EMPTY
    if value < 0.001:
        return "< 0.001"
    return f"{value:.4f}" if 0.0495 <= value < 0.0505 else f"{value:.3f}"
