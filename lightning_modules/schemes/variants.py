"""The registry of variants: every residual and normalisation scheme as a named, cited difference from a parent.

A variant is data, free of torch: it names a residual stream (``transformer/streams.py``), a norm
(``transformer/norms.py``) and the *sites* where norms stand. ``transformer/block.py`` builds it. To add a scheme, add
its stream or norm class there and a few lines here.

Norm sites of a sublayer::

    x ──► read ──► input ──► F (… inner ──► output projection) ──► output ──► write ──► post ──► x
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lightning_modules.errors import reject_unknown

EMBEDDING, INPUT, INNER, OUTPUT, POST, FINAL, QK = "embedding", "input", "inner", "output", "post", "final", "qk"
NORM_SITES = (EMBEDDING, INPUT, INNER, OUTPUT, POST, FINAL, QK)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A residual and normalisation scheme."""

    name: str
    """Name in configurations and tables."""

    title: str
    """Name in figures and reports."""

    formula: str
    """One sublayer, with ``F`` the attention or feed-forward function and ``LN`` the norm."""

    source: str
    """Where the scheme was published."""

    parent: str | None = None
    """Variant that this one differs from by a few fields; set by :meth:`derive`."""

    also_without: tuple[str, ...] = ()
    """Further variants from which this one takes a single part, beside ``parent``: reports compare it with them too.
    A child does not inherit it."""

    residual: str = "identity"
    """Residual stream, by its name in ``transformer/streams.py``."""

    norm: str = "layer_norm"
    """Norm that stands at every site of ``norm_sites``, by its name in ``transformer/norms.py``."""

    norm_sites: frozenset[str] = frozenset()
    """Sites that carry a norm; one that is not named has none. ``post`` means both sublayers, ``attention.post`` or
    ``feed_forward.post`` one of them."""

    branch_gain: str = "none"
    """Rule for the initial scale of the branches, by its name in ``transformer/initialisation.py``."""

    post_activation: str | None = None
    """Activation after the ``post`` norm, which only the article's block has."""

    layers: int | None = None
    """Number of blocks where the variant fixes it; otherwise ``model.layers`` decides."""

    def __post_init__(self) -> None:
        for site in self.norm_sites:
            reject_unknown(f"norm site of variant {self.name}", site.rpartition(".")[2], NORM_SITES)

    def norm_at(self, site: str, role: str | None = None) -> str:
        """Return the name of the norm at ``site``, for a sublayer of ``role`` where it belongs to one, or ``none``."""
        return self.norm if {site, f"{role}.{site}"} & self.norm_sites else "none"

    def derive(self, name: str, **changes: Any) -> Variant:
        """Return a child: this variant under another name, with a few fields changed."""
        return replace(self, name=name, parent=self.name, **{"also_without": (), **changes})


ARTICLE = "残差连接与层归一化 (residual connections and layer normalisation in large language models)"

POST_LN = Variant(
    name="post_ln",
    title="Post-LN",
    formula="LN(x + F(x))",
    source="Vaswani et al. 2017, arXiv:1706.03762, section 3.1; the article's block",
    norm_sites=frozenset({POST}),
)
PRE_LN = POST_LN.derive(
    "pre_ln",
    title="Pre-LN",
    formula="x + F(LN(x)), and LN before the head",
    source="Xiong et al. 2020, arXiv:2002.04745, figure 1b",
    norm_sites=frozenset({INPUT, FINAL}),
)
NO_RESIDUAL = POST_LN.derive(
    "no_residual", title="No residual", formula="LN(F(x))", source="ablation of post_ln", residual="none"
)
NO_RESIDUAL_PRE = PRE_LN.derive(
    "no_residual_pre",
    title="No residual (pre)",
    formula="F(LN(x)), and LN before the head",
    source="ablation of pre_ln",
    residual="none",
)
NO_NORM = POST_LN.derive(
    "no_norm",
    title="No norm",
    formula="x + F(x)",
    source="ablation of post_ln and pre_ln",
    norm_sites=frozenset(),
    also_without=("pre_ln",),
)
PLAIN = NO_NORM.derive(
    "plain",
    title="Plain",
    formula="F(x)",
    source="ablation of no_norm, no_residual and no_residual_pre",
    residual="none",
    also_without=("no_residual", "no_residual_pre"),
)
ARTICLE_BLOCK = POST_LN.derive(
    "article_block",
    title="Article's block",
    formula="ReLU(LN(x + F(x)))",
    source=f"the residual layer as the article writes it: {ARTICLE}",
    post_activation="relu",
)
ARTICLE_LAYER_NORM_DIM1 = POST_LN.derive(
    "article_layer_norm_dim1",
    title="Article's norm (dim=1)",
    formula="N(x + F(x)), N over the tokens of a row, padding included",
    source=f"the layer normalisation of the code in {ARTICLE}, which normalises dim=1",
    norm="layer_norm_over_tokens",
)
PERI_LN = PRE_LN.derive(
    "peri_ln",
    title="Peri-LN",
    formula="x + LN(F(LN(x))), LN after the embeddings and before the head",
    source="Kim et al. 2025, arXiv:2502.02732, section 3",
    norm_sites=frozenset({EMBEDDING, INPUT, OUTPUT, FINAL}),
)
LAYER_NORM_SCALING = PRE_LN.derive(
    "layer_norm_scaling",
    title="LayerNorm Scaling",
    formula="x + F(LN(x)/√l) in block l, and LN before the head",
    source="Sun et al. 2025, arXiv:2502.05795, equation 7",
    norm="depth_scaled_layer_norm",
)
REZERO = NO_NORM.derive(
    "rezero",
    title="ReZero",
    formula="x + α·F(x), α = 0 at the start",
    source="Bachlechner et al. 2020, arXiv:2003.04887, equation 1",
    residual="rezero",
)
DEEPNORM = POST_LN.derive(
    "deepnorm",
    title="DeepNorm",
    formula="LN(α·x + F(x)), α = (2L)^¼, branch weights start (8L)^-¼ times as large",
    source="Wang et al. 2022, arXiv:2203.00555, section 3.1",
    residual="deepnorm",
    branch_gain="deepnorm",
)
DEPTH_SCALED_POST_LN = POST_LN.derive(
    "depth_scaled_post_ln",
    title="Depth-scaled Post-LN",
    formula="LN(x + F(x)/√L)",
    source="Noci et al. 2022, arXiv:2206.03126, section 4",
    residual="depth_scaled",
)
BAG_OF_EMBEDDINGS = PLAIN.derive(
    "bag_of_embeddings",
    title="Bag of embeddings",
    formula="mean of the embeddings, no blocks",
    source="Joulin et al. 2017, arXiv:1607.01759 (linear classifier over averaged embeddings)",
    layers=0,
)

VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        POST_LN,
        PRE_LN,
        NO_RESIDUAL,
        NO_RESIDUAL_PRE,
        NO_NORM,
        PLAIN,
        ARTICLE_BLOCK,
        ARTICLE_LAYER_NORM_DIM1,
        PERI_LN,
        LAYER_NORM_SCALING,
        REZERO,
        DEEPNORM,
        DEPTH_SCALED_POST_LN,
        BAG_OF_EMBEDDINGS,
    )
}


def ancestors(variant: Variant) -> Iterator[str]:
    """Yield the names of the variants that one was derived from, nearest first."""
    while variant.parent is not None:
        yield variant.parent
        variant = VARIANTS[variant.parent]
