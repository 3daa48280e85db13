"""Token cosines and gradient ratios of the last block."""

from __future__ import annotations

from pandas import DataFrame

DEPTH, GREATER_DEPTH = 24, 48
NAMES = {"post_ln": "post_ln", "depth_scaled_post_ln": "scaled"}


def quantities(rows: DataFrame) -> dict[str, float | None]:
    """Return, of one seed, for ``post_ln`` and ``scaled`` branches at 24 blocks:

    ``<name>_cosine`` and ``<name>_gradient_ratio`` in the last block, ``<name>_first_gradient_ratio`` in the first one,
    and ``<name>_cosine_after_48`` of the deeper network.
    """
    found: dict[str, float | None] = {}
    for variant, name in NAMES.items():
        of_variant = rows[rows.variant == variant]
        blocks = of_variant[of_variant.layers == DEPTH].set_index("block")
        deeper = of_variant[of_variant.layers == GREATER_DEPTH].set_index("block")
        found[f"{name}_cosine"] = float(blocks.token_cosine[DEPTH])
        found[f"{name}_gradient_ratio"] = float(blocks.query_to_value_gradient[DEPTH])
        found[f"{name}_first_gradient_ratio"] = float(blocks.query_to_value_gradient[1])
        found[f"{name}_cosine_after_{GREATER_DEPTH}"] = float(deeper.token_cosine[GREATER_DEPTH])
    return found
