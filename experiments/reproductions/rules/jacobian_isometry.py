"""How far the singular values of Jacobians are from 1."""

from __future__ import annotations

from pandas import DataFrame, Series


def quantities(rows: DataFrame) -> dict[str, float | None]:
    """Return, of one seed, ``<variant>_largest_deviation`` from 1 over all depths and, at each depth L,

    ``<variant>_deviation_at_<L>`` and the median singular value, ``<variant>_median_at_<L>``. None where a Jacobian
    among them is not finite.
    """
    found: dict[str, float | None] = {}
    for variant, of_variant in rows.groupby("variant"):
        found[f"{variant}_largest_deviation"] = greatest(of_variant.largest_deviation)
        for layers, of_depth in of_variant.groupby("layers"):
            found[f"{variant}_deviation_at_{layers}"] = greatest(of_depth.largest_deviation)
            found[f"{variant}_median_at_{layers}"] = mean(of_depth["median"])
    return found


def greatest(values: Series) -> float | None:
    """Return the greatest value; None where one is missing."""
    return None if values.isna().any() else float(values.max())


def mean(values: Series) -> float | None:
    """Return the mean; None where a value is missing."""
    return None if values.isna().any() else float(values.mean())
