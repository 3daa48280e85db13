"""How far the singular values of Jacobians are from 1."""

from __future__ import annotations

from pandas import DataFrame


def quantities(rows: DataFrame) -> dict[str, float | None]:
    """Return, of one seed, ``<variant>_largest_deviation`` from 1 over all depths and, at each depth L,

    ``<variant>_deviation_at_<L>`` and the median singular value, ``<variant>_median_at_<L>``.
    """
    found: dict[str, float | None] = {}
    for variant, of_variant in rows.groupby("variant"):
        found[f"{variant}_largest_deviation"] = float(of_variant.largest_deviation.max())
        for layers, of_depth in of_variant.groupby("layers"):
            found[f"{variant}_deviation_at_{layers}"] = float(of_depth.largest_deviation.max())
            found[f"{variant}_median_at_{layers}"] = float(of_depth["median"].mean())
    return found
