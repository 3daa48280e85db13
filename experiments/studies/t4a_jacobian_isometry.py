"""T4a: a ReZero network is an isometry at initialisation (Bachlechner et al. 2020, arXiv:2003.04887)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.reporting.style import Picture, look_of
from experiments.studies.study import Means, Quantities, Row, Start, StudyAtStart, check_variants, said, title_of

if TYPE_CHECKING:
    from pandas import DataFrame, Series
    from torch import Tensor, nn

QUANTILES = {"smallest": 0.0, "lower_decile": 0.1, "median": 0.5, "upper_decile": 0.9, "largest": 1.0}
FLOOR = 1e-14
"""Smallest singular value that is drawn: directions that a norm removes have none."""


@dataclass(frozen=True, kw_only=True)
class JacobianIsometry(StudyAtStart):
    """Singular values of the Jacobian of a stack of L blocks; one block is the stack of L = 1."""

    measurement = "jacobian_isometry"
    keys = ("variant", "layers")
    values = (*QUANTILES, "largest_deviation")

    variants: list[str]
    """Residual and normalisation schemes."""

    start: Start
    """Size and initial weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_variants(self.variants)

    def measure(self, seed: int) -> list[Row]:
        """Measure quantiles of the singular values of the stack's Jacobian, and the largest distance of one from 1.

        The Jacobian is that of L blocks at a standard normal stream of one row, T·D × T·D, exact and in float64; with
        L = 1 it is a block's.
        """
        import torch

        from experiments.studies.networks import build, input_generator, model_config, normal_stream

        x = normal_stream(self.rows, self.length, self.start.width, input_generator(seed))
        found: list[Row] = []
        for variant in self.variants:
            for layers in self.layers:
                network = build(model_config(self.start, variant, layers, seed), vocabulary=2, length=self.length)
                blocks = network.double().blocks
                sizes = torch.cat([singular_values(blocks, row) for row in x])
                quantiles = {name: sizes.quantile(share).item() for name, share in QUANTILES.items()}
                deviation = (sizes - 1).abs().max().item()
                found.append({"variant": variant, "layers": layers, **quantiles, "largest_deviation": deviation})
        return found

    @staticmethod
    def quantities(rows: DataFrame) -> Quantities:
        """Find ``<variant>_largest_deviation`` from 1 over all depths and, at each depth L,

        ``<variant>_deviation_at_<L>`` and the median singular value, ``<variant>_median_at_<L>``. None if a Jacobian
        among them is not finite.
        """
        found: Quantities = {}
        for variant, of_variant in rows.groupby("variant"):
            found[f"{variant}_largest_deviation"] = greatest(of_variant.largest_deviation)
            for layers, of_depth in of_variant.groupby("layers"):
                found[f"{variant}_deviation_at_{layers}"] = greatest(of_depth.largest_deviation)
                found[f"{variant}_median_at_{layers}"] = mean(of_depth["median"])
        return found

    def draw(self, rows: DataFrame, means: Means) -> Picture:
        """Draw, for every depth and variant, deciles (thick) and extremes (thin) of the values, mean over seeds."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for shift, variant in enumerate(self.variants):
            look = look_of(variant)
            for place, layers in enumerate(self.layers):
                x = place + 0.22 * (shift - 1)
                part = rows[(rows.variant == variant) & (rows.layers == layers)]
                low, lower, middle, upper, high = (max(part[name].mean(), FLOOR) for name in QUANTILES)
                axes.plot([x, x], [low, high], color=look.color, lw=1.2)
                axes.plot([x, x], [lower, upper], color=look.color, lw=5, alpha=0.45, solid_capstyle="butt")
                label = title_of(variant) if place == 0 else None
                axes.plot(x, middle, look.marker, color=look.color, ms=6, mec="white", mew=0.6, ls="none", label=label)
        axes.set_yscale("log")
        axes.set_ylim(bottom=FLOOR)
        axes.set_xticks(range(len(self.layers)), [str(layers) for layers in self.layers])
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("blocks in the stack")
        axes.set_ylabel("singular values of the Jacobian\n(median, middle 80 %, all)")
        figure.legend(loc="outside lower center", ncols=len(self.variants))
        deepest = self.layers[-1]
        return Picture(
            figure,
            f"ReZero's singular values all start at 1; the median after {deepest} blocks is "
            f"{said(means[f'pre_ln_median_at_{deepest}'], '.2g')} in Pre-LN, "
            f"{said(means[f'post_ln_median_at_{deepest}'], '.1g')} in Post-LN",
            f"Median (mark), middle 80 % (thick) and all values (thin), each the mean over {self.seeds} networks; "
            f"values below {FLOOR:g} are cut off. ReZero's differ from 1 by "
            f"{said(means['rezero_largest_deviation'], '.1g')} at most.",
        )


def singular_values(blocks: nn.Module, x: Tensor) -> Tensor:
    """Compute the ``T·D`` singular values of the Jacobian of ``blocks`` at the stream ``x`` ``(T, D)`` of one row."""
    from experiments.studies.networks import all_real
    from lightning_modules.probes.jacobian import jacobian_singular_values

    context = all_real(x[None])
    return jacobian_singular_values(lambda stream: blocks(stream[None], context)[0], x)


def greatest(values: Series) -> float | None:
    """Return the greatest value; None if one is missing."""
    return None if values.isna().any() else float(values.max())


def mean(values: Series) -> float | None:
    """Return the mean; None if a value is missing."""
    return None if values.isna().any() else float(values.mean())
