"""Every phrase of the claims' report, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping

Phrases = Mapping[str, str]

ENGLISH: Phrases = {
    "title": "The article's claims, one by one",
    "introduction": (
        "The article (残差连接与层归一化, residual connections and layer normalisation in large language models) "
        "asserts what follows and shows one table without a baseline, a seed or a spread. Each claim was written down "
        "as a hypothesis in `experiments/claims` (metric, direction, δ = smallest effect of interest) before its runs. "
        "`python -m experiments.claims report` rewrites this page from the records alone."
    ),
    "verdicts": "Verdicts",
    "how": "How to read a verdict",
    "rules": (
        "- An *effect* is the mean difference between treatment and control over paired seeds, turned so that positive "
        "favours the claim. [l, u] is its t-interval at the level that Holm's procedure gives it within the claim's "
        "family: all its parts on all confirmatory corpora, planned tests that could not be made included. p is the "
        "paired t-test's, adjusted by Holm; sign flips check it without assuming normality.\n"
        "- **confirmed**: l > 0 and the effect is at least δ. **refuted**: u < δ, so an effect that matters is "
        "ruled out (a small true effect refutes too; *equal within ±δ*: two one-sided tests show the "
        "sides equal in practice). **inconclusive**: anything else, or fewer than three usable "
        "pairs of seeds. **not run**: planned runs are missing; nothing is judged before all are there, so nobody can "
        "stop at a good moment.\n"
        "- The article claims without conditions. A claim as a whole is *confirmed* only if every part is confirmed on "
        "every confirmatory corpus, *refuted* if one part is refuted on one corpus, and *inconclusive* otherwise; how "
        "many parts went which way stands beside it.\n"
        "- *Detectable* is the effect that so many seeds with this spread would show in four of five experiments. "
        "Where it exceeds δ, an inconclusive verdict means: too few seeds to tell.\n"
        "- Seeds whose run has no value (a diverged run has no score, a run may never reach the level that overfitting "
        "is compared at) are left out of the pairs and counted. Steps to a target that was never reached are set to "
        "the budget, which never overstates a difference; then a claim cannot be confirmed where only its own side "
        "fell short, nor refuted where only the other did. Pairs in which both fell short are left out.\n"
        "- Replications have five seeds, are adjusted among themselves, and decide nothing."
    ),
    "claim": "claim",
    "part": "part",
    "corpus": "corpus",
    "effect": "effect",
    "interval": "[l, u]",
    "p": "p (Holm)",
    "p_flip": "p (sign flips)",
    "seeds": "seeds",
    "excluded": "left out",
    "delta": "δ",
    "detectable": "detectable",
    "verdict": "verdict",
    "evidence": "evidence",
    "table": "table",
    "figure": "figure",
    "section": "section",
    "parts": "parts",
    "number": "no.",
    "treatment": "treatment",
    "control": "control",
    "measure": "measure",
    "confirmed": "confirmed",
    "refuted": "refuted",
    "inconclusive": "inconclusive",
    "not run": "not run",
    "missing": "{found} of {planned} runs recorded",
    "few_seeds": "fewer than three usable pairs of seeds",
    "undecided": "the interval holds both nothing and δ",
    "small": "above zero, but the mean is below δ",
    "only_fast_censored": "{fast} pair(s) in which the favoured side alone never arrived",
    "only_slow_censored": "{slow} pair(s) in which the other side alone never arrived",
    "equivalent": "equal within ±δ",
    "would_refute": "What would refute it",
    "why_delta": "Why this δ",
    "measured": "The effect is measured in",
    "replications": "Replications (they decide nothing)",
    "values": "Mean ± standard deviation over seeds of both sides",
    "arithmetic": "Decided by arithmetic on the printed numbers (proofs in `experiments/judging/published_table.py`):",
    "unpublished": (
        "The article's data, class sizes, splits and seeds are not published, so its table cannot be reproduced. Of "
        "our settings these come nearest to its accuracy 0.83 and mean F1 0.798:"
    ),
    "no_neighbours": "No results of ours are committed yet.",
    "forest": "Effects with their Holm-adjusted intervals in units of δ: right of 1 matters, left of 0 speaks against.",
    "all_missing": "None of its runs are recorded yet.",
    "grid": "grid",
    "condition": "condition",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "other": "[中文版](REPORT.zh-CN.md)",
}

CHINESE: Phrases = {
    "title": "逐条检验文章的论断",
    "introduction": (
        "文章《残差连接与层归一化》提出下列论断，却只给出一张没有基线、种子和离散程度的表格。每条论断在运行之前都写成 "
        "`experiments/claims` 中的假设（指标、方向、δ 即最小有意义效应）。`python -m experiments.claims report` "
        "仅凭运行记录重写本页。"
    ),
    "verdicts": "结论",
    "how": "如何阅读结论",
    "rules": (
        "- *效应*是处理组与对照组按种子配对之差的均值，正号表示支持论断。[l, u] 是在 Holm 程序所给水平上的 t 区间，"
        "校正范围为同一族：该论断的所有部分与所有验证语料，包括未能进行的检验。p 为经 Holm 校正的配对 t 检验；"
        "符号翻转检验不假设正态，用作核对。\n"
        "- **证实**：l > 0 且效应不小于 δ。**否证**：u < δ，即排除了有意义的效应（真实但过小的效应同样否证；"
        "“在 ±δ 内相等”表示双单侧检验表明两者实际上相等）。"
        "**未定**：其余情形，或可用的种子对少于三对。**未运行**：计划的运行尚有缺失；全部完成之前不作判断，"
        "以免在有利的时刻停下。\n"
        "- 文章的论断不带条件。每个部分在每个验证语料上都证实，整条才算*证实*；任一部分在任一语料上被否证，整条即"
        "*否证*；其余为*未定*。各部分的结果数目列在旁边。\n"
        "- *可检出*是在此种子数与离散程度下，五次实验中有四次能够发现的效应。若它大于 δ，“未定”意味着种子太少。\n"
        "- 没有数值的种子（发散的运行没有分数，某些运行从未达到比较过拟合的水平）不参与配对，另行计数。未达到目标的步数"
        "取为预算值，不会夸大差别；若只有受支持的一方未达到，则不能证实；若只有另一方未达到，则不能否证。双方都未达到的"
        "配对不计。\n"
        "- 重复验证用五个种子，单独校正，不影响结论。"
    ),
    "claim": "论断",
    "part": "部分",
    "corpus": "语料",
    "effect": "效应",
    "interval": "[l, u]",
    "p": "p（Holm）",
    "p_flip": "p（符号翻转）",
    "seeds": "种子",
    "excluded": "未计入",
    "delta": "δ",
    "detectable": "可检出",
    "verdict": "结论",
    "evidence": "证据",
    "table": "表",
    "figure": "图",
    "section": "章节",
    "parts": "各部分",
    "number": "序号",
    "treatment": "处理组",
    "control": "对照组",
    "measure": "指标",
    "confirmed": "证实",
    "refuted": "否证",
    "inconclusive": "未定",
    "not run": "未运行",
    "missing": "已有 {found} / {planned} 次运行",
    "few_seeds": "可用的种子对少于三对",
    "undecided": "区间同时包含零效应与 δ",
    "small": "大于零，但均值小于 δ",
    "only_fast_censored": "{fast} 对中只有受支持的一方未达到目标",
    "only_slow_censored": "{slow} 对中只有另一方未达到目标",
    "equivalent": "在 ±δ 内相等",
    "would_refute": "何种结果会否证它",
    "why_delta": "为何取此 δ",
    "measured": "效应的单位",
    "replications": "重复验证（不影响结论）",
    "values": "双方在各种子上的均值 ± 标准差",
    "arithmetic": "由印出的数字经算术判定（证明见 `experiments/judging/published_table.py`）：",
    "unpublished": (
        "文章没有公布数据、各类样本数、划分和种子，因此无法重现其表格。我们的设置中，与其准确率 0.83、平均 F1 0.798 "
        "最接近的是："
    ),
    "no_neighbours": "尚无已提交的结果。",
    "forest": "各效应及其 Holm 校正区间，以 δ 为单位：1 右侧有意义，0 左侧与论断相反。",
    "all_missing": "尚无运行记录。",
    "grid": "网格",
    "condition": "条件",
    "accuracy": "准确率",
    "macro_f1": "宏 F1",
    "other": "[English](REPORT.md)",
}
PHRASES: dict[str, Phrases] = {"en": ENGLISH, "zh": CHINESE}
