"""Recipes: initial weights, profiling on a first batch, rules for the optimiser; and the variants that need them."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from lightning_modules.network.backbone import Backbone, Recipe
from lightning_modules.network.context import Context
from lightning_modules.network.parts import recipe
from lightning_modules.network.sublayer import Branch
from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.placements import NO_NORM, POST_LN, PRE_LN
from lightning_modules.schemes.variants import FINAL, INPUT, OUTPUT, SKIP, register, use

BRANCH = ("attention_value", "attention_output", "feed_forward_hidden", "feed_forward_output")
"""The matrices through which a sublayer's output passes: all but query and key."""

OUT = ("attention_output", "feed_forward_output")
GATE = "feed_forward_gate"
"""The matrix of the other factor of ``swiglu``. One factor alone is scaled with a branch, as in a network of two."""
ALL = ("attention_query", "attention_key", *BRANCH, GATE)


class MatrixGains(Recipe):
    """Multiplies initial matrices by a gain that depends on their place.

    Args:
        gain: the factor at a place.
        names: the matrices, as :meth:`Backbone.matrices` names them.
    """

    def __init__(self, gain: Callable[[Place], float], names: tuple[str, ...] = BRANCH) -> None:
        self.gain = gain
        self.names = names

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        """Multiply the named matrices of every sublayer."""
        for place, name, matrix in backbone.matrices():
            if name in self.names:
                matrix.mul_(self.gain(place))


@recipe("deepnorm_beta")
def deepnorm_beta() -> MatrixGains:
    """``β = (8L)^-¼`` on all branch matrices (Wang et al. 2022, arXiv:2203.00555, figure 2)."""
    return MatrixGains(lambda place: (8 * place.blocks) ** -0.25)


@recipe("over_root_of_sublayers")
def over_root_of_sublayers() -> MatrixGains:
    """``1/√(2L)`` on output matrices (Radford et al. 2019, GPT-2, section 2.3)."""
    return MatrixGains(lambda place: (2 * place.blocks) ** -0.5, OUT)


@recipe("over_root_of_more_sublayers")
def over_root_of_more_sublayers() -> MatrixGains:
    """``1/√(2(L + 1))`` on output matrices (lingua's ``GLOBAL_DEPTH``)."""
    return MatrixGains(lambda place: (2 * (place.blocks + 1)) ** -0.5, OUT)


@recipe("over_root_of_own_sublayers")
def over_root_of_own_sublayers() -> MatrixGains:
    """``1/√(2l)`` on output matrices of block l, from 1 (torchtitan's ``depth_scaled_std``)."""
    return MatrixGains(lambda place: (2 * place.block) ** -0.5, OUT)


@recipe("over_root_of_block")
def over_root_of_own_block(alpha: float = 1.0) -> MatrixGains:
    """``α/√l`` on all matrices of block l, counted from 1 (Zhang et al. 2019, arXiv:1908.11365)."""
    return MatrixGains(lambda place: alpha * place.block**-0.5, ALL)


@recipe("over_root_of_depth")
def over_root_of_depth() -> MatrixGains:
    """``L^-½`` on all matrices (the code of arXiv:2206.00330)."""
    return MatrixGains(lambda place: place.blocks**-0.5, ALL)


@recipe("sub_ln_gain")
def sub_ln_gain() -> MatrixGains:
    """``γ = √(ln 2L)`` on all branch matrices (Wang et al. 2022, arXiv:2210.06423, figure 2)."""
    return MatrixGains(lambda place: math.sqrt(math.log(2 * place.blocks)))


@recipe("root_of_streams")
def root_of_streams(streams: int = 4) -> MatrixGains:
    """``√n`` on output matrices, for hyper-connections of n streams (arXiv:2409.19606, section 4)."""
    return MatrixGains(lambda place: streams**0.5, OUT)


@recipe("small_init")
class SmallInit(Recipe):
    """Attention's matrices ~ N(0, 2/(5D)) (Nguyen & Salazar 2019, arXiv:1910.05895, section 2.2)."""

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        for place, name, matrix in backbone.matrices():
            if name.startswith("attention_"):
                nn.init.normal_(matrix, std=math.sqrt(2 / (5 * place.width)))


@recipe("t_fixup")
class TFixup(Recipe):
    """Branch matrices × 0.67·N^-¼, embeddings N(0, 1/D) × (9N)^-¼, N blocks (Huang et al. 2020)."""

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        for place, name, matrix in backbone.matrices():
            if name in BRANCH:
                matrix.mul_(0.67 * place.blocks**-0.25)
        table, blocks = backbone.embeddings.table, len(list(backbone.blocks.children()))
        if isinstance(table, nn.Embedding) and blocks:
            nn.init.normal_(table.weight, std=table.weight.shape[1] ** -0.5 * (9 * blocks) ** -0.25)
            if table.padding_idx is not None:
                table.weight[table.padding_idx].zero_()


@recipe("fixup")
class Fixup(Recipe):
    """Last matrix of a branch and the head zero; q, k, v × K^-1/6, first feed-forward matrix × K^-1/2, K sublayers.

    Zhang et al. 2019, arXiv:1901.09321, and the authors' Transformer.
    """

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        powers = {f"attention_{name}": -1 / 6 for name in ("query", "key", "value")}
        powers |= {"feed_forward_hidden": -1 / 2, GATE: 0.0}  # with a zero gate too, nothing would ever learn
        for place, name, matrix in backbone.matrices():
            matrix.mul_(place.sublayers ** powers[name] if name in powers else 0.0)
        table = getattr(backbone.embeddings.table, "weight", None)
        for part in head.modules():
            if isinstance(part, nn.Linear) and part.weight is not table:
                part.weight.zero_()


@recipe("admin")
class Admin(Recipe):
    """Profiles the skip weights ω on the first batch (Liu et al. 2020, arXiv:2004.08249)::

    ω = r;  r ← √(Var(ω·x) + Var(F(x)))      from r = 1, sublayer by sublayer
    """

    def prepare(self, backbone: Backbone, input_ids: Tensor, attention_mask: Tensor) -> None:
        """Set every sublayer's ω from the variances that real tokens of the batch ``(B, T)`` have there."""
        mask = attention_mask.bool()
        context, ratio = Context(mask, step=backbone.step), 1.0
        x = backbone.embeddings(input_ids, context)
        for sublayer in backbone.blocks.sublayers():
            gain = sublayer.skip[0].gain
            assert isinstance(gain, Tensor)
            gain.fill_(ratio)
            branch = Branch(sublayer, context)
            skip, y = branch.skip(x)[mask], branch(x)[mask]
            ratio = float((skip.var(correction=0) + y.var(correction=0)).sqrt())
            x = sublayer(x, context)


@recipe("dt_fixup")
class DataFixup(Recipe):
    """Divides branch matrices by √(N·(4μ² + 2μ + 2)), μ the largest length of an input, N blocks (arXiv:2012.15355)."""

    def prepare(self, backbone: Backbone, input_ids: Tensor, attention_mask: Tensor) -> None:
        mask = attention_mask.bool()
        largest = float(backbone.embeddings(input_ids, Context(mask, step=backbone.step))[mask].norm(dim=-1).max())
        for place, name, matrix in backbone.matrices():
            if name in BRANCH:
                matrix.div_(math.sqrt(place.blocks * (4 * largest**2 + 2 * largest + 2)))


@recipe("complete_p")
class CompleteP(Recipe):
    """Adam's rate and ε by depth (Dey et al. 2025, arXiv:2505.01618, table 1)::

    rates of the blocks × m^(α - 1),   every ε × m^-α,   m = L/L_base
    """

    def __init__(self, base: int = 2, alpha: float = 1.0) -> None:
        self.base, self.alpha = base, alpha

    def factors(self, name: str, parameter: nn.Parameter, backbone: Backbone) -> dict[str, float]:
        ratio = len(list(backbone.blocks.children())) / self.base
        inside = {id(each) for each in backbone.blocks.parameters()}
        return {"lr": ratio ** (self.alpha - 1) if id(parameter) in inside else 1.0, "eps": ratio**-self.alpha}


register(
    POST_LN.derive(
        "deepnorm",
        title="DeepNorm",
        formula="LN(α·x + F(x)), α = (2L)^¼, branch weights start (8L)^-¼ times as large",
        source="Wang et al. 2022, arXiv:2203.00555, figure 2 and section 4.1",
        sites=POST_LN.sites | {SKIP: "deepnorm_alpha"},
        recipes=("deepnorm_beta",),
        pitfalls="The repositories of Mix-LN and LayerNorm Scaling have gain (8N)^(+¼) and a fixed α under this name.",
    )
)
DEPTH_SCALED = {
    "gpt2_start": ("GPT-2's start", "√(2L)", "over_root_of_sublayers", "Radford et al. 2019 (GPT-2), section 2.3"),
    "lingua_start": ("lingua's start", "√(2(L + 1))", "over_root_of_more_sublayers", "lingua, GLOBAL_DEPTH"),
    "layer_start": (
        "Start by layer",
        "√(2l)",
        "over_root_of_own_sublayers",
        "torchtitan, depth_scaled_std; lingua, CURRENT_DEPTH",
    ),
}
for name, (title, root, start, source) in DEPTH_SCALED.items():
    register(
        PRE_LN.derive(
            name,
            title=title,
            formula=f"x + F(LN(x)), output matrices start {root} times as small",
            source=source,
            recipes=(start,),
            pitfalls="Three formulas share the name depth-scaled init: gpt2_start, lingua_start and layer_start.",
        )
    )
register(
    POST_LN.derive(
        "ds_init",
        title="DS-Init",
        formula="LN(x + F(x)), all matrices of block l start √l times as small",
        source="Zhang et al. 2019, arXiv:1908.11365",
        recipes=(use("over_root_of_block", alpha=1.0),),
        unverified="the paper was not read; the rule is as later work has it (arXiv:2603.05369)",
        pitfalls="The authors' code takes α/√l as a factor of the variance: weights start l^-¼ times as large there.",
        tune="alpha",
    )
)
register(
    NO_NORM.derive(
        "fixup",
        title="Fixup",
        formula="x + g·F(x - b), output matrices and head start at 0; q, k, v (2L)^-⅙ and W₁ (2L)^-½ times as large",
        source="Zhang et al. 2019, arXiv:1901.09321, and the authors' Transformer",
        biases=False,
        sites={
            INPUT: "shift",
            f"{Role.FEED_FORWARD}.hidden": "shift",
            f"{Role.FEED_FORWARD}.inner": "shift",
            OUTPUT: "scalar_gain",
            FINAL: ("shift", "scalar_gain"),
        },
        recipes=("fixup",),
        differs="Learned positions; embeddings are not multiplied by √D.",
        pitfalls="In the authors' code xavier_uniform_ falls on the fused matrix of q, k and v, a gain of 1/√2 more.",
    )
)
register(
    NO_NORM.derive(
        "t_fixup",
        title="T-Fixup",
        formula="x + F(x), branch matrices start 0.67·L^-¼ times as large, embeddings N(0, 1/D)·(9L)^-¼",
        source="Huang et al. 2020 (ICML), and the authors' code",
        recipes=("t_fixup",),
        unverified="the constants of an encoder alone: they were derived for an encoder with a decoder",
        differs="fairseq multiplies embeddings by √D and adds sinusoids. Here nothing is multiplied, so inputs are √D "
        "times as small.",
        pitfalls="It is meant for training without warm-up.",
        tune="the warm-up, down to none",
    )
)
register(
    NO_NORM.derive(
        "dt_fixup",
        title="DT-Fixup",
        formula="x + F(x), branch matrices divided by √(L(4μ² + 2μ + 2)), μ the largest length of an input",
        source="Xu et al. 2020, arXiv:2012.15355, and the authors' optimizers.py",
        recipes=("dt_fixup",),
        unverified="the constants without the paper's relation-aware attention",
        pitfalls="μ is measured on the first batch; the paper measures the training set.",
    )
)
register(
    POST_LN.derive(
        "admin",
        title="Admin",
        formula="LN(ω ⊙ x + F(x)), ω the output's deviation that a first pass has measured",
        source="Liu et al. 2020, arXiv:2004.08249",
        sites=POST_LN.sites | {SKIP: "gain"},
        recipes=("admin",),
        pitfalls="The authors' code profiles in global variables: two models in one process spoil each other.",
    )
)
register(
    PRE_LN.derive(
        "complete_p",
        title="CompleteP",
        formula="x + (L/2)^-α·F(LN(x)), α = 1; Adam's ε × (L/2)^-α, rates of the blocks × (L/2)^(α-1)",
        source="Dey et al. 2025, arXiv:2505.01618, table 1",
        sites=PRE_LN.sites | {OUTPUT: use("complete_p_alpha", base=2, alpha=1.0)},
        recipes=(use("complete_p", base=2, alpha=1.0),),
        differs="The rules of depth alone; those of width (start, rate, decay) need a base width.",
        pitfalls="α = ½ is depth-μP (arXiv:2310.02244). The rate carries over depths at α = 1 only, the authors say.",
        tune="alpha, base",
    )
)
