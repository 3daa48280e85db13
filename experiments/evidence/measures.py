"""What a claim can be about: quantities by name, and what a report says about each, in both languages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from experiments.evidence.quantities import (
    Value,
    class_scores,
    exploding_gradient_share,
    failures,
    gap_at_common_train_f1,
    generalisation_gap,
    gradient_imbalance_at_start,
    gradient_imbalance_in_training,
    gradient_log_ratio_at_start,
    gradient_log_ratio_in_training,
    pathological_gradient_share,
    rare_class_lead,
    test_score,
    time_to_target,
    vanishing_gradient_share,
)
from experiments.runs.record import Record


@dataclass(frozen=True)
class Measure:
    """A measure and what a report says about it."""

    compute: Callable[[Sequence[Record], float | None], Value]
    """From the records of one seed (one run, or one per swept value) and the target of ``steps_to_target``."""
    kind: Literal["value", "time", "components", "outcomes"]
    title: Mapping[str, str]
    effect: Mapping[str, str]
    """Name and unit of the effect: the difference between the two sides."""
    tables: tuple[str, ...] = ("summary.md", "report.md")
    """Tables of a grid's report that hold the measure, or the score beside it; the first that is there is linked."""
    figures: tuple[str, ...] = ("macro_f1.png", "macro_f1_by_*.png")
    """Figures of a grid's report that show the measure, as patterns; the first that is there is linked."""
    best: float | None = None
    """Best value to hope for: where the control is within δ of it, no treatment is asked to gain δ."""
    needs_target: bool = False
    """Whether the measure asks for the TF-IDF baseline's score."""
    may_lack: bool = False
    """Whether a run without a value is left out as the claim itself demands; else its run diverged."""


def _measure(
    compute: Callable[..., Any], kind: Any, title: tuple[str, str], effect: tuple[str, str], **shown_in: Any
) -> Measure:
    said, unit = (dict(zip(("en", "zh"), texts, strict=True)) for texts in (title, effect))
    return Measure(compute, kind, said, unit, **shown_in)


POINTS = ("difference", "差值")
DECADE = ("powers of ten", "数量级（10 的幂）")
DOUBLINGS = ("log₂ of the ratio (1: half the time)", "比值的 log₂（1 表示时间减半）")
CURVES: dict[str, Any] = {"figures": ("learning_curves*.png", "loss_curves*.png"), "needs_target": True}
GAP: dict[str, Any] = {**CURVES, "best": 0.0, "may_lack": True}
GRADIENTS: dict[str, Any] = {"tables": (), "figures": ("gradient_ratio.png", "gradient_norms*.png"), "best": 0.0}
SHOWN_GRADIENTS: dict[str, Any] = {**GRADIENTS, "best": None}
FAILURES: dict[str, Any] = {"figures": ("failures_by_*.png", "macro_f1.png"), "best": 0.0}
CLASSES: dict[str, Any] = {"tables": ("per_class.md",), "figures": ("confusion*.png",)}
SCORE: dict[str, Any] = {"best": 1.0}
MEASURES: dict[str, Measure] = {
    "macro_f1": _measure(test_score("macro_f1"), "value", ("test macro F1", "测试集宏 F1"), POINTS, **SCORE),
    "accuracy": _measure(test_score("accuracy"), "value", ("test accuracy", "测试集准确率"), POINTS, **SCORE),
    "generalisation_gap": _measure(
        generalisation_gap,
        "value",
        ("train − validation macro F1", "训练集与验证集宏 F1 之差"),
        POINTS,
        figures=CURVES["figures"],
        best=0.0,
    ),
    "gap_at_common_train_f1": _measure(
        gap_at_common_train_f1,
        "value",
        ("train − validation macro F1 at equal train macro F1", "训练集宏 F1 相同时训练集与验证集之差"),
        POINTS,
        **GAP,
    ),
    "steps_to_target": _measure(
        time_to_target("step"), "time", ("steps to target", "达到目标的步数"), DOUBLINGS, **CURVES
    ),
    "tokens_to_target": _measure(
        time_to_target("tokens"), "time", ("tokens to target", "达到目标的词元数"), DOUBLINGS, **CURVES
    ),
    "gradient_imbalance_at_start": _measure(
        gradient_imbalance_at_start,
        "value",
        ("|log₁₀ first/last block| at step 1", "第 1 步首末块梯度比的 |log₁₀|"),
        DECADE,
        **GRADIENTS,
    ),
    "gradient_imbalance_in_training": _measure(
        gradient_imbalance_in_training,
        "value",
        ("|log₁₀ first/last block|, median over training", "训练全程首末块梯度比 |log₁₀| 的中位数"),
        DECADE,
        **GRADIENTS,
    ),
    "pathological_gradient_share": _measure(
        pathological_gradient_share,
        "value",
        ("share of steps that vanish or explode", "梯度消失或爆炸的步数占比"),
        POINTS,
        **GRADIENTS,
    ),
    "gradient_log_ratio_at_start": _measure(
        gradient_log_ratio_at_start,
        "value",
        (
            "log₁₀ first/last block at step 1 (below 0: the first gets less)",
            "第 1 步首末块梯度比的 log₁₀（负值：首块较小）",
        ),
        DECADE,
        **SHOWN_GRADIENTS,
    ),
    "gradient_log_ratio_in_training": _measure(
        gradient_log_ratio_in_training,
        "value",
        (
            "log₁₀ first/last block, median over training (below 0: the first gets less)",
            "训练全程首末块梯度比 log₁₀ 的中位数（负值：首块较小）",
        ),
        DECADE,
        **SHOWN_GRADIENTS,
    ),
    "vanishing_gradient_share": _measure(
        vanishing_gradient_share,
        "value",
        ("share of steps that vanish", "梯度消失的步数占比"),
        POINTS,
        **GRADIENTS,
    ),
    "exploding_gradient_share": _measure(
        exploding_gradient_share,
        "value",
        ("share of steps that explode", "梯度爆炸的步数占比"),
        POINTS,
        **GRADIENTS,
    ),
    "failure_share": _measure(
        failures,
        "outcomes",
        ("share of runs that collapsed or diverged", "坍缩或发散的运行占比"),
        POINTS,
        **FAILURES,
    ),
    "rare_class_lead": _measure(
        rare_class_lead, "value", ("F1 of rare classes − of the others", "稀有类与其余类的 F1 之差"), POINTS, **CLASSES
    ),
    "class_precision_recall_f1": _measure(
        class_scores("precision", "recall", "f1"),
        "components",
        ("precision, recall and F1 of every class", "每个类的精确率、召回率与 F1"),
        ("smallest difference", "最小差值"),
        **CLASSES,
        **SCORE,
    ),
    "class_accuracy": _measure(
        class_scores("accuracy"),
        "components",
        ("one-vs-rest accuracy of every class (no evidence)", "每个类的一对其余（one-vs-rest）准确率（不作为证据）"),
        ("smallest difference", "最小差值"),
        **CLASSES,
    ),
}
