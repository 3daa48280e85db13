"""T5: which cells of learning rate and β₂ converge, a panel per variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from pandas import DataFrame

from experiments.reporting.style import headline
from experiments.reproductions.figures.parts import Means, said, title_of
from experiments.reproductions.setups import AdamStability

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(setup: AdamStability, rows: DataFrame, means: Means) -> Figure:
    """Draw mean macro-F1 over converged seeds in every cell; a cross counts the seeds that did not converge."""
    rates, decays = sorted(rows.learning_rate.unique()), sorted(rows.beta2.unique())
    best = rows.macro_f1.max()
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    panels = figure.subplots(1, len(setup.variants), sharey=True)
    for axes, variant in zip(panels, setup.variants, strict=True):
        part = rows[rows.variant == variant]
        scores = part[part.converged.astype(bool)].pivot_table(
            index="beta2", columns="learning_rate", values="macro_f1"
        )
        image = axes.imshow(scores.reindex(index=decays, columns=rates), cmap="Blues", vmin=0, vmax=best, aspect="auto")
        _write_cells(axes, part, rates, decays, best)
        axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        axes.set_yticks(range(len(decays)), [f"{decay:g}" for decay in decays])
        axes.grid(visible=False)
        axes.set_xlabel("learning rate")
        axes.set_title(title_of(variant), loc="left", fontsize=9)
    panels[0].set_ylabel("β₂ of Adam")
    figure.colorbar(image, ax=list(panels), label="macro F1 (test)")
    lost = {variant: int((~rows[rows.variant == variant].converged.astype(bool)).sum()) for variant in setup.variants}
    counts = " and ".join(f"{count} of {len(rows) // len(lost)} in {title_of(name)}" for name, count in lost.items())
    better = said(means["post_ln_share_of_wins"], ".0%")
    headline(
        figure,
        f"Runs that do not converge (×): {counts}; where both do, {title_of(setup.variants[0])} is the better one in "
        f"{better} of the settings",
    )
    return figure


def _write_cells(axes: Axes, rows: DataFrame, rates: list[Any], decays: list[Any], best: float) -> None:
    for (decay, rate), cell in rows.groupby(["beta2", "learning_rate"]):
        converged = cell[cell.converged.astype(bool)]
        lost = len(cell) - len(converged)
        score = converged.macro_f1.mean()
        text = "\n".join([*([f"{score:.2f}"] if len(converged) else []), *(["×" * lost] if lost else [])])
        dark = len(converged) and score > 0.6 * best
        axes.text(rates.index(rate), decays.index(decay), text, ha="center", va="center", fontsize=8,
                  color="white" if dark else "black")  # fmt: skip
