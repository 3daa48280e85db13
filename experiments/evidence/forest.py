"""One figure of all effects: means with their adjusted intervals, in units of δ, a panel per corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.evidence.judge import Effect, Judgement
from experiments.statistics.verdicts import VerdictName

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS: dict[VerdictName, str] = {"confirmed": "#0072B2", "refuted": "#D55E00", "inconclusive": "#7A7A7A"}
MARKERS: dict[VerdictName, str] = {"confirmed": "o", "refuted": "s", "inconclusive": "D"}
LIMIT, MARGIN = 8.0, 3.6
"""Effects beyond so many δ are drawn at the edge, as arrows; their means stand in the margin beyond it."""
NOT_PLANNED = "#E4E4E4"
ROW_HEIGHT, PANEL_WIDTH = 0.19, 1.6
"""In inches."""


def draw_forest(judgements: Sequence[Judgement], path: Path) -> Path | None:
    """Draw every judged effect and return the path; None where nothing is judged yet.

    A row is a part of a claim, a panel a corpus, those that only replicate last. Effects have different units, so each
    is divided by its δ: 0 is no effect, 1 the smallest that matters.
    """
    if not any(effect.interval for judgement in judgements for effect in judgement.effects):
        return None
    import matplotlib

    from experiments.reporting.style import save_png, settings

    with matplotlib.rc_context(settings()):
        return save_png(compose(judgements), path)


def compose(judgements: Sequence[Judgement]) -> Figure:
    """Return the figure: headings, rows and panels."""
    from matplotlib.figure import Figure

    from experiments.reporting.style import headline

    drawn = [judgement for judgement in judgements if any(effect.interval for effect in judgement.effects)]
    effects = [effect for judgement in drawn for effect in judgement.effects if effect.interval]
    deciding = [effect for effect in effects if effect.measurement.is_confirmatory]
    panels = list(dict.fromkeys(effect.measurement.corpus for effect in [*deciding, *effects]))
    labels, headings, places = rows_of(drawn)
    figure = Figure(figsize=(4.2 + PANEL_WIDTH * len(panels), 1.5 + ROW_HEIGHT * len(labels)), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=True):
        prepare(axes, panel, headings, len(labels))
        planned = {
            places[judgement.claim.id, part.id]
            for judgement in drawn
            for part in judgement.claim.parts
            if panel in (*part.corpora, *part.replications)
        }
        for place in set(places.values()) - planned:
            axes.axhspan(place - 0.5, place + 0.5, color=NOT_PLANNED, lw=0)
        for effect in effects:
            if effect.measurement.corpus == panel:
                draw_effect(axes, places[effect.measurement.claim.id, effect.measurement.part.id], effect)
    grid[0].set_yticks(range(len(labels)), labels, fontsize=7)
    for index, label in enumerate(grid[0].get_yticklabels()):
        label.set_fontweight("bold" if index in headings else "normal")
    add_legend(figure)
    headline(figure, finding(judgements, deciding))
    return figure


def finding(judgements: Sequence[Judgement], deciding: Sequence[Effect]) -> str:
    """Return the figure's sentence: how many of the article's claims, and how many effects, are confirmed.

    A claim that several files test is confirmed where every one of them is.
    """
    verdicts: dict[int, set[str]] = {}
    for judgement in judgements:
        verdicts.setdefault(judgement.claim.number, set()).add(judgement.verdict.name)
    claims = sum(names == {"confirmed"} for names in verdicts.values())
    counts = {name: sum(effect.verdict.name == name for effect in deciding) for name in COLORS}
    return (
        f"{claims} of {len(verdicts)} claims {'is' if claims == 1 else 'are'} confirmed; {counts['confirmed']} of "
        f"{len(deciding)} effects that decide (a part of a claim on a corpus) are, {counts['refuted']} are refuted"
    )


def rows_of(judgements: Sequence[Judgement]) -> tuple[list[str], set[int], dict[tuple[str, str], int]]:
    """Return the labels from top to bottom, which of them are headings, and the row of every claim's part."""
    labels: list[str] = []
    headings: set[int] = set()
    places: dict[tuple[str, str], int] = {}
    for judgement in judgements:
        headings.add(len(labels))
        labels.append(f"{judgement.label} {judgement.claim.short['en']}: {judgement.verdict.name}")
        for part in judgement.claim.parts:
            places[judgement.claim.id, part.id] = len(labels)
            labels.append(part.title["en"])
    return labels, headings, places


def prepare(axes: Axes, title: str, headings: set[int], rows: int) -> None:
    """Set up a panel: lines at 0 and 1, shaded headings, the same range everywhere."""
    for place in headings:
        axes.axhspan(place - 0.5, place + 0.5, color="#F0F0F0", lw=0)
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(1, color="black", lw=0.8, ls=(0, (4, 2)))
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlim(-LIMIT - MARGIN, LIMIT + MARGIN)
    axes.set_xticks([-8, -4, 0, 4, 8])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_title(title, loc="left")


def draw_effect(axes: Axes, place: float, effect: Effect) -> None:
    """Draw one effect: its interval as a line, its mean as a marker; hollow for a replication."""
    assert effect.interval is not None, "only effects with an interval are drawn"
    delta, color = effect.measurement.part.delta, COLORS[effect.verdict.name]
    ends = [effect.interval.mean if value is None else value for value in effect.known_ends]
    low, mean, high = (value / delta for value in (ends[0], effect.interval.mean, ends[1]))
    inside = [max(-LIMIT, min(LIMIT, value)) for value in (low, mean, high)]
    axes.plot([inside[0], inside[2]], [place] * 2, color=color, lw=1.3, solid_capstyle="butt")
    if mean != inside[1]:
        draw_arrow(axes, place, mean, color)
        return
    for value, shown, marker in ((low, inside[0], "<"), (high, inside[2], ">")):
        if value != shown:
            axes.plot(shown, place, marker, color=color, ms=3.5)
    filled = color if effect.measurement.is_confirmatory else "white"
    axes.plot(inside[1], place, MARKERS[effect.verdict.name], color=color, mfc=filled, ms=4.5, mew=1)


def draw_arrow(axes: Axes, place: float, mean: float, color: str) -> None:
    """Draw a mean beyond the axis as an arrow at the edge, its value in the margin beside it."""
    edge, outwards = (LIMIT, 1) if mean > 0 else (-LIMIT, -1)
    axes.plot(edge, place, ">" if mean > 0 else "<", color=color, ms=5)
    axes.annotate(
        f"{mean:.0f}",
        (edge, place),
        xytext=(4 * outwards, 0),
        textcoords="offset points",
        ha="left" if mean > 0 else "right",
        va="center_baseline",
        fontsize=6.5,
        color=color,
    )


def add_legend(figure: Figure) -> None:
    """Explain colours and markers below the panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [
        Line2D([], [], color=COLORS[name], marker=MARKERS[name], lw=1.3, label=name) for name in COLORS
    ]
    grey = COLORS["inconclusive"]
    handles.append(Line2D([], [], color=grey, marker="D", mfc="white", lw=0, label="hollow: a replication"))
    handles.append(Line2D([], [], color=grey, marker=">", lw=0, label="arrow: beyond the axis, with the mean"))
    handles.append(Patch(color=NOT_PLANNED, label="shaded: not planned on this corpus"))
    title = (
        "effect in units of δ: 0 is none, 1 (dashed) the smallest that matters, positive favours the claim\n"
        "lines: adjusted intervals over paired seeds, lower end by Holm, upper end at the strictest level\n"
        "confirmed: interval right of 0 and mean right of 1; refuted: interval left of 1\n"
        "empty rows: runs are missing or too few pairs are usable"
    )
    figure.legend(handles=handles, title=title, loc="outside lower center", ncols=3)
