"""Every phrase of the claims' report, in English and Chinese; the rules of a verdict stand in ``rules``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Phrases = Mapping[str, str]

ENGLISH: Phrases = {
    "title": "The article's claims, one by one",
    "introduction": (
        "The article (残差连接与层归一化, residual connections and layer normalisation in large language models) "
        "asserts what follows and shows one table without a baseline, a seed or a spread. Each claim was written down "
        "as a hypothesis in `experiments/claims` (metric, direction, δ = smallest effect of interest) before its runs; "
        "what was known when a claim was written, or changed after results had been seen, stands with it. "
        "`python -m experiments.claims report` rewrites this page from the records alone."
    ),
    "verdicts": "Verdicts",
    "how": "How to read a verdict",
    "claim": "claim",
    "part": "part",
    "corpus": "corpus",
    "effect": "effect",
    "interval": "[l, u]",
    "p": "p (Holm)",
    "p_flip": "p (sign flips, unadjusted)",
    "seeds": "seeds",
    "excluded": "left out",
    "delta": "δ",
    "detectable": "detectable",
    "verdict": "verdict",
    "evidence": "evidence",
    "table": "table",
    "figure": "figure",
    "section": "section",
    "by_seed": "by seed",
    "parts": "parts",
    "number": "no.",
    "only": "only",
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
    "upper_bound": "in {count} pair(s) only an upper bound of the effect is known",
    "lower_bound": "in {count} pair(s) only a lower bound of the effect is known",
    "treatment_lost": "{count} seed(s) of which the treatment alone diverged",
    "control_lost": "{count} seed(s) of which the control alone diverged",
    "no_room": "no room: the control is within δ of the best value to hope for",
    "equivalent": "δ is ruled out either way",
    "bounded": "{count} of {pairs} pairs only bound the effect",
    "disclosure": "Known when it was written, or changed after results had been seen",
    "levels": "Level of macro F1 that this is measured at (90 % of TF-IDF's on validation)",
    "colon": ": ",
    "stop": ".",
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
    "forest": "Effects with their adjusted intervals in units of δ: right of 1 matters, left of 0 speaks against.",
    "without_runs": "No run is recorded yet on {parts}.",
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
        "`experiments/claims` 中的假设（指标、方向、δ 即最小有意义效应）；写下时已知的结果，或看过结果之后所作的修改，"
        "均在该论断处注明。`python -m experiments.claims report` 仅凭运行记录重写本页。"
    ),
    "verdicts": "结论",
    "how": "如何阅读结论",
    "claim": "论断",
    "part": "部分",
    "corpus": "语料",
    "effect": "效应",
    "interval": "[l, u]",
    "p": "p（Holm）",
    "p_flip": "p（符号翻转，未校正）",
    "seeds": "种子",
    "excluded": "未计入",
    "delta": "δ",
    "detectable": "可检出",
    "verdict": "结论",
    "evidence": "证据",
    "table": "表",
    "figure": "图",
    "section": "章节",
    "by_seed": "逐种子",
    "parts": "各部分",
    "number": "序号",
    "only": "仅",
    "treatment": "处理组",
    "control": "对照组",
    "measure": "指标",
    "confirmed": "证实",
    "refuted": "证伪",
    "inconclusive": "未定",
    "not run": "未运行",
    "missing": "已有 {found} / {planned} 次运行",
    "few_seeds": "可用的种子对少于三对",
    "undecided": "区间同时包含零效应与 δ",
    "small": "大于零，但均值小于 δ",
    "upper_bound": "{count} 对中只知效应的上界",
    "lower_bound": "{count} 对中只知效应的下界",
    "treatment_lost": "{count} 个种子只有处理组发散",
    "control_lost": "{count} 个种子只有对照组发散",
    "no_room": "没有余地：对照组已在可期望的最佳值的 δ 之内",
    "equivalent": "两个方向上均排除了 δ",
    "bounded": "{pairs} 对中有 {count} 对只给出效应的界",
    "disclosure": "写下时已知的结果，或看过结果之后所作的修改",
    "levels": "测量所在的宏 F1 水平（TF-IDF 验证集宏 F1 的 90%）",
    "colon": "：",
    "stop": "。",
    "its code": "文章代码",
    "would_refute": "何种结果会证伪它",
    "why_delta": "为何取此 δ",
    "measured": "效应的单位",
    "replications": "重复实验（不影响结论）",
    "values": "双方在各种子上的均值 ± 标准差",
    "arithmetic": "由印出的数字经算术判定（证明见 `experiments/judging/published_table.py`）：",
    "unpublished": (
        "文章没有公布数据、各类样本数、划分和种子，因此无法重现其表格。我们的设置中，与其准确率 0.83、平均 F1 0.798 "
        "最接近的是："
    ),
    "no_neighbours": "尚无已提交的结果。",
    "forest": "各效应及其校正区间，以 δ 为单位：1 右侧有意义，0 左侧与论断相反。",
    "without_runs": "尚无运行记录：{parts}。",
    "grid": "网格",
    "condition": "条件",
    "accuracy": "准确率",
    "macro_f1": "宏 F1",
    "other": "[English](REPORT.md)",
}
PHRASES: dict[str, Phrases] = {"en": ENGLISH, "zh": CHINESE}


def rules(language: str) -> str:
    """Return how a verdict comes about, as a Markdown list."""
    return (Path(__file__).parent / "rules" / f"{language}.md").read_text(encoding="utf-8")
