"""T5: which settings of Adam converge under Post-LN and Pre-LN (Liu et al. 2020, arXiv:2004.08249)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.paths import runs_folder, tables_folder
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.names import reject_unknown
from experiments.reporting.style import Picture
from experiments.runs.record import Record
from experiments.runs.store import Evidence
from experiments.studies.study import Means, Quantities, Row, StudyOfRuns, said, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

CELL = ["learning_rate", "beta2"]


@dataclass(frozen=True, kw_only=True)
class AdamStability(StudyOfRuns):
    """Ordinary training runs of a grid, made by ``experiments.ablation`` and judged by their records."""

    measurement = "adam_stability"
    keys = ("variant", "learning_rate", "beta2")
    values = ("converged", "macro_f1")

    grid: str
    """Grid of ``experiments/grids`` whose records are judged."""

    variants: list[str]
    """Conditions of that grid to compare."""

    def rows_of_runs(self, results: Path) -> tuple[list[Row], str]:
        """Collect a row for each finished run of the grid, and say how many runs are missing."""
        grid = Grid.load(self.grid)
        for variant in self.variants:
            reject_unknown("condition", variant, [condition.name for condition in grid.conditions])
        wanted = {run.config.hash() for run in final_runs(grid) if run.condition in self.variants}
        runs, tables = (place(results, grid.name, grid.corpus) for place in (runs_folder, tables_folder))
        rows = [row_of(record) for record in Evidence.gather(runs, tables, wanted).finals]
        planned = len(wanted) * len(grid.seeds)
        return rows, f"{planned - len(rows)} of {planned} runs are not made" if len(rows) < planned else ""

    @staticmethod
    def quantities(rows: DataFrame) -> Quantities:
        """Count, over one seed's grid, ``<variant>_not_converged`` cells and ``post_ln_share_of_wins``.

        Of the cells in which both variants converge, it is the share in which Post-LN has the higher macro-F1; above
        one half, Post-LN's median rank there is better. None if there is no such cell.
        """
        found: Quantities = {
            f"{variant}_not_converged": float((~part.converged.astype(bool)).sum())
            for variant, part in rows.groupby("variant")
        }
        scores = rows[rows.converged.astype(bool)].pivot(index=CELL, columns="variant", values="macro_f1")
        both = scores.reindex(columns=["post_ln", "pre_ln"]).dropna()
        found["post_ln_share_of_wins"] = float((both.post_ln > both.pre_ln).mean()) if len(both) else None
        return found

    def draw(self, rows: DataFrame, means: Means) -> Picture:
        """Draw mean macro-F1 over converged seeds in every cell; a cross counts the seeds that did not converge."""
        from matplotlib.figure import Figure

        rates, decays = sorted(rows.learning_rate.unique()), sorted(rows.beta2.unique())
        best = rows.macro_f1.max()
        figure = Figure(figsize=(7.4, 2.9), layout="constrained")
        panels = figure.subplots(1, len(self.variants), sharey=True)
        for axes, variant in zip(panels, self.variants, strict=True):
            part = rows[rows.variant == variant]
            converged = part[part.converged.astype(bool)]
            scores = converged.pivot_table(index="beta2", columns="learning_rate", values="macro_f1")
            shades = scores.reindex(index=decays, columns=rates)
            image = axes.imshow(shades, cmap="Blues", vmin=0, vmax=best, aspect="auto")
            write_cells(axes, part, rates, decays, best)
            axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
            axes.set_yticks(range(len(decays)), [f"{decay:g}" for decay in decays])
            axes.grid(visible=False)
            axes.set_xlabel("learning rate")
            axes.set_title(title_of(variant), loc="left", fontsize=9)
        panels[0].set_ylabel("β₂ of Adam")
        figure.colorbar(image, ax=list(panels), label="macro F1 (test)")
        cells = len(rows) // len(self.variants)
        lost = [
            f"{(~rows[rows.variant == variant].converged.astype(bool)).sum()} of {cells} in {title_of(variant)}"
            for variant in self.variants
        ]
        return Picture(
            figure,
            f"Runs that do not converge: {' and '.join(lost)}",
            f"× marks a run that does not converge. Where both converge, {title_of('post_ln')} is the better one in "
            f"{said(means['post_ln_share_of_wins'], '.0%')} of the settings.",
        )


def row_of(record: Record) -> Row:
    """Take what the rule needs from a run's record; only ``trained`` counts as converged."""
    return {
        "seed": record.seed,
        "variant": record.condition,
        "learning_rate": record.swept["model.learning_rate"],
        "beta2": record.swept["model.beta2"],
        "converged": record.outcome.status == "trained",
        "macro_f1": record.score("test", "macro_f1"),
    }


def write_cells(axes: Axes, rows: DataFrame, rates: list[Any], decays: list[Any], best: float) -> None:
    """Write mean score and crosses into every cell of a variant, white on dark shades."""
    for (decay, rate), cell in rows.groupby(["beta2", "learning_rate"]):
        converged = cell[cell.converged.astype(bool)]
        lost, score = len(cell) - len(converged), converged.macro_f1.mean()
        text = "\n".join([*([f"{score:.2f}"] if len(converged) else []), *(["×" * lost] if lost else [])])
        color = "white" if len(converged) and score > 0.6 * best else "black"
        axes.text(rates.index(rate), decays.index(decay), text, ha="center", va="center", fontsize=8, color=color)
