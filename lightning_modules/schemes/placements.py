"""Where the usual norm is placed in the usual sum: the root of all variants, and those that need no module."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.variants import (
    EMBEDDING,
    FINAL,
    HEADS,
    INNER,
    INPUT,
    KEY,
    NORM,
    OUTPUT,
    POST,
    QUERY,
    SKIP,
    VALUE,
    Variant,
    register,
    use,
)

ARTICLE = "残差连接与层归一化 (residual connections and layer normalisation in large language models)"
"""Title of the article that this project starts from."""

POST_LN = register(
    Variant(
        name="post_ln",
        title="Post-LN",
        formula="LN(x + F(x))",
        source="Vaswani et al. 2017, arXiv:1706.03762, section 3.1; the article's block",
        sites={POST: NORM},
    )
)
PRE_LN = register(
    POST_LN.derive(
        "pre_ln",
        title="Pre-LN",
        formula="x + F(LN(x)), and LN before the head",
        source="Xiong et al. 2020, arXiv:2002.04745, figure 1b",
        sites={INPUT: NORM, FINAL: NORM},
    )
)
NO_NORM = register(
    POST_LN.derive(
        "no_norm",
        title="No norm",
        formula="x + F(x)",
        source="ablation of post_ln and pre_ln",
        sites={},
        also_without=("pre_ln",),
    )
)
PERI_LN = register(
    PRE_LN.derive(
        "peri_ln",
        title="Peri-LN",
        formula="x + LN(F(LN(x))), LN after the embeddings and before the head",
        source="Kim et al. 2025, arXiv:2502.02732",
        sites=PRE_LN.sites | {EMBEDDING: NORM, OUTPUT: NORM},
    )
)
register(
    PRE_LN.derive(
        "sandwich_ln",
        title="Sandwich-LN",
        formula="x + LN(F(LN(x))), and LN before the head",
        source="Ding et al. 2021, arXiv:2105.13290, section 2.4",
        sites=PRE_LN.sites | {OUTPUT: NORM},
        pitfalls="x-transformers' sandwich_coef orders layers (Press et al. 2020) and is another thing.",
    )
)
REORDERED = register(
    PRE_LN.derive(
        "res_post_norm",
        title="Res-post-norm",
        formula="x + LN(F(x)), and LN before the head",
        source="Liu et al. 2021, arXiv:2111.09883, section 3.2",
        sites={OUTPUT: NORM, FINAL: NORM},
        pitfalls="F sees the growing stream itself; large models add a norm of queries and keys.",
    )
)
register(
    REORDERED.derive(
        "olmo2",
        title="Reordered norm (OLMo 2)",
        formula="x + RMS(F(x)), queries and keys normalised over all heads",
        source="OLMo team 2024, arXiv:2501.00656, section 3.3.2",
        norm="rms_norm",
        sites=REORDERED.sites | {QUERY: "whole_width_rms_norm", KEY: "whole_width_rms_norm"},
        biases=False,
        differs="Learned positions and ReLU instead of rotary positions and SwiGLU.",
        published={"positions": "rotary", "activation": "swiglu"},
    )
)
PARALLEL = register(
    PRE_LN.derive(
        "parallel",
        title="Parallel block",
        formula="x + Attention(LN(x)) + FeedForward(LN(x)), one LN",
        source="Wang & Komatsuzaki 2021 (GPT-J); Chowdhery et al. 2022, arXiv:2204.02311, section 2",
        parallel=True,
    )
)
register(
    PARALLEL.derive(
        "parallel_two_norms",
        title="Parallel block, two norms",
        formula="x + Attention(LN₁(x)) + FeedForward(LN₂(x))",
        source="Black et al. 2022 (GPT-NeoX), arXiv:2204.06745",
        sites={f"{Role.ATTENTION}.{INPUT}": NORM, f"{Role.FEED_FORWARD}.{INPUT}": NORM, FINAL: NORM},
    )
)
register(
    PRE_LN.derive(
        "sub_ln",
        title="Sub-LN",
        formula="x + W·LN(f(LN(x))), LN before each output matrix; branch weights start √(ln 2L) times as large",
        source="Wang et al. 2022, arXiv:2210.06423, figure 2",
        sites=PRE_LN.sites | {INNER: NORM},
        recipes=("sub_ln_gain",),
        pitfalls="The gain is above 1. torchscale has it on by default and multiplies biases too, which are 0 here.",
    )
)
register(
    PRE_LN.derive(
        "norm_former",
        title="NormFormer",
        formula="x + LN(Attention(LN(x))) with a gain per head; r ⊙ x + W·LN(ReLU(V·LN(x)))",
        source="Shleifer et al. 2021, arXiv:2110.09456, head gains through a review",
        sites=PRE_LN.sites
        | {
            HEADS: "head_gains",
            f"{Role.ATTENTION}.{OUTPUT}": NORM,
            f"{Role.FEED_FORWARD}.{INNER}": NORM,
            f"{Role.FEED_FORWARD}.{SKIP}": "gain",
        },
        pitfalls="fairseq's code puts the head gains after the output projection.",
    )
)
HYBRID = register(
    PRE_LN.derive(
        "hybrid_norm",
        title="HybridNorm",
        formula="z = x + Attention(x), queries, keys and values RMS-normalised; n = RMS(z), n + FeedForward(n)",
        source="Zhuo et al. 2025, arXiv:2503.04598, section 3, equation 6",
        norm="rms_norm",
        sites={QUERY: NORM, KEY: NORM, VALUE: NORM, f"{Role.ATTENTION}.{POST}": NORM, FINAL: NORM},
        differs="Learned positions, biases and ReLU instead of rotary positions and SwiGLU; the configured start.",
        published={"positions": "rotary", "activation": "swiglu", "biases": False},
        published_lacks="the start of the authors' framework",
        pitfalls="The norm after attention's sum is the feed-forward network's own: one whole norm per block.",
    )
)
HYBRID_FIRST = HYBRID.derive("hybrid_norm_first", sites=HYBRID.sites | {INPUT: NORM, f"{Role.ATTENTION}.{POST}": ()})


def hybrid_norm_star(place: Place) -> Variant:
    """Return the variant at a place of HybridNorm*: the first block has norms before both functions."""
    return HYBRID_FIRST if place.block == 1 else HYBRID


register(
    HYBRID.derive(
        "hybrid_norm_star",
        title="HybridNorm*",
        formula="HybridNorm, but x + F(RMS(x)) in the first block",
        source="Zhuo et al. 2025, arXiv:2503.04598, section 3, equation 7",
        by_place=hybrid_norm_star,
        differs="Learned positions, biases and ReLU instead of rotary positions and SwiGLU; the configured start.",
        published={"positions": "rotary", "activation": "swiglu", "biases": False},
        published_lacks="the start of the authors' framework",
    )
)


def mix_ln(place: Place, share: float) -> Variant:
    """Return the variant at a place of Mix-LN: Post-LN in the first ⌊share·L⌋ blocks, Pre-LN in the others."""
    return POST_LN if place.block <= int(share * place.blocks) else PRE_LN


register(
    PRE_LN.derive(
        "mix_ln",
        title="Mix-LN",
        formula="LN(x + F(x)) in the first quarter of the blocks, x + F(LN(x)) in the others",
        source="Li et al. 2024, arXiv:2412.13795",
        by_place=partial(mix_ln, share=0.25),
        pitfalls="Below 1/share blocks it is Pre-LN. Others' runs at 350M and 1B diverge.",
        tune="share",
    )
)
KEEL = POST_LN.derive("keel_inner", norm="rms_norm", biases=False, sites={INPUT: NORM, SKIP: "keel_alpha", POST: NORM})
KEEL_FIRST = KEEL.derive("keel_first", sites=KEEL.sites | {POST: ()})


def keel(place: Place) -> Variant:
    """Return the variant at a place of KEEL: the very first sublayer has no norm after its sum."""
    return KEEL_FIRST if place.index == 0 else KEEL


register(
    replace(
        KEEL,
        name="keel",
        title="KEEL",
        formula="RMS(α·x + F(RMS(x))), α = 2L; in the first block α = 1, and its attention has no norm after the sum",
        source="Chen & Wei 2026, arXiv:2601.19895, sections 3 and 3.1",
        by_place=keel,
        differs="Learned positions and ReLU instead of rotary positions and SwiGLU.",
        published={"positions": "rotary", "activation": "swiglu"},
        tune="the rate: its best one is larger than Pre-LN's",
    )
)
register(
    PRE_LN.derive(
        "value_norm",
        title="Value norm",
        formula="x + F(LN(x)), values RMS-normalised by head",
        source="the value norm of Zhuo et al. 2025, arXiv:2503.04598, alone; an option of x-transformers",
        sites=PRE_LN.sites | {VALUE: "rms_norm"},
    )
)
register(
    PRE_LN.derive(
        "qk_norm_l2",
        title="QK-norm (L2)",
        formula="softmax(g·q̂·k̂ᵀ)·v, q̂ = q/‖q‖, k̂ = k/‖k‖, g = 10",
        source="Henry et al. 2020, arXiv:2010.04245",
        sites=PRE_LN.sites | {QUERY: ("l2_norm", use("learned_logit_scale", scale=10.0)), KEY: "l2_norm"},
        unverified="the paper's start of g, which depends on the length of rows; 10 is x-transformers'",
        tune="scale",
    )
)
register(
    PRE_LN.derive(
        "qk_norm_head",
        title="QK-norm (by head)",
        formula="softmax(LN(q)·LN(k)ᵀ/√d)·v, LN over each head",
        source="Dehghani et al. 2023, arXiv:2302.05442, section 2",
        sites=PRE_LN.sites | {QUERY: "layer_norm_without_bias", KEY: "layer_norm_without_bias"},
        pitfalls="By head and over the whole width are different functions: their checkpoints do not fit each other.",
    )
)
register(
    PRE_LN.derive(
        "qk_norm_whole",
        title="QK-norm (whole width)",
        formula="softmax(q̂·k̂ᵀ/√d)·v, q̂ and k̂ RMS-normalised over all heads together",
        source="OLMo team 2024, arXiv:2501.00656, section 3.3.2",
        sites=PRE_LN.sites | {QUERY: "whole_width_rms_norm", KEY: "whole_width_rms_norm"},
    )
)
register(
    PRE_LN.derive(
        "qk_norm_plain",
        title="QK-norm (without gain)",
        formula="softmax(q̂·k̂ᵀ/√d)·v, q̂ = q/RMS(q), k̂ = k/RMS(k) by head",
        source="modded-nanogpt and nanochat",
        sites=PRE_LN.sites | {QUERY: "plain_rms_norm", KEY: "plain_rms_norm"},
        differs="There it follows rotary positions.",
        pitfalls="Without a gain the logits stay within √d; modded-nanogpt scales them by 0.12.",
    )
)
