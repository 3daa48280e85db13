"""``REPORT.md`` and ``REPORT.zh-CN.md``: a verdict on every claim, a pure function of claims and records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.judging.judge import Effect, Judgement
from experiments.judging.measurement import Shown
from experiments.judging.measures import MEASURES
from experiments.judging.published_table import contradictions, nearest_settings
from experiments.judging.verdict_files import FOLDER, write_by_seed, write_overview
from experiments.judging.wording import PHRASES, Phrases, rules
from experiments.records.files import write_atomically
from experiments.records.naming import cell_name
from experiments.reporting.render import EMPTY, Grid, mean_and_sd, rounded, to_markdown
from experiments.statistics.verdicts import VerdictName

FILES = {"en": "REPORT.md", "zh": "REPORT.zh-CN.md"}
FOREST = "figures/claims.png"
VERDICTS: tuple[VerdictName, ...] = ("confirmed", "refuted", "inconclusive", "not run")


def write_report(judgements: Sequence[Judgement], results: Path) -> list[Path]:
    """Write the report in both languages, its figure and the numbers by seed below ``results``; return the paths.

    Raises:
        RecordError: where a file cannot be written.
    """
    from experiments.judging.forest import draw_forest

    figure = draw_forest(judgements, results / FOREST)
    written = [path for path in (write_by_seed(judgement, results) for judgement in judgements) if path is not None]
    pages = []
    written.insert(0, write_overview(judgements, results))
    for language, name in FILES.items():
        text = Writer(language, PHRASES[language], results, has_forest=figure is not None).compose(judgements)
        write_atomically(results / name, text.encode())
        pages.append(results / name)
    return [*pages, *([figure] if figure is not None else []), *written]


@dataclass(frozen=True)
class Writer:
    """Writes the report in one language."""

    language: str
    phrases: Phrases
    results: Path
    """Folder of the report; links are relative to it."""
    has_forest: bool

    def compose(self, judgements: Sequence[Judgement]) -> str:
        """Return the whole page."""
        say = self.phrases
        sections = [
            f"# {say['title']}",
            say["other"],
            say["introduction"],
            f"## {say['verdicts']}",
            self.overview(judgements),
            *([f"![{say['forest']}]({FOREST})", f"*{say['forest']}*"] if self.has_forest else []),
            f"## {say['how']}",
            rules(self.language),
            *(self.section(judgement) for judgement in judgements),
        ]
        return "\n\n".join(section.strip() for section in sections) + "\n"

    def overview(self, judgements: Sequence[Judgement]) -> str:
        """Return a table with one line per claim, whose verdict leads to the claim's section."""
        say = self.phrases
        rows = [
            [
                str(judgement.claim.number),
                judgement.claim.claim[self.language],
                judgement.claim.section,
                f"[{say[judgement.verdict.name]}](#{judgement.claim.id})",
                self.counts(judgement),
            ]
            for judgement in judgements
        ]
        columns = [say[name] for name in ("number", "claim", "section", "verdict", "parts")]
        return to_markdown(Grid(columns, rows), verbatim={say["verdict"]})

    def counts(self, judgement: Judgement) -> str:
        """Return how many parts on confirmatory corpora went which way."""
        counts = Counter(effect.verdict.name for effect in judgement.confirmatory)
        parts = [f"{counts[name]} {self.phrases[name]}" for name in VERDICTS if counts[name]]
        return ", ".join(parts) or EMPTY

    def section(self, judgement: Judgement) -> str:
        """Return everything about one claim."""
        claim, say = judgement.claim, self.phrases
        lines = [
            f'<a id="{claim.id}"></a>',  # where the overview's verdict leads
            f"## {claim.number}. {claim.claim[self.language]}",
            f"**{say[judgement.verdict.name]}** ({say['section']} {claim.section}; `{claim.id}`)",
            f"{say['would_refute']}: {claim.refuted_by[self.language]}",
            f"{say['why_delta']}: {claim.delta_reason[self.language]}",
        ]
        if claim.arithmetic:
            return "\n\n".join([*lines, *self.arithmetic()])
        units = dict.fromkeys(
            f"{MEASURES[part.metric].title[self.language]}: {MEASURES[part.metric].effect[self.language]}"
            for part in claim.parts
        )
        lines.append(f"{say['measured']}: {'; '.join(units)}.")
        for heading, effects in ((None, judgement.confirmatory), (say["replications"], judgement.replications)):
            if effects:
                lines += [f"### {heading}"] if heading else []
                table = to_markdown(self.effects_table(effects), verbatim={say["evidence"]})
                lines += [table, *self.values(effects)]
        return "\n\n".join(lines)

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
                rounded(interval.mean) + weakest,
                f"[{rounded(interval.low)}, {rounded(interval.high)}]",
                p_value(effect.adjusted.p_value),
                p_value(measurement.sign_flip_p_value),
            ]
        return [
            measurement.part.title[self.language],
            measurement.corpus,
            *judged,
            str(measurement.pairs),
            str(measurement.excluded),
            rounded(measurement.part.delta),
            rounded(effect.detectable),
            self.verdict(effect),
            self.links(effect),
        ]

    def verdict(self, effect: Effect) -> str:
        """Return a verdict with its reason."""
        say, measurement, reason = self.phrases, effect.measurement, effect.verdict.reason
        if not reason:
            return say[effect.verdict.name]
        count = measurement.comparison.doubts.get(reason, 0)
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
            ("table", [folder / measure.table, folder / "report.md"]),
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
            return [say["all_missing"]]
        columns = [say[name] for name in ("part", "corpus", "measure", "treatment", "control")]
        table = to_markdown(Grid(columns, rows))
        return [f"<details><summary>{say['values']}</summary>\n\n{table}\n</details>"]

    def arithmetic(self) -> list[str]:
        """Return what arithmetic says about the published table, and which of our settings come near it."""
        say = self.phrases
        found = "\n".join(f"- {contradiction.sentence[self.language]}" for contradiction in contradictions())
        near = nearest_settings(self.results)
        if not near:
            return [say["arithmetic"], found, say["unpublished"], say["no_neighbours"]]
        rows = [[n.grid, n.corpus, n.condition, rounded(n.accuracy), rounded(n.macro_f1)] for n in near]
        columns = [say[name] for name in ("grid", "corpus", "condition", "accuracy", "macro_f1")]
        return [say["arithmetic"], found, say["unpublished"], to_markdown(Grid(columns, rows))]


def digits_of(shown: Shown) -> int:
    """Return the decimals that a measure is shown with: none for steps and tokens."""
    return 0 if MEASURES[shown.metric].kind == "time" else 3


def p_value(value: float | None) -> str:
    """Return a p-value for reading; a dash where there is none."""
    if value is None:
        return EMPTY
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
