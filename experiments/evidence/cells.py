"""What a table says of one effect in one language: its size and interval, what could be shown, the verdict."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from experiments.evidence.judge import Effect
from experiments.evidence.measurement import Shown
from experiments.evidence.measures import MEASURES
from experiments.evidence.wording import Phrases
from experiments.reporting.render import EMPTY, rounded

BOUNDS = ("lower_bound", "upper_bound")
"""Doubts of pairs that only bound an effect."""


@dataclass(frozen=True)
class Cells:
    """Writes the cells of effects in one language."""

    phrases: Phrases

    def effect(self, effect: Effect) -> str:
        """Return the mean, as a bound where it is one, with the weakest component's name where there are several."""
        if effect.interval is None:
            return EMPTY
        mean = bound_sign(effect.measurement.comparison.doubts) + rounded(effect.interval.mean)
        weakest = effect.measurement.weakest
        return self.phrases["brackets"].format(text=mean, inside=self.component(weakest)) if weakest else mean

    def component(self, name: str) -> str:
        """Return ``<class> <score>`` as this language says it."""
        of_class, score = name.rsplit(" ", 1)
        return self.phrases["component"].format(name=of_class, score=self.phrases[score])

    def interval(self, effect: Effect) -> str:
        """Return ``[l, u]``, a dash for an end that is not known."""
        if effect.interval is None:
            return EMPTY
        ends = (EMPTY if value is None else end(value, effect.measurement.part.delta) for value in effect.known_ends)
        return f"[{', '.join(ends)}]"

    def left_out(self, effect: Effect) -> str:
        """Return how many pairs are left out, and for how many of them one side alone is the reason."""
        say, excluded = self.phrases, str(effect.measurement.excluded)
        lost = effect.measurement.lacking.items()
        alone = [say["only"].format(side=say[side], count=count) for side, count in lost if count]
        return say["brackets"].format(text=excluded, inside=say["comma"].join(alone)) if alone else excluded

    def detectable(self, effect: Effect) -> str:
        """Return the effect that could be shown; in words where it is larger than any effect can be."""
        if effect.interval is None:
            return EMPTY
        say, most, found = self.phrases, effect.measurement.largest_possible, effect.detectable
        if effect.measurement.comparison.outcomes is not None and found is None:
            return say["no_share_shown"].format(most=rounded(most)) if most else say["none_failed"]
        if most is not None and found is not None and found > most:
            return say["cannot_be_shown"].format(most=f"{most:g}")
        return rounded(found)

    def verdict(self, effect: Effect) -> str:
        """Return a verdict with its reason, and with what its pairs lack."""
        say, inside = self.phrases, [*self.reason(effect), *self.shortfall(effect)]
        name = say[effect.verdict.name]
        return say["brackets"].format(text=name, inside=say["semicolon"].join(inside)) if inside else name

    def reason(self, effect: Effect) -> list[str]:
        """Return why an effect is judged as it is, where there is more to say than the interval does."""
        say, measurement, reason = self.phrases, effect.measurement, effect.verdict.reason
        doubts = measurement.comparison.doubts
        is_bound = reason == "small" and "lower_bound" in doubts
        bounds = sum(doubts.get(name, 0) for name in BOUNDS)
        said = []
        if reason:
            phrase = say["small_bound" if is_bound else reason]
            count = doubts.get(reason, 0)
            said.append(phrase.format(found=measurement.found, planned=measurement.planned, count=count))
        if bounds and (is_bound or not reason):
            said.append(say["bounded"].format(count=bounds, pairs=measurement.pairs))
        return said

    def shortfall(self, effect: Effect) -> list[str]:
        """Return on how many of all pairs a decided part rests, and which side lost the others."""
        say, measurement = self.phrases, effect.measurement
        if effect.verdict.name not in ("confirmed", "refuted") or not measurement.excluded:
            return []
        lost = measurement.lacking.items()
        sides = [say["lost_by"].format(side=say[side], count=count) for side, count in lost if count]
        return [say["some_pairs"].format(pairs=measurement.pairs, seeds=measurement.seeds), *sides]


def digits_of(shown: Shown) -> int:
    """Return the decimals that a measure is shown with: none for steps and tokens."""
    return 0 if MEASURES[shown.metric].kind == "time" else 3


def bound_sign(doubts: Collection[str]) -> str:
    """Return ``≥ `` where pairs bound an effect from below alone, ``≤ `` where from above alone, else nothing."""
    from_below, from_above = (name in doubts for name in BOUNDS)
    if from_below == from_above:
        return ""
    return "≥ " if from_below else "≤ "


def end(value: float, delta: float) -> str:
    """Return an interval's end for reading, with more digits where rounding would put it on 0 or δ."""
    text = rounded(value)
    if value not in (0, delta) and text in (rounded(0.0), "−0.000", rounded(delta)):
        return f"{value:.5f}".replace("-", "−")
    return text


def p_value(value: float | None) -> str:
    """Return a p-value for reading; a dash where there is none."""
    if value is None:
        return EMPTY
    if value < 0.001:
        return "< 0.001"
    return f"{value:.4f}" if 0.0495 <= value < 0.0505 else f"{value:.3f}"
