"""One figure of all effects: means with their adjusted intervals, in units of δ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.judging.judge import Effect, Judgement
from experiments.statistics.verdicts import VerdictName

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS: dict[VerdictName, str] = {"confirmed": "#0072B2", "refuted": "#D55E00", "inconclusive": "#7A7A7A"}
MARKERS: dict[VerdictName, str] = {"confirmed": "o", "refuted": "X", "inconclusive": "D"}
LIMIT = 12.0
"""Effects beyond so many δ are drawn at the edge, as arrows."""
ROW_HEIGHT = 0.17


def draw_forest(judgements: Sequence[Judgement], path: Path) -> Path | None:
    """Draw every judged effect and return the path; None where nothing is judged yet.

    Effects have different units, so each is divided by its δ: 0 is no effect, 1 the smallest that matters.
    """
    drawn = [(judgement, [effect for effect in judgement.effects if effect.interval]) for judgement in judgements]
    drawn = [(judgement, effects) for judgement, effects in drawn if effects]
    if not drawn:
        return None
    import matplotlib
    from matplotlib.figure import Figure

    from experiments.reporting.style import headline, save_png, settings

    rows = sum(len(effects) + 1 for _, effects in drawn)
    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(9.0, 1.6 + ROW_HEIGHT * rows), layout="constrained")
        axes = figure.add_subplot()
        labels = draw_rows(axes, drawn)
        axes.axvline(0, color="black", lw=0.8)
        axes.axvline(1, color="black", lw=0.8, ls=(0, (4, 2)))
        axes.set_yticks(range(rows), labels, fontsize=6.5)
        for label in axes.get_yticklabels():
            if label.get_text()[:1].isdigit():
                label.set_fontweight("bold")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_xlim(-LIMIT - 0.5, LIMIT + 0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(
            "effect in units of δ (0: none; dashed, 1: the smallest that matters); positive favours the claim"
        )
        add_legend(axes)
        counts = {name: sum(e.verdict.name == name for _, effects in drawn for e in effects) for name in COLORS}
        headline(figure, "Effects measured: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
        return save_png(figure, path)


def draw_rows(axes: Axes, drawn: Sequence[tuple[Judgement, Sequence[Effect]]]) -> list[str]:
    """Draw a heading per claim and a line per effect from top to bottom and return their labels."""
    labels: list[str] = []
    for judgement, effects in drawn:
        axes.axhspan(len(labels) - 0.5, len(labels) + 0.5, color="#F0F0F0", lw=0)
        labels.append(f"{judgement.claim.number} {judgement.claim.id.replace('_', ' ')}: {judgement.verdict.name}")
        for effect in effects:
            draw_effect(axes, len(labels), effect)
            beside = "" if effect.measurement.is_confirmatory else " (replication)"
            labels.append(f"{effect.measurement.part.title['en']} · {effect.measurement.corpus}{beside}")
    return labels


def draw_effect(axes: Axes, place: int, effect: Effect) -> None:
    """Draw one effect: its interval as a line, its mean as a marker; hollow for a replication."""
    assert effect.interval is not None, "only effects with an interval are drawn"
    delta, color = effect.measurement.part.delta, COLORS[effect.verdict.name]
    low, mean, high = (getattr(effect.interval, name) / delta for name in ("low", "mean", "high"))
    inside = [max(-LIMIT, min(LIMIT, value)) for value in (low, mean, high)]
    axes.plot([inside[0], inside[2]], [place] * 2, color=color, lw=1.4, solid_capstyle="butt")
    for value, shown, marker in ((low, inside[0], "<"), (high, inside[2], ">")):
        if value != shown:
            axes.plot(shown, place, marker, color=color, ms=4)
    filled = color if effect.measurement.is_confirmatory else "white"
    axes.plot(inside[1], place, MARKERS[effect.verdict.name], color=color, mfc=filled, ms=4.5, mew=1)


def add_legend(axes: Axes) -> None:
    """Explain colours and markers below the axis."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=COLORS[name], marker=MARKERS[name], lw=1.4, label=name) for name in COLORS]
    handles.append(Line2D([], [], color="#7A7A7A", marker="D", mfc="white", lw=0, label="hollow: replication"))
    handles.append(Line2D([], [], color="#7A7A7A", marker=">", lw=0, label="arrow: beyond the axis"))
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=5)
