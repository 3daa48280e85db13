"""Published schemes that are left out because their formula is unclear: nothing is invented under a published name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OpenScheme:
    """A scheme that could not be written from its published sources."""

    title: str
    source: str
    why: str
    """What is missing."""


OPEN_SCHEMES = (
    OpenScheme("SpanNorm", "arXiv:2601.22580 (2026)", "only the abstract was read; the formula was not found"),
    OpenScheme("FuseNorm", "OpenReview azXOzJFwuf (2026)", "only the abstract was read"),
    OpenScheme(
        "LAuReL-PA",
        "Menghani et al. 2024, arXiv:2411.07501, equation 4",
        "how many earlier activations enter, and how their weights start",
    ),
    OpenScheme("Frac-connections (dynamic)", "Zhu et al. 2025, arXiv:2503.14125", "the shape of Y and its norm"),
    OpenScheme("MUDD with PrePostDANorm", "Xiao et al. 2025, arXiv:2502.12170", "where its norms are and what they do"),
    OpenScheme("Multi-head attention residuals", "arXiv:2607.27230 (2026)", "only a summary was read"),
    OpenScheme("Gated Residual", "Qiu et al. 2026, arXiv:2608.30320", "a summary has its formula, not its start"),
    OpenScheme("u-μP beyond the residual", "Blake et al. 2024, arXiv:2407.17465", "it needs unit-scaled operations"),
    OpenScheme(
        "Descendants of mHC", "arXiv:2601.05732, 2601.21579, 2602.18308 and others (2026)", "ids alone are known"
    ),
    OpenScheme("LIMe", "Gerasimov et al. 2025, arXiv:2502.09245", "the formula was not read"),
    OpenScheme("DeepCrossAttention", "Heddes et al. 2025, arXiv:2502.06785", "the formula was not read"),
    OpenScheme("MRLA", "multi-head recurrent layer attention (2023)", "the formula was not read"),
    OpenScheme("Depth-Attention", "Zeng et al. 2026, arXiv:2606.05014", "the formula was not read"),
)
