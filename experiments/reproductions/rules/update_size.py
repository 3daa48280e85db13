"""Slopes of the first update's size against depth."""

from __future__ import annotations

from pandas import DataFrame

from experiments.reproductions.rules.fits import log_log_slope


def quantities(rows: DataFrame) -> dict[str, float | None]:
    """Return, of one seed, ``<variant>_<optimizer>_<parameters>_slope`` of log change against log depth."""
    return {
        f"{variant}_{optimizer}_{parameters}_slope": log_log_slope(list(part.layers), list(part.logit_change))
        for (variant, optimizer, parameters), part in rows.groupby(["variant", "optimizer", "parameters"])
    }
