"""Branches that grow with the training step, or that are dropped at random while training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.context import Context
from lightning_modules.network.dropout import Dropout, scaled_mask
from lightning_modules.network.parts import op
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import POST_LN, PRE_LN
from lightning_modules.schemes.variants import OUTPUT, register, use


class Ramp(nn.Module):
    """``y = min(t/steps, 1)·x`` after t optimiser steps; evaluation takes the t that training has reached."""

    uses_context = True

    def __init__(self, steps: float) -> None:
        super().__init__()
        if not steps > 0:
            raise ConfigurationError(f"steps is {steps}; a ramp needs more than 0")
        self.steps = float(steps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map ``x`` to the same shape; outside a backbone, where no step is counted, x stays as it is."""
        if context.step is None:
            return x
        step = context.step.to(torch.promote_types(x.dtype, torch.float32))
        return (step / self.steps).clamp(max=1.0).to(x.dtype) * x


@op("ramp")
def ramp(width: int, place: Place, steps: int = 4000) -> Ramp:
    """A ramp that is equal in all sublayers (Liu et al. 2023, arXiv:2305.02790)."""
    return Ramp(steps)


@op("progressive_ramp")
def progressive_ramp(width: int, place: Place, steps: int = 1000) -> Ramp:
    """A ramp of ``steps·l`` steps in block l, counted from 1 (arXiv:2603.05369)."""
    return Ramp(steps * place.block)


class DropPath(Dropout):
    """Stochastic depth: the branch of a row is dropped with probability p, else divided by 1 - p (training).

    Huang et al. 2016, arXiv:1603.09382, section 3, with the division in training, as in timm.
    """

    def mask_shape(self, shape: torch.Size) -> torch.Size:
        """Return one element per row."""
        return torch.Size((shape[0], *(1 for _ in shape[1:])))


@op("drop_path")
def drop_path(width: int, place: Place, rate: float = 0.1) -> DropPath:
    """Stochastic depth whose probability grows linearly to ``rate`` in the last block."""
    refuse_no_probability(rate)
    return DropPath(rate * place.block / place.blocks)


@op("layer_drop")
class LayerDrop(nn.Module):
    """LayerDrop: a block adds nothing for a whole batch, with probability p (training); no rescaling.

    Fan et al. 2019, arXiv:1909.11556, section 3. The first sublayer of a block draws, the second one follows.
    """

    uses_context = True

    def __init__(self, width: int, place: Place, rate: float = 0.1) -> None:
        super().__init__()
        refuse_no_probability(rate)
        self.rate, self.draws = rate, place.starts_block

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map ``x`` to itself or to zero."""
        if not self.training or self.rate == 0:
            return x
        if self.draws:
            shape = torch.Size((1,))
            mask = scaled_mask(shape, self.rate) if x.device.type == "cpu" else F.dropout(x.new_ones(shape), self.rate)
            context.shared["kept"] = (mask > 0).to(x.dtype)
        return x * context.recall("kept")


def refuse_no_probability(rate: float) -> None:
    """Refuse a probability that is negative, or at which nothing is left.

    Raises:
        ConfigurationError: it is not at least 0 and below 1.
    """
    if not 0 <= rate < 1:
        raise ConfigurationError(f"rate is {rate}; it must be at least 0 and below 1")


register(
    POST_LN.derive(
        "branch_norm",
        title="BranchNorm",
        formula="LN(x + min(t/T, 1)·F(x)) after t steps",
        source="Liu et al. 2023, arXiv:2305.02790, through arXiv:2603.05369",
        sites=POST_LN.sites | {OUTPUT: use("ramp", steps=4000)},
        unverified="the length T of the ramp (4,000 here) and its course were read in a later paper alone",
        pitfalls="It depends on the step, which checkpoints hold. At step 0 the network is its embeddings, normalised.",
        tune="steps",
    )
)
register(
    PRE_LN.derive(
        "pro_res",
        title="ProRes",
        formula="x + min(t/(T·l), 1)·F(LN(x)) in block l after t steps, T = 1,000",
        source="Chen et al. 2026, arXiv:2603.05369",
        sites=PRE_LN.sites | {OUTPUT: use("progressive_ramp", steps=1000)},
        pitfalls="It depends on the step, which checkpoints hold. In a run shorter than T·L deep blocks stay faint.",
        tune="steps",
    )
)
register(
    PRE_LN.derive(
        "stochastic_depth",
        title="Stochastic depth",
        formula="x + b·F(LN(x))/(1 - p), b = 0 with probability p = 0.1·l/L in block l, by row",
        source="Huang et al. 2016, arXiv:1603.09382, section 3",
        sites=PRE_LN.sites | {OUTPUT: use("drop_path", rate=0.1)},
        differs="Divided by 1 - p while training, as in timm; the paper multiplies by 1 - p in use.",
        tune="rate",
    )
)
register(
    PRE_LN.derive(
        "layer_drop",
        title="LayerDrop",
        formula="x + b·F(LN(x)), b = 0 with probability 0.1, by block and batch",
        source="Fan et al. 2019, arXiv:1909.11556, section 3",
        sites=PRE_LN.sites | {OUTPUT: use("layer_drop", rate=0.1)},
        pitfalls="A dropped block is computed all the same here. After Post-LN it would skip a norm too.",
        tune="rate",
    )
)
