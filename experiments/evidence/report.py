"""``REPORT.md`` and ``REPORT.zh-CN.md``: a verdict on every claim, a pure function of claims and records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.evidence.claim import Claim
from experiments.evidence.effect_tables import EffectTables
from experiments.evidence.judge import Judgement
from experiments.evidence.published_table import contradictions, nearest_settings
from experiments.evidence.remarks import Remarks
from experiments.evidence.verdict_files import write_verdict_files
from experiments.evidence.wording import PHRASES, Phrases, rules
from experiments.reporting.render import EMPTY, Grid, rounded, to_markdown
from experiments.runs.files import write_atomically
from experiments.statistics.verdicts import VerdictName

FILES = {"en": "REPORT.md", "zh": "REPORT.zh-CN.md"}
FOREST = "figures/claims.png"
VERDICTS: tuple[VerdictName, ...] = ("confirmed", "refuted", "inconclusive", "not run")


def write_report(judgements: Sequence[Judgement], results: Path) -> list[Path]:
    """Write the report in both languages, its figure and the numbers by seed below ``results``; return the paths.

    Raises:
        RecordError: where a file cannot be written.
    """
    from experiments.evidence.forest import draw_forest

    figure = draw_forest(judgements, results / FOREST)
    written = write_verdict_files(judgements, results)
    pages = []
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
                judgement.label,
                self.spoken(judgement.claim),
                say.get(judgement.claim.section, judgement.claim.section),
                f"[{say[judgement.verdict.name]}](#{judgement.claim.id})",
                self.counts(judgement),
            ]
            for judgement in judgements
        ]
        columns = [say[name] for name in ("number", "claim", "section", "verdict", "parts")]
        return to_markdown(Grid(columns, rows), verbatim={say["verdict"]})

    def spoken(self, claim: Claim) -> str:
        """Return a claim, with what its runs do not test."""
        said = [claim.claim[self.language], *([claim.scope[self.language]] if claim.scope else [])]
        return (" " if self.language == "en" else "").join(said)

    def counts(self, judgement: Judgement) -> str:
        """Return how many parts on confirmatory corpora went which way."""
        say, counts = self.phrases, Counter(effect.verdict.name for effect in judgement.confirmatory)
        parts = [say["count"].format(count=counts[name], verdict=say[name]) for name in VERDICTS if counts[name]]
        return say["comma"].join(parts) or EMPTY

    def section(self, judgement: Judgement) -> str:
        """Return everything about one claim."""
        claim, say, remarks = judgement.claim, self.phrases, Remarks(self.language, self.phrases)
        source = say["semicolon"].join([self.place(claim), f"`{claim.id}`"])
        verdict = say["brackets"].format(text=f"**{say[judgement.verdict.name]}**", inside=source)
        scope = claim.scope[self.language] if claim.scope else ""
        lines = [
            f'<a id="{claim.id}"></a>',  # where the overview's verdict leads
            f"## {judgement.label}. {claim.claim[self.language]}",
            *remarks.settings(judgement),
            f"{verdict}{say['colon']}{scope}" if scope else verdict,
            remarks.line("would_refute", claim.refuted_by[self.language]),
            remarks.line("why_delta", claim.delta_reason[self.language]),
            *([remarks.line("disclosure", claim.disclosure[self.language])] if claim.disclosure else []),
        ]
        if claim.arithmetic:
            return "\n\n".join([*lines, *self.arithmetic()])
        tables = EffectTables(self.language, say, self.results)
        lines += [*remarks.about_measures(judgement), *tables.write(judgement.confirmatory)]
        if judgement.replications:
            lines += [f"### {say['replications']}", *tables.write(judgement.replications)]
        return "\n\n".join(lines)

    def place(self, claim: Claim) -> str:
        """Return where the article makes a claim: in a section, or in its code."""
        say = self.phrases
        return say["in code"] if claim.section in say else say["place"].format(section=claim.section)

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
