"""A grid over all its corpora: every effect by corpus, pooled, and for a new corpus; a page, a CSV, a picture.

Pure functions of the evidence, as a report of one corpus is (:mod:`experiments.reporting.grid_report`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import RecordError
from experiments.escaping import for_markdown
from experiments.reporting.frame import Description, Row, make_rows
from experiments.reporting.heat import HeatCell, heat_figure
from experiments.reporting.render import (
    EMPTY,
    TextTable,
    interval,
    joined,
    plural,
    rounded,
    spoken_setting,
    to_csv,
    to_markdown,
)
from experiments.reporting.report_tables import exact_cell, origins_of
from experiments.reporting.sentences import budget
from experiments.reporting.style import Picture, save_picture, settings
from experiments.runs.canonical import canonical_json
from experiments.runs.run_folder import write_atomically
from experiments.runs.store import Evidence
from experiments.statistics.components import SEEDS_ONLY, MeanEstimate
from experiments.statistics.pooling import MOST_WITHOUT_WORD, SAME_SOURCE, PooledEffect, pool
from experiments.statistics.seeds import Spread
from experiments.statistics.words import BOTH_DEAD, WORDS, holds_in_family, pooled_word, said_of, word_power

PAGE, TABLE, PICTURE = "across.md", "across.csv", "across.png"
GENERATED = ("listops",)
"""Corpora of made expressions: shown, and not pooled with natural text."""
PARTS: Mapping[tuple[str, str], str] = {
    ("post_ln", "no_residual"): "skips, norms after the add",
    ("pre_ln", "no_residual_pre"): "skips, norms before the sublayer",
    ("no_norm", "plain_gain"): "skips, no norms",
    ("post_ln", "no_norm"): "norms after the add, with skips",
    ("pre_ln", "no_norm"): "norms before the sublayer, with skips",
    ("no_residual", "plain_gain"): "norms after the sublayer, no skips",
    ("no_residual_pre", "plain_gain"): "norms before the sublayer, no skips",
    ("post_ln", "plain_gain"): "both, Post-LN",
    ("pre_ln", "plain_gain"): "both, Pre-LN",
    ("pre_ln", "post_ln"): "Pre-LN instead of Post-LN",
    ("pre_ln", "bag_of_embeddings"): "Pre-LN blocks over none",
}
"""What is added, by the two conditions whose difference shows it; a grid with both is asked for it."""
MOST_SHADED = 5
"""Multiples of δ from which a shade of the picture gets no deeper."""


@dataclass(frozen=True)
class CorpusEffect:
    """One comparison on one corpus."""

    estimate: MeanEstimate | None
    said: str
    """The effect's word, or what can still be said in spite of failures."""

    @property
    def is_pooled(self) -> bool:
        """Whether the effect has an error and every run of both sides trained."""
        return self.estimate is not None and self.said in WORDS


@dataclass(frozen=True)
class AcrossEffect:
    """One comparison over corpora."""

    what: str
    first: str
    second: str
    swept: Mapping[str, Any]
    by_corpus: Mapping[str, CorpusEffect]
    pooled: PooledEffect | None
    word: str
    """Word of the pooled effect; empty for too few sources."""

    @property
    def difference(self) -> str:
        """Name of the comparison, ``first − second``, with the swept values."""
        setting = spoken_setting(self.swept)
        return f"{self.first} − {self.second}" + (f" ({setting})" if setting else "")


@dataclass(frozen=True)
class Across:
    """All comparisons of a grid over its corpora."""

    effects: Sequence[AcrossEffect]
    corpora: Sequence[str]
    """Corpora, natural text first."""
    budgets: Mapping[str, str]
    metric: str
    covers: str


def compare_across(evidence: Mapping[str, Evidence], description: Description) -> Across:
    """Compare the conditions of a grid on every corpus, and pool the effects over natural text.

    An effect is pooled over the corpora on which all runs of both sides trained: a mean over trained and failed runs
    is the score of neither.

    Args:
        evidence: by corpus, with final runs.
        description: what the grid says of itself; its titles name the conditions.

    Raises:
        RecordError: there are no final runs of any corpus.
    """
    rows = {corpus: made for corpus, each in evidence.items() if (made := make_rows(each, description))}
    if not rows:
        raise RecordError(f"there is no finished final run of {description.arguments} on any corpus")
    corpora = sorted(rows, key=lambda corpus: (corpus in GENERATED, corpus))
    task = next(iter(rows.values()))[0].task
    found: dict[tuple[str, str, str], dict[str, tuple[Row, Row]]] = {}
    for corpus in corpora:
        for first, second in comparisons(rows[corpus]):
            key = first.condition, second.condition, canonical_json(first.swept)
            found.setdefault(key, {})[corpus] = first, second
    order = list(PARTS)
    places = {key: order.index(key[:2]) if key[:2] in PARTS else len(order) for key in found}
    effects = [
        _effect(found[key], description.delta, task.primary_metric.higher_is_better)
        for key in sorted(found, key=lambda key: places[key])
    ]
    estimates = [each.estimate for effect in effects for each in effect.by_corpus.values() if each.estimate]
    covers = sorted({estimate.covers for estimate in estimates})
    budgets = {corpus: budget(rows[corpus]).removeprefix("Budget: ") for corpus in corpora}
    return Across(effects, corpora, budgets, task.primary_metric.title, " or ".join(covers) or SEEDS_ONLY)


def comparisons(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Yield the pairs of rows at equal swept values: those of :data:`PARTS`, then variants with their origins."""
    seen = set()
    for first in rows:
        for second in rows:
            is_peer = second.swept in (first.swept, {})
            if is_peer and (first.condition, second.condition) in PARTS:
                seen.add(frozenset((first.condition, second.condition)))
                yield first, second
    for row in rows:
        for origin in origins_of(row, rows):
            if frozenset((row.condition, origin.condition)) not in seen:
                yield row, origin


def _effect(pairs: Mapping[str, tuple[Row, Row]], delta: float, higher_is_better: bool) -> AcrossEffect:
    by_corpus = {}
    for corpus, (first, second) in pairs.items():
        estimate = first.effect(second)
        said = said_of(estimate, delta, first.endings, second.endings, higher_is_better=higher_is_better)
        by_corpus[corpus] = CorpusEffect(estimate, said)
    chosen = {
        corpus: each.estimate
        for corpus, each in by_corpus.items()
        if each.is_pooled and each.estimate and corpus not in GENERATED
    }
    pooled = pool(chosen)
    first, second = next(iter(pairs.values()))
    return AcrossEffect(
        what=PARTS.get((first.condition, second.condition), ""),
        first=first.title,
        second=second.title,
        swept=first.swept,
        by_corpus=by_corpus,
        pooled=pooled,
        word=pooled_word(pooled, delta, higher_is_better=higher_is_better) or "",
    )


def exact_table(across: Across) -> TextTable:
    """Return every number: a line per effect and corpus, one for the pooled effect, one for a new corpus."""
    columns = ["added", "difference", "where", "mean", "low", "high", "se", "degrees", "seeds", "sources", "word"]
    lines: list[list[Any]] = []
    for effect in across.effects:
        names = [effect.what, effect.difference]
        for corpus, each in effect.by_corpus.items():
            found = each.estimate
            if found is None:
                lines.append([*names, corpus, *[None] * 7, each.said])
                continue
            low, high = found.interval() or (None, None)
            lines.append([*names, corpus, found.mean, low, high, found.se, found.degrees, found.count, None, each.said])
        if (pooled := effect.pooled) is not None:
            low, high = pooled.interval() or (None, None)
            numbers = [pooled.mean, low, high, pooled.se, pooled.degrees, None, pooled.count]
            lines.append([*names, "pooled", *numbers, effect.word])
            low, high = pooled.prediction() or (None, None)
            lines.append([*names, "new corpus", pooled.mean, low, high, *[None] * 3, pooled.count, ""])
    return TextTable(columns, [[exact_cell(value) for value in line] for line in lines])


def pooled_table(across: Across, delta: float) -> TextTable:
    """Return the pooled effects for people."""
    columns = ["what is added", "difference", "sources", "pooled", "95 % interval", "new corpus", "word", "power at 2δ"]
    holds = holds_in_family([effect.pooled for effect in across.effects])
    rows = []
    for effect, is_held in zip(across.effects, holds, strict=True):
        pooled = effect.pooled
        names = [effect.what or "–", effect.difference]
        if pooled is None:
            rows.append([*names, "0", *[EMPTY] * 5])
            continue
        power = word_power(pooled, delta)
        word = effect.word or f"none: {plural(pooled.count, 'source')}"
        rows.append(
            [
                *names,
                str(pooled.count),
                rounded(pooled.mean),
                _ends(pooled.interval()),
                _ends(pooled.prediction()),
                f"{word} *" if is_held and word in ("helps", "harms") else word,
                rounded(power.helps[2], 2) if power else EMPTY,
            ]
        )
    return TextTable(columns, rows)


def corpus_table(across: Across) -> TextTable:
    """Return every effect on every corpus for people: difference, interval and word."""
    rows = []
    for effect in across.effects:
        cells = [_cell(effect.by_corpus.get(corpus)) for corpus in across.corpora]
        rows.append([effect.difference, *cells])
    return TextTable(["difference", *across.corpora], rows)


def _cell(found: CorpusEffect | None) -> str:
    if found is None:
        return EMPTY
    if found.estimate is None or found.said == BOTH_DEAD:
        return found.said
    return f"{rounded(found.estimate.mean)} {_ends(found.estimate.interval())} {found.said}"


def _ends(ends: tuple[float, float] | None) -> str:
    return EMPTY if ends is None else interval(Spread(2, low=ends[0], high=ends[1]))


def sentences(across: Across) -> list[str]:
    """Return the answer: what each addition does over natural text."""
    found = []
    for effect in across.effects:
        pooled, name = effect.pooled, effect.what or effect.difference
        if pooled is None:
            continue
        within = f"{rounded(pooled.mean)} {_ends(pooled.interval())} over {plural(pooled.count, 'source')}"
        found.append(f"{name[0].upper()}{name[1:]}: {within}: {effect.word or 'too few for a word'}.")
    if found:
        return [*found, "Each holds for the budgets below and for corpora like these."]
    return ["No effect can be pooled: it needs two corpora of natural text on which all runs trained."]


def compose_across(across: Across, description: Description, *, with_picture: bool) -> str:
    """Return the text of the page."""
    natural = [corpus for corpus in across.corpora if corpus not in GENERATED]
    sources = [SAME_SOURCE.get(name, name) for name in natural]
    shared = [name for name in natural if sources.count(SAME_SOURCE.get(name, name)) > 1]
    notes = [
        f"Difference in test {across.metric}, paired by test rows and by seed. An interval on one corpus is 95 % over "
        f"{across.covers}.",
        f"Pooled: random effects over {joined(natural)}. The spread over corpora is Paule and Mandel's; the interval "
        "is Hartung and Knapp's, with the factor's floor at 1.",
        "New corpus: where the true effect on a new corpus lies with 95 %. It has two degrees of freedom fewer than "
        "there are sources (Higgins et al. 2009).",
        f"The words are for a difference of δ = {description.delta:g} that matters. Helps or harms: the 95 % interval "
        "excludes 0 and does not lie inside ±δ.",
        f"No difference that matters: the 90 % interval lies inside ±δ. No word for {MOST_WITHOUT_WORD} sources or "
        "fewer.",
        "A star: Holm's procedure at 5 % over all pooled effects of this page sets it apart from 0.",
        "Power: the chance of helps or harms if the true pooled effect is 2δ.",
    ]
    if shared:
        notes.append(f"{joined(shared)} are made of the same texts and count as one source.")
    made = [corpus for corpus in across.corpora if corpus in GENERATED]
    if made:
        notes.append(f"Not pooled: {joined(made)}, whose rows are made expressions.")
    notes.append("An effect is pooled over the corpora on which all runs of both sides trained.")
    command = f"python -m experiments.ablation across {description.arguments}"
    parts = [
        f"# {for_markdown(description.title)}: {len(across.corpora)} corpora",
        "\n".join(f"- {for_markdown(sentence)}" for sentence in sentences(across)),
        "## Pooled over natural text",
        to_markdown(pooled_table(across, description.delta)),
        "\n".join(f"- {for_markdown(note)}" for note in notes),
        "## Budgets",
        "\n".join(f"- {for_markdown(f'{corpus}: {said}')}" for corpus, said in across.budgets.items()),
        "## By corpus",
        to_markdown(corpus_table(across)),
        f"![Effects by corpus]({PICTURE})" if with_picture else "",
        f"[{TABLE}]({TABLE}) holds every number. `{command}` rewrites this page from the records of each corpus.",
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def write_across(
    evidence: Mapping[str, Evidence], folder: Path, description: Description, *, everything: bool = False
) -> list[Path]:
    """Write page and CSV into a folder, and the picture if asked; return what was written, the page first.

    Raises:
        RecordError: there is no final run, or a file cannot be written.
    """
    across = compare_across(evidence, description)
    contents = {
        PAGE: compose_across(across, description, with_picture=everything),
        TABLE: to_csv(exact_table(across)),
    }
    for name, text in contents.items():
        write_atomically(folder / name, text.encode())
    written = [folder / name for name in contents]
    if everything:
        import matplotlib

        with matplotlib.rc_context(settings()):
            written.append(save_picture(heat_map(across, description.delta), folder / PICTURE))
    return written


def heat_map(across: Across, delta: float) -> Picture:
    """Draw every effect on every corpus as a shade, blue where it helps; the pooled effect in the last column."""
    columns = [*across.corpora, "pooled"]
    cells: dict[tuple[int, int], HeatCell] = {}
    for place, effect in enumerate(across.effects):
        found = {
            columns.index(corpus): (each.estimate.mean, each.said)
            for corpus, each in effect.by_corpus.items()
            if each.estimate is not None and each.said != BOTH_DEAD
        }
        if effect.pooled is not None:
            found[len(columns) - 1] = effect.pooled.mean, effect.word
        for column, (value, word) in found.items():
            cells[place, column] = HeatCell(value, rounded(100 * value, 1), word in ("helps", "harms"))
    names = [effect.what or effect.difference for effect in across.effects]
    label = f"difference in {across.metric}"
    figure = heat_figure(names, columns, cells, limit=MOST_SHADED * delta, label=label)
    counted = [effect.word for effect in across.effects if effect.word]
    said = ", ".join(f"{counted.count(word)} {word}" for word in dict.fromkeys(counted)) or "too few corpora to pool"
    caption = "Numbers: 100 × the difference. Bold: it helps or harms. The last column is pooled over natural text."
    return Picture(figure, f"Pooled over natural text: {said}", caption)
