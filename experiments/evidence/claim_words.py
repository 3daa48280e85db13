"""How an answered comparison is said in English and Chinese: its estimate, its word, and what failures leave to say.

What comes from records is escaped for Markdown here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.escaping import for_markdown
from experiments.evidence.claim_tables import EFFECTS, bound_of
from experiments.evidence.effects import NOT_RUN, AnsweredComparison, HasInterval, MeasuredEffect
from experiments.evidence.measures import MEASURES
from experiments.evidence.quantities import has_failed
from experiments.reporting.frame import Row
from experiments.reporting.render import EMPTY, rounded
from experiments.runs.naming import spell
from experiments.statistics.words import BOTH_DEAD, WORDS

RATE = "model.learning_rate"
DIGITS = {"points": 3, "decades": 2, "doublings": 2, "share": 2}
"""Decimals of an effect, by its unit."""
SPOKEN: Mapping[str, Mapping[str, str]] = {
    "en": {name: name for name in (*WORDS, BOTH_DEAD, NOT_RUN)},
    "zh": {
        "helps": "有益",
        "harms": "有害",
        "no difference that matters": "差别可忽略",
        "not settled": "未定",
        BOTH_DEAD: "双方皆失败",
        NOT_RUN: "尚未运行",
    },
}
PHRASES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "to": " to ",
        "list": ", ",
        "and": "; ",
        "none": "none",
        "of": "{} of {}",
        "weakest": "{}: ",
        "trained": "trained {} of {} against {} of {}",
        "pooled": "{} corpora, pooled",
        "together": "{} corpora, {} pairs",
        "apart": "{} corpora, each by itself",
        "budget": "{corpus} {steps} steps, {rows} training rows, {seeds} seeds",
        "grid": "`{}`: {}.",
        "survived": "{} (next tried: {})",
    },
    "zh": {
        "to": " 至 ",
        "list": "，",
        "and": "；",
        "none": "无",
        "of": "{}/{}",
        "weakest": "{}：",
        "trained": "训练成功 {}/{} 对 {}/{}",
        "pooled": "{} 个语料，合并",
        "together": "{} 个语料，{} 对",
        "apart": "{} 个语料，各自比较",
        "budget": "{corpus} {steps} 步，{rows} 行训练数据，{seeds} 个种子",
        "grid": "`{}`：{}。",
        "survived": "{}（下一档：{}）",
    },
}
"""What a page says about a number."""
DAGGER = "†"
"""Marks an effect where no run of either side trained."""


@dataclass(frozen=True)
class Spoken:
    """One answered comparison in a language, as templates ask for it."""

    answered: AnsweredComparison
    language: str

    @property
    def title(self) -> str:
        """What is compared."""
        return for_markdown(self.answered.comparison.title[self.language])

    @property
    def estimate(self) -> str:
        """The effect over natural text with its interval, or those of the few corpora there are."""
        answered, said = self.answered, PHRASES[self.language]
        if answered.pooled is not None:
            number = said["pooled"].format(answered.pooled.count)
            return f"{estimate_of(answered, answered.pooled, self.language)} ({number})"
        if answered.together is not None:
            number = said["together"].format(len(answered.natural), len(answered.together.outcomes.favoured))
            return f"{estimate_of(answered, answered.together, self.language)} ({number})"
        known = [
            f"{for_markdown(name)} {estimate_of(answered, each.effect, self.language, each)}"
            for name, each in answered.natural.items()
            if each.effect is not None and each.said in WORDS
        ]
        if not known:
            return EMPTY
        return said["list"].join(known) if len(known) <= 2 else said["apart"].format(len(known))

    @property
    def linked(self) -> str:
        """The estimate with a link to the table of every number."""
        return self.estimate if self.estimate == EMPTY else f"[{self.estimate}]({EFFECTS})"

    @property
    def word(self) -> str:
        """The word over corpora; where each speaks for itself, how many of natural text have which."""
        answered = self.answered
        if answered.word:
            return SPOKEN[self.language][answered.word] + (DAGGER if self.is_dead else "")
        said = [spoken_word(each, self.language) for each in answered.natural.values()]
        counts = Counter(said)
        if len(said) < 2:
            elsewhere = any(each.is_run for each in answered.by_corpus.values())
            return "".join(said) or (EMPTY if elsewhere else SPOKEN[self.language][NOT_RUN])
        spelled = PHRASES[self.language]["of"]
        return PHRASES[self.language]["list"].join(
            f"{word} {spelled.format(n, len(said))}" for word, n in counts.items()
        )

    @property
    def is_dead(self) -> bool:
        """Whether on some corpus no run of either side trained."""
        return any(is_dead(self.answered, each) for each in self.answered.natural.values())


def cell(answered: AnsweredComparison, effect: MeasuredEffect, language: str) -> str:
    """Return an effect on one corpus: estimate, interval and word."""
    word = spoken_word(effect, language)
    if is_dead(answered, effect):
        word += DAGGER
    if effect.effect is None or effect.said not in WORDS:
        return word
    weakest = PHRASES[language]["weakest"].format(for_markdown(effect.weakest)) if effect.weakest else ""
    return f"{weakest}{estimate_of(answered, effect.effect, language, effect)} {word}"


def spoken_word(effect: MeasuredEffect, language: str) -> str:
    """Return the word for an effect on one corpus, or what failures leave to say."""
    if effect.said in SPOKEN[language]:
        return SPOKEN[language][effect.said]
    first, second = effect.trained or (None, None)
    if first is None or second is None:
        return for_markdown(effect.said)
    return PHRASES[language]["trained"].format(first.trained, first.runs, second.trained, second.runs)


def is_dead(answered: AnsweredComparison, effect: MeasuredEffect) -> bool:
    """Tell whether no run of either side trained, of a measure that such runs have all the same."""
    trained = effect.trained
    return (
        answered.comparison.metric == "gradient_imbalance_in_training"
        and trained is not None
        and trained[0].is_dead
        and trained[1].is_dead
    )


def estimate_of(
    answered: AnsweredComparison, effect: HasInterval | None, language: str, of: MeasuredEffect | None = None
) -> str:
    """Return an effect with its interval, in the decimals of its unit; a bound or a floor has its sign."""
    if effect is None:
        return EMPTY
    places = DIGITS[MEASURES[answered.comparison.metric].unit]
    mark = {"at least": "≥ ", "at most": "≤ ", "": ""}.get(bound_of(of or answered), "≈ ")
    ends = ends_of(effect.interval(), answered, language)
    return f"{mark}{rounded(effect.mean, places)}" + ("" if ends == EMPTY else f" ({ends})")


def ends_of(ends: tuple[float, float] | None, answered: AnsweredComparison, language: str) -> str:
    """Return both ends of an interval."""
    if ends is None:
        return EMPTY
    places = DIGITS[MEASURES[answered.comparison.metric].unit]
    return PHRASES[language]["to"].join(rounded(end, places) for end in ends)


def survived(rows: Sequence[Row], language: str) -> str:
    """Return the largest rate at which all runs trained at every lower rate tried too, and the next one tried."""
    by_rate: dict[float, list[bool]] = {}
    for row in rows:
        by_rate.setdefault(float(row.swept[RATE]), []).extend(has_failed(record) for record in row.records)
    if not by_rate:
        return EMPTY
    largest = None
    for rate in sorted(by_rate):
        if any(by_rate[rate]):
            held = PHRASES[language]["none"] if largest is None else spell(largest)
            return PHRASES[language]["survived"].format(held, spell(rate))
        largest = rate
    return spell(largest)
