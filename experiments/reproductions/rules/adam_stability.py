"""How often runs converge over learning rate and β₂, and who is better where both do."""

from __future__ import annotations

from pandas import DataFrame

CELL = ["learning_rate", "beta2"]


def quantities(rows: DataFrame) -> dict[str, float | None]:
    """Return, over one seed's grid, ``<variant>_not_converged`` cells and ``post_ln_share_of_wins``.

    Of the cells in which both variants converge, it is the share in which Post-LN has the higher macro-F1; above one
    half, Post-LN's median rank there is better. None where there is no such cell.
    """
    found: dict[str, float | None] = {
        f"{variant}_not_converged": float((~part.converged.astype(bool)).sum())
        for variant, part in rows.groupby("variant")
    }
    scores = rows[rows.converged.astype(bool)].pivot(index=CELL, columns="variant", values="macro_f1")
    both = scores.reindex(columns=["post_ln", "pre_ln"]).dropna()
    found["post_ln_share_of_wins"] = float((both.post_ln > both.pre_ln).mean()) if len(both) else None
    return found
