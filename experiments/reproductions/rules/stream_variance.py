"""Size and straightness of the stream's variance by block."""

from __future__ import annotations

from pandas import DataFrame

from experiments.reproductions.rules.fits import linearity

NAMES = {"pre_ln": "pre_ln", "layer_norm_scaling": "scaling", "peri_ln": "peri_ln"}


def quantities(rows: DataFrame) -> dict[str, float | None]:
    """Return the quantities of one seed, those of the second start with its name in front, those of the second depth
    with ``_at_<L>`` behind.

    ``scaling_to_pre_ln`` is the variance after the last block under LayerNorm Scaling divided by that of Pre-LN, and
    ``<variant>_linearity`` the R² of a straight line through the variances by block.
    """
    found: dict[str, float | None] = {}
    for start_place, (start, of_start) in enumerate(rows.groupby("start", sort=False)):
        prefix = f"{str(start).lower()}_" if start_place else ""
        for depth_place, (layers, of_depth) in enumerate(of_start.groupby("layers", sort=False)):
            suffix = f"_at_{layers}" if depth_place else ""
            courses = {NAMES[str(name)]: list(part.variance) for name, part in of_depth.groupby("variant")}
            found |= {f"{prefix}{name}_linearity{suffix}": linearity(course) for name, course in courses.items()}
            found[f"{prefix}scaling_to_pre_ln{suffix}"] = courses["scaling"][-1] / courses["pre_ln"][-1]
    return found
