"""T10: by how much one optimiser step changes what a network computes (Wang et al. 2022, arXiv:2203.00555)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.planning.names import reject_unknown
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

ADAM_EPSILON = 1e-8

DIRECTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sgd": lambda gradient: -gradient,
    "adam": lambda gradient: -gradient / (gradient.abs() + ADAM_EPSILON),
}
"""First step of an optimiser divided by its rate. Adam's corrected moments are then g and g² (arXiv:1412.6980)."""

GROUPS = {"matrices": "sublayers' matrices", "norms": "norms' gains and biases", "all": "all parameters"}
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}


@dataclass(frozen=True, kw_only=True)
class UpdateSize(NetworkStudy):
    """Change of a language model's logits by one optimiser step, divided by the rate, as the rate goes to zero."""

    measurement = "update_size"
    keys = ("variant", "layers", "optimizer", "parameters")
    values = ("logit_change",)

    start: Start
    """Size and initial weights."""

    optimizers: list[str]
    """``sgd`` and ``adam``."""

    step: float
    """Rate of the central difference that approximates the limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for optimizer in self.optimizers:
            reject_unknown("setup.optimizers", optimizer, DIRECTIONS)

    def measure(self, seed: int) -> list[Row]:
        """Measure the root mean square change of the logits of a probe batch, per unit of rate.

        The network is a decoder-only language model: causal attention, the head at every token, the next token as
        target. One step is taken on one batch, with some of the parameters or all, and the logits of another batch are
        read; see :func:`logit_change`. Float64.
        """
        from experiments.studies.networks import networks, token_batches

        batches = token_batches(self, seed)
        batch, probe = next(batches), next(batches)
        return [
            {"variant": variant, "layers": layers, "optimizer": optimizer, "parameters": group, "logit_change": change}
            for variant, layers, network in networks(self, self.start, seed)
            for optimizer, group, change in self.changes(network.double(), batch, probe)
        ]

    def changes(self, network: Network, batch: Tensor, probe: Tensor) -> Iterator[tuple[str, str, float]]:
        """Yield the change of the logits by optimiser and group of parameters; both batches are ``(B, T)``."""
        from torch import autograd

        from experiments.studies.networks import parameter_groups

        parameters: list[Tensor] = list(network.parameters())
        gradients = autograd.grad(next_token_loss(network, batch), parameters)
        for optimizer in self.optimizers:
            steps = dict(zip(parameters, map(DIRECTIONS[optimizer], gradients), strict=True))
            for group, members in parameter_groups(network).items():
                step = [(parameter, steps[parameter]) for parameter in members]
                yield optimizer, group, logit_change(network, step, probe, self.step)

    @staticmethod
    def quantities(rows: DataFrame) -> Quantities:
        """Fit ``<variant>_<optimizer>_<parameters>_slope``, of log change against log depth."""
        return {
            f"{variant}_{optimizer}_{parameters}_slope": log_log_slope(list(part.layers), list(part.logit_change))
            for (variant, optimizer, parameters), part in rows.groupby(["variant", "optimizer", "parameters"])
        }

    def draw(self, rows: DataFrame, means: Means) -> Picture:
        """Draw a panel per optimiser and group of parameters, with the fitted exponents in its legend."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.2, 5.2), layout="constrained")
        grid = figure.subplots(len(self.optimizers), len(GROUPS), sharex=True, squeeze=False)
        for line, optimizer in zip(grid, self.optimizers, strict=True):
            for axes, (group, caption) in zip(line, GROUPS.items(), strict=True):
                for variant in self.variants:
                    part = rows[(rows.variant == variant) & (rows.optimizer == optimizer) & (rows.parameters == group)]
                    label = f"{title_of(variant)}: {said(means[f'{variant}_{optimizer}_{group}_slope'])}"
                    draw_course(axes, part, "layers", "logit_change", variant, geometric=True, label=label)
                logarithmic_values(axes)
                logarithmic_depth(axes, self.layers)
                axes.set_title(f"{OPTIMIZERS[optimizer]}, {caption}", loc="left", fontsize=9)
                low, high = axes.get_ylim()
                axes.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
                axes.legend(loc="upper left", title="slope", title_fontsize=8, alignment="left", fontsize=7)
        figure.supxlabel("blocks", fontsize=9)
        figure.supylabel("root mean square change of the logits / learning rate", fontsize=9)
        deepnorm, post_ln = (said(means[f"{variant}_sgd_matrices_slope"]) for variant in ("deepnorm", "post_ln"))
        return Picture(
            figure,
            f"One SGD step on the matrices moves the logits by depth to the power {deepnorm} in DeepNorm, {post_ln} in "
            "Post-LN",
            course_caption(self.seeds),
        )


def next_token_loss(network: Network, tokens: Tensor) -> Tensor:
    """Average the cross-entropy of every token but the first given those before it; ``tokens`` is ``(B, T)``."""
    import torch.nn.functional as F

    from experiments.studies.networks import causal_logits

    return F.cross_entropy(causal_logits(network, tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def logit_change(network: Network, step: Sequence[tuple[Tensor, Tensor]], probe: Tensor, rate: float) -> float:
    """Measure the derivative of the probe's logits along ``step``, its root mean square; parameters are restored.

    For a step of rate η in the direction u it is ``rms((f(θ + η·u) - f(θ - η·u)) / 2η)``.
    """
    import torch

    from experiments.studies.networks import causal_logits

    with torch.no_grad():
        before = [parameter.clone() for parameter, _ in step]
        moved = []
        for sign in (1, -1):
            for (parameter, direction), value in zip(step, before, strict=True):
                parameter.copy_(value + sign * rate * direction)
            moved.append(causal_logits(network, probe))
        for (parameter, _), value in zip(step, before, strict=True):
            parameter.copy_(value)
        return ((moved[0] - moved[1]) / (2 * rate)).square().mean().sqrt().item()
