"""Answered claims as pages in English and Chinese: an overview, one page per claim, what was also tested, the errors.

The prose is in ``templates``, one file per language. What is computed from records comes as Markdown that is escaped
already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.escaping import for_markdown
from experiments.evidence.claim import LANGUAGES, Claim
from experiments.evidence.claim_tables import EFFECTS, VALUES, bound_of, budget_numbers, effects_of, values_of_seeds
from experiments.evidence.claim_words import PHRASES, RATE, Spoken, cell, ends_of, is_dead, survived
from experiments.evidence.effects import AnsweredComparison
from experiments.evidence.measures import MEASURES
from experiments.evidence.published_table import contradictions
from experiments.evidence.records import AnsweredClaims
from experiments.reporting.across import GENERATED
from experiments.reporting.heat import HeatCell, heat_figure
from experiments.reporting.render import EMPTY, TextTable, rounded, to_csv, to_markdown
from experiments.reporting.style import Picture, save_picture, settings
from experiments.runs.run_folder import write_atomically
from experiments.statistics.words import WORDS, WordPower, holds_in_family

TEMPLATES = Path(__file__).parent / "templates"
OVERVIEW = "README"
PICTURE = "effects.png"
OVER = "natural text"
MOST_SHADED = 5.0
"""Multiples of δ from which a shade of the picture gets no deeper."""


@dataclass(frozen=True)
class Pages:
    """Composes the pages of answered claims.

    Args:
        claims: all of them.
        answers: to all of them.
        report: the link from the pages to the report of a grid (first argument) on a corpus (second).
        command: that rewrites the pages.
    """

    claims: Sequence[Claim]
    answers: AnsweredClaims
    report: Callable[[str, str], str]
    command: str

    def all(self) -> dict[str, str]:
        """Return every page by its file's name."""
        pages = {}
        for language in LANGUAGES:
            suffix = suffix_of(language)
            template = environment().get_template(f"{language}.md.jinja")
            for name, context in self._contexts(language).items():
                shared = {"name": name, "command": self.command, "effects": EFFECTS, "values": VALUES}
                text = template.render(**shared, **context)
                pages[f"{name}{suffix}.md"] = squeezed(text)
        return pages

    def _contexts(self, language: str) -> dict[str, dict[str, Any]]:
        spoken = {claim.id: self.claim_context(claim, language) for claim in self.claims}
        by_kind = {
            kind: [spoken[claim.id] for claim in group] for kind, group in groupby(self.claims, lambda c: c.kind)
        }
        leads = [
            (claim, each) for claim in self._of("article") for each in self._answered(claim) if each.comparison.lead
        ]
        overview = {
            "page": "overview",
            "table": self.overview_table(leads, language),
            "picture": PICTURE if self.has_effects else "",
            **{kind: by_kind.get(kind, []) for kind in ("article", "also_tested", "errors")},
        }
        contexts: dict[str, dict[str, Any]] = {OVERVIEW: overview}
        contexts |= {each["id"]: {"page": "claim", "claims": [each]} for each in by_kind.get("article", [])}
        contexts |= {
            kind: {"page": kind, "claims": by_kind[kind]} for kind in ("also_tested", "errors") if kind in by_kind
        }
        contexts |= {each["id"]: {"page": "answer", "claims": [each]} for each in by_kind.get("answer", [])}
        return contexts

    @property
    def has_effects(self) -> bool:
        """Whether any of the article's claims has an effect to draw."""
        return any(
            effect.is_run
            for claim in self._of("article")
            for each in self._answered(claim)
            for effect in each.by_corpus.values()
        )

    def _of(self, kind: str) -> list[Claim]:
        return [claim for claim in self.claims if claim.kind == kind]

    def _answered(self, claim: Claim) -> Sequence[AnsweredComparison]:
        return self.answers.claims[claim.id]

    def claim_context(self, claim: Claim, language: str) -> dict[str, Any]:
        """Return what a template says of one claim."""
        answered = self._answered(claim)
        texts = {
            key: getattr(claim, key) for key in ("claim", "short", "measured", "scope", "delta_reason", "disclosure")
        }
        return {
            "id": claim.id,
            "number": claim.number,
            "section": claim.section,
            **{key: text[language] if text else "" for key, text in texts.items()},
            "leads": [Spoken(each, language) for each in answered if each.comparison.lead],
            "over": over_corpora(answered, language),
            "by_corpus": self.by_corpus(answered, language),
            "budgets": self.budgets(answered, language),
            "contradictions": [for_markdown(found.sentences[language]) for found in contradictions()]
            if claim.arithmetic
            else [],
            "survival": self.survival(claim, language),
            "has_values": any(MEASURES[each.comparison.metric].kind in ("value", "time") for each in answered),
            "has_weakest": any(effect.weakest for each in answered for effect in each.by_corpus.values()),
            "has_dead": any(is_dead(each, effect) for each in answered for effect in each.by_corpus.values()),
            "has_bounds": any(bound_of(effect) for each in answered for effect in each.by_corpus.values()),
            "has_together": any(each.together for each in answered),
            "has_pooled": any(each.pooled for each in answered),
        }

    def overview_table(self, leads: Sequence[tuple[Claim, AnsweredComparison]], language: str) -> str:
        """Return the lines of the overview: a claim, the comparison that its author states, the estimate, the word."""
        columns = {
            "en": ["", "the article says", "compared", "natural text", "word", "listops"],
            "zh": ["", "文章的论断", "比较", "自然文本", "结论", "listops"],
        }[language]
        rows = []
        seen = ""
        for claim, each in leads:
            spoken = Spoken(each, language)
            first = claim.id != seen
            link = f"[{for_markdown(claim.claim[language])}]({claim.id}{suffix_of(language)}.md)" if first else ""
            listops = each.by_corpus.get("listops")
            shown = cell(each, listops, language) if listops else EMPTY
            rows.append([str(claim.number) if first else "", link, spoken.title, spoken.linked, spoken.word, shown])
            seen = claim.id
        return to_markdown(TextTable(columns, rows), verbatim=columns)

    def by_corpus(self, answered: Sequence[AnsweredComparison], language: str) -> str:
        """Return every effect on every corpus: corpora that share a grid's report link to it."""
        corpora = list(dict.fromkeys(corpus for each in answered for corpus in each.comparison.corpora))
        columns = [{"en": "compared", "zh": "比较"}[language], *map(for_markdown, corpora)]
        rows = []
        for each in answered:
            cells = [for_markdown(each.comparison.title[language])]
            for corpus in corpora:
                effect = each.by_corpus.get(corpus)
                shown = EMPTY if effect is None else cell(each, effect, language)
                report = self.report(each.comparison.grid, corpus)
                cells.append(f"[{shown}]({report})" if effect is not None and effect.is_run else shown)
            rows.append(cells)
        return to_markdown(TextTable(columns, rows), verbatim=columns) if rows else ""

    def budgets(self, answered: Sequence[AnsweredComparison], language: str) -> list[str]:
        """Return steps, training rows and seeds of every grid, corpora of equal budgets together."""
        found: dict[str, dict[str, tuple[int, int, int]]] = {}
        for each in answered:
            for corpus, effect in each.by_corpus.items():
                if effect.is_run:
                    seeds = max(len(row.records) for row in effect.rows)
                    place = found.setdefault(each.comparison.grid, {})
                    place[corpus] = max(place.get(corpus, (0, 0, 0)), (*budget_numbers(effect), seeds))
        lines = []
        for grid, by_corpus in found.items():
            said = [
                PHRASES[language]["budget"].format(corpus=for_markdown(corpus), steps=f"{s:,}", rows=f"{r:,}", seeds=n)
                for corpus, (s, r, n) in by_corpus.items()
            ]
            lines.append(PHRASES[language]["grid"].format(grid, PHRASES[language]["and"].join(said)))
        return lines

    def survival(self, claim: Claim, language: str) -> str:
        """Return the largest rate at which every run of a condition trained, by corpus; empty for other measures."""
        answered = [each for each in self._answered(claim) if MEASURES[each.comparison.metric].kind == "outcomes"]
        grids = list(dict.fromkeys(each.comparison.grid for each in answered))
        corpora = list(dict.fromkeys(corpus for each in answered for corpus in each.comparison.corpora))
        rows = []
        for grid in grids:
            found = self.answers.rows.get(grid, {})
            names = {row.condition: row.title for each in found.values() for row in each if RATE in row.swept}
            for condition, title in names.items():
                cells = [
                    survived([row for row in found.get(corpus, ()) if row.condition == condition], language)
                    for corpus in corpora
                ]
                rows.append([for_markdown(title), f"`{grid}`", *cells])
        columns = [*{"en": ("block", "grid"), "zh": ("块", "网格")}[language], *corpora]
        return to_markdown(TextTable(columns, rows), verbatim=columns) if rows else ""


def over_corpora(answered: Sequence[AnsweredComparison], language: str) -> str:
    """Return the table of effects over natural text: estimate, word, new corpus, power at δ, 2δ and 5δ.

    A star marks what Holm's procedure at 5 % over all pooled effects of the table sets apart from 0.
    """
    columns = {
        "en": ["compared", "natural text", "word", "on a new corpus", "power at δ / 2δ / 5δ"],
        "zh": ["比较", "自然文本", "结论", "新语料", "功效 δ / 2δ / 5δ"],
    }[language]
    holds = holds_in_family([each.pooled for each in answered])
    rows = []
    for each, held in zip(answered, holds, strict=True):
        spoken = Spoken(each, language)
        star = " \\*" if held and each.word in ("helps", "harms") else ""
        new = ends_of(each.pooled.prediction(), each, language) if each.pooled else EMPTY
        rows.append([spoken.title, spoken.linked, spoken.word + star, new, _power(each, language)])
    return to_markdown(TextTable(columns, rows), verbatim=columns) if rows else ""


def _power(answered: AnsweredComparison, language: str) -> str:
    """Return the power of the pooled effect; of a single corpus its own."""
    power: WordPower | None = answered.power
    if answered.pooled is None and len(answered.natural) == 1:
        power = next(iter(answered.natural.values())).power(answered.comparison.delta)
    if power is None:
        return EMPTY
    return " / ".join(rounded(chance, 2) for chance in power.helps.values())


def suffix_of(language: str) -> str:
    """Return what a page's name ends with in a language."""
    return "" if language == "en" else ".zh-CN"


def squeezed(text: str) -> str:
    """Return a text without runs of empty lines, which a template leaves where it says nothing."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).rstrip() + "\n"


@cache
def environment() -> Environment:
    """Return the templates; a name that a page lacks is an error."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown: what comes from records is escaped where it is composed
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def write_pages(pages: Pages, folder: Path) -> list[Path]:
    """Write pages, tables and the picture into a folder and return what was written, the overview first.

    Raises:
        RecordError: a file cannot be written.
    """
    import matplotlib

    contents = pages.all()
    contents[EFFECTS] = to_csv(effects_of(pages.claims, pages.answers.claims))
    contents[VALUES] = to_csv(values_of_seeds(pages.claims, pages.answers.claims))
    for name, text in contents.items():
        write_atomically(folder / name, text.encode())
    written = [folder / name for name in contents]
    if pages.has_effects:
        with matplotlib.rc_context(settings()):
            written.append(save_picture(claims_picture(pages.claims, pages.answers), folder / PICTURE))
    return written


def claims_picture(claims: Sequence[Claim], answers: AnsweredClaims) -> Picture:
    """Draw the effects of the article's claims by corpus in multiples of δ; the last column is over natural text."""
    chosen = [(claim, each) for claim in claims if claim.kind == "article" for each in answers.claims[claim.id]]
    chosen = [(claim, each) for claim, each in chosen if any(effect.is_run for effect in each.by_corpus.values())]
    corpora = list(dict.fromkeys(corpus for _, each in chosen for corpus in each.comparison.corpora))
    corpora.sort(key=lambda corpus: (corpus in GENERATED, corpus))
    columns = [*corpora, OVER]
    cells: dict[tuple[int, int], HeatCell] = {}
    for place, (_, each) in enumerate(chosen):
        found: dict[str, tuple[float, str]] = {
            corpus: (effect.effect.mean, effect.said)
            for corpus, effect in each.by_corpus.items()
            if effect.effect is not None and effect.said in WORDS
        }
        if each.overall is not None and each.word:
            found[OVER] = each.overall.mean, each.word
        for column, (mean, word) in found.items():
            size = mean / each.comparison.delta
            cells[place, columns.index(column)] = HeatCell(size, rounded(size, 1), word in ("helps", "harms"))
    names = [f"{claim.number}  {claim.short['en']}: {each.comparison.title['en']}" for claim, each in chosen]
    numbers = [claim.number for claim, _ in chosen]
    groups = [place for place in range(1, len(numbers)) if numbers[place] != numbers[place - 1]]
    label = "effect in multiples of δ; blue favours the article"
    figure = heat_figure(names, columns, cells, limit=MOST_SHADED, label=label, groups=groups)
    words = Counter(each.word for _, each in chosen if each.word)
    said = ", ".join(f"{word} {count}" for word, count in words.most_common())
    return Picture(figure, f"Over natural text: {said}", "Bold: it helps or harms.")
