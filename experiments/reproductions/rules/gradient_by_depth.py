"""Slopes of the last feed-forward matrix' gradient norm against depth."""

from __future__ import annotations

from pandas import DataFrame

from experiments.reproductions.rules.fits import log_log_slope

COLUMNS = {"slope": "token_gradient_norm", "batch_slope": "batch_gradient_norm"}


def quantities(rows: DataFrame) -> dict[str, float | None]:
    """Return, of one seed, ``<variant>_slope`` and ``<variant>_batch_slope`` of log norm against log depth.

    ``slope_difference`` is that of Post-LN less that of Pre-LN.
    """
    found: dict[str, float | None] = {
        f"{variant}_{name}": log_log_slope(list(of_variant.layers), list(of_variant[column]))
        for variant, of_variant in rows.groupby("variant")
        for name, column in COLUMNS.items()
    }
    post_ln, pre_ln = found["post_ln_slope"], found["pre_ln_slope"]
    found["slope_difference"] = None if post_ln is None or pre_ln is None else post_ln - pre_ln
    return found
