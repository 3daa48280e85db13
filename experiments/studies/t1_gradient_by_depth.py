"""T1: the gradient of the last feed-forward matrix at initialisation (Xiong et al. 2020, arXiv:2002.04745)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.reporting.style import Picture
from experiments.studies.study import (
    Means,
    NetworkStudy,
    Quantities,
    Row,
    Start,
    course_caption,
    draw_course,
    log_log_slope,
    logarithmic_depth,
    logarithmic_values,
    said,
    title_of,
)

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

    from experiments.studies.networks import Network

SLOPES = {"slope": "token_gradient_norm", "batch_slope": "batch_gradient_norm"}
PANELS = {
    "token_gradient_norm": ("slope", "loss of one token, mean over tokens"),
    "batch_gradient_norm": ("batch_slope", "loss averaged over all tokens"),
}


@dataclass(frozen=True, kw_only=True)
class GradientByDepth(NetworkStudy):
    """Gradient of the last block's second feed-forward matrix against depth."""

    measurement = "gradient_by_depth"
    keys = ("variant", "layers")
    values = ("token_gradient_norm", "batch_gradient_norm")

    start: Start
    """Size and initial weights."""

    def measure(self, seed: int) -> list[Row]:
        """Measure the gradient norms by variant and depth, of a cross-entropy at every token.

        Inputs and targets follow Zipf's law. ``token_gradient_norm`` is the quantity of theorem 1, for the loss at one
        position; ``batch_gradient_norm`` belongs to the loss averaged over tokens. See :func:`last_matrix_gradients`.
        """
        from experiments.studies.networks import networks, token_batches

        batches = token_batches(self, seed)
        tokens, targets = next(batches), next(batches)
        found: list[Row] = []
        for variant, layers, network in networks(self, self.start, seed):
            token, batch = last_matrix_gradients(network, tokens, targets)
            norms = {"token_gradient_norm": token, "batch_gradient_norm": batch}
            found.append({"variant": variant, "layers": layers, **norms})
        return found

    @staticmethod
    def quantities(rows: DataFrame) -> Quantities:
        """Fit ``<variant>_slope`` and ``<variant>_batch_slope``, of log norm against log depth.

        ``slope_difference`` is the slope of Post-LN minus that of Pre-LN.
        """
        found: Quantities = {
            f"{variant}_{name}": log_log_slope(list(of_variant.layers), list(of_variant[column]))
            for variant, of_variant in rows.groupby("variant")
            for name, column in SLOPES.items()
        }
        post_ln, pre_ln = found["post_ln_slope"], found["pre_ln_slope"]
        found["slope_difference"] = None if post_ln is None or pre_ln is None else post_ln - pre_ln
        return found

    def draw(self, rows: DataFrame, means: Means) -> Picture:
        """Draw both gradients, a panel each, with the fitted exponents in the legend."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        for axes, (column, (name, caption)) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
            for variant in self.variants:
                label = f"{title_of(variant)}: slope {said(means[f'{variant}_{name}'])}"
                draw_course(axes, rows[rows.variant == variant], "layers", column, variant, geometric=True, label=label)
            logarithmic_values(axes)
            logarithmic_depth(axes, self.layers)
            axes.set_xlabel("blocks")
            axes.set_title(caption, loc="left", fontsize=9)
            axes.legend(loc="lower left")
        figure.supylabel("gradient norm of the last W₂ (Frobenius)", fontsize=9)
        return Picture(
            figure,
            f"Last feed-forward gradient: depth to the power {said(means['post_ln_slope'])} in Post-LN and "
            f"{said(means['pre_ln_slope'])} in Pre-LN",
            course_caption(self.seeds),
        )


def last_matrix_gradients(network: Network, tokens: Tensor, targets: Tensor) -> tuple[float, float]:
    """Measure two norms of the gradient of the last feed-forward matrix W₂.

    Let h_i be the input of W₂, and δ_i the gradient of token i's loss with respect to the output of W₂. After W₂
    nothing mixes tokens, so that loss has the gradient δ_i·h_iᵀ. The two norms are::

        mean_i ‖δ_i‖·‖h_i‖          ‖(1/n) Σ_i δ_i·h_iᵀ‖_F

    Args:
        network: as built by ``networks``.
        tokens: ``(B, T)``.
        targets: ``(B, T)``.
    """
    from torch import autograd

    from experiments.studies.networks import last_feed_forward_matrix, network_stream, token_loss

    matrix = last_feed_forward_matrix(network)
    seen: dict[str, Tensor] = {}
    hook = matrix.register_forward_hook(lambda module, inputs, output: seen.update(input=inputs[0], output=output))
    try:
        *_, x = network_stream(network, tokens)
    finally:
        hook.remove()
    mean_gradient, delta = autograd.grad(token_loss(network, x, targets), (matrix.weight, seen["output"]))
    delta = delta * targets.numel()  # of each token's own loss
    token = (delta.norm(dim=-1) * seen["input"].norm(dim=-1)).mean()
    return token.item(), mean_gradient.norm().item()
