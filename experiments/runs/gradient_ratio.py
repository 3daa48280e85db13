"""Whether the gradient reaches the first block: its norm there against the last block's, step by step."""

from __future__ import annotations

import math

from experiments.runs.record import Record

VANISHING, EXPLODING = 1e-3, 1e3
"""Ratio of the first block's gradient norm to the last one's beyond which the gradient vanishes or explodes."""
DECADES = 12.0
"""Largest imbalance that is distinguished, in powers of ten: a gradient that underflows to zero counts as this."""


def log_gradient_ratios(record: Record) -> dict[int, float]:
    """Return ``log₁₀(first block's gradient norm / last block's)`` by kept step, before clipping.

    The blocks are between the embedding and the head. Steps at which the ratio is undefined are left out; zero in the
    first block counts as twelve powers of ten.
    """
    history = record.history.get("gradient_norms") or {}
    found = {}
    for step, norms in zip(history.get("step", []), history.get("blocks", []), strict=False):
        if len(norms) < 4:  # fewer than two blocks have no ratio
            continue
        first, last = norms[1], norms[-2]
        if first is None or not last or not math.isfinite(first) or not math.isfinite(last):
            continue
        ratio = math.log10(first / last) if first > 0 else -DECADES
        found[int(step)] = max(-DECADES, min(DECADES, ratio))
    return found
