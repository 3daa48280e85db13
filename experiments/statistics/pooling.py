"""One effect over several corpora: random effects, how sure their mean is, and what a new corpus may show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.statistics.components import MeanEstimate
from experiments.statistics.seeds import CONFIDENCE, t_quantile, two_sided

SAME_SOURCE: Mapping[str, str] = {"sst2": "sst", "sst5": "sst", "sst2_glue": "sst"}
"""Corpora that are made of the same texts, by the source that they count as. A corpus that is not named is its own."""
FEWEST_POOLED = 2
MOST_WITHOUT_WORD = 3
"""Most sources with which a pooled effect gets no word: with three, t has two degrees, and the spread is hardly
known."""


@dataclass(frozen=True)
class PooledEffect:
    """The mean effect over sources and the spread of true effects around it."""

    mean: float
    se: float
    """Standard error of the mean, by Hartung and Knapp, at least that of the plain random-effects mean."""
    tau: float
    """Standard deviation of the true effects over corpora."""
    effects: Mapping[str, float]
    """Effect by source, in the order given."""

    @property
    def count(self) -> int:
        """Number of sources, k."""
        return len(self.effects)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the mean effect, k − 1."""
        return self.count - 1

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Interval of the mean effect, with k − 1 degrees (Hartung & Knapp 2001); None if no spread is known."""
        return self._around(self.se, self.degrees, confidence)

    def prediction(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Interval for the true effect on a new corpus: ``mean ± t·√(τ² + se²)`` with k − 2 degrees; None below k = 3.

        Higgins, Thompson & Spiegelhalter (2009) take k − 2, since mean and τ² are both estimated; IntHout et al. (2016)
        take k − 1. With the few corpora of a grid, the former is the more cautious. Even it covers too seldom below
        about five studies (Partlett & Riley 2017).
        """
        return self._around(math.hypot(self.tau, self.se), self.count - 2, confidence)

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of a mean effect of 0."""
        return two_sided(self.mean, self.se, self.degrees)

    def _around(self, se: float, degrees: float, confidence: float) -> tuple[float, float] | None:
        if degrees < 1 or se == 0:
            return None
        margin = t_quantile(degrees, confidence) * se
        return self.mean - margin, self.mean + margin


def pool(estimates: Mapping[str, MeanEstimate]) -> PooledEffect | None:
    """Pool the effects of one comparison over corpora; None for fewer than two sources with a known error.

    Each effect has the variance of its own corpus plus τ², which is estimated by Paule and Mandel (1982), as Veroniki
    et al. (2016) advise. Corpora of one source (:data:`SAME_SOURCE`) count as one: the mean of their effects, with the
    mean of their standard errors, as if these errors were one and the same.

    Args:
        estimates: by corpus. One without any spread has no known error and is left out.
    """
    from statsmodels.stats.meta_analysis import combine_effects

    known = {corpus: estimate for corpus, estimate in estimates.items() if estimate.variance > 0}
    sources: dict[str, list[MeanEstimate]] = {}
    for corpus, estimate in known.items():
        sources.setdefault(SAME_SOURCE.get(corpus, corpus), []).append(estimate)
    if len(sources) < FEWEST_POOLED:
        return None
    effects = np.array([np.mean([member.mean for member in members]) for members in sources.values()])
    errors = np.array([np.mean([member.se for member in members]) for members in sources.values()])
    unit = float(errors.mean())  # statsmodels stops at a fixed tolerance, whatever the unit
    found = combine_effects(effects / unit, (errors / unit) ** 2, method_re="pm")
    mean, se = random_effects(effects, errors, found.tau2 * unit**2)
    return PooledEffect(mean, se, math.sqrt(found.tau2) * unit, dict(zip(sources, effects.tolist(), strict=True)))


def random_effects(
    effects: Sequence[float] | np.ndarray, errors: np.ndarray, tau_squared: float
) -> tuple[float, float]:
    """Return the random-effects mean and its standard error by Hartung and Knapp with the floor at 1.

    With weights ``w = 1/(se² + τ²)``: ``se² = max(1, q)/Σw``, where ``q = Σ w·(y − mean)²/(k − 1)`` (Hartung & Knapp
    2001). If k effects happen to agree, the floor keeps their interval as wide as their own errors demand (Röver, Knapp
    & Friede 2015).
    """
    weights = 1 / (np.square(errors) + tau_squared)
    mean = float(weights @ np.asarray(effects) / weights.sum())
    q = float(weights @ np.square(np.asarray(effects) - mean)) / (len(weights) - 1)
    return mean, math.sqrt(max(1.0, q) / float(weights.sum()))
