"""Where the usual norm stands in the usual sum: the root of all variants, and those that need no module."""

from __future__ import annotations

from lightning_modules.schemes.variants import EMBEDDING, FINAL, INPUT, NORM, OUTPUT, POST, Variant, register

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
        source="Kim et al. 2025, arXiv:2502.02732, section 3",
        sites=PRE_LN.sites | {EMBEDDING: NORM, OUTPUT: NORM},
    )
)
