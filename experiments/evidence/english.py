"""Every phrase of the claims' report in English."""

from __future__ import annotations

from collections.abc import Mapping

ENGLISH: Mapping[str, str] = {
    "title": "The article's claims, one by one",
    "introduction": (
        "The article (残差连接与层归一化, residual connections and layer normalisation in large language models) "
        "asserts what follows and shows one table without a baseline, a seed or a spread. Each claim was written down "
        "as a hypothesis in `experiments/claims` (metric, direction, δ = smallest effect of interest) before its runs; "
        "what was known when a claim was written, or changed after results had been seen, stands with it. One change "
        "holds for all: the rule *no room* (below) was added after the claims had been written, in the commit that "
        "brought the first runs of the grid `claims`, and changed against the article once docstrings had been seen in "
        "the grid `stability`: harm (u < 0) is refuted even where the control leaves no room. "
        "`python -m experiments.claims report` rewrites this page from the records alone. Beside it stand "
        "[published results, measured again](reproductions/report.md) and [what depth changes](DEPTH.md)."
    ),
    "other": "[中文版](REPORT.zh-CN.md)",
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
    "treatment": "treatment",
    "control": "control",
    "measure": "measure",
    "grid": "grid",
    "condition": "condition",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "confirmed": "confirmed",
    "refuted": "refuted",
    "inconclusive": "inconclusive",
    "not run": "not run",
    "count": "{count} {verdict}",
    "its code": "its code",
    "in code": "its code",
    "place": "section {section}",
    "colon": ": ",
    "semicolon": "; ",
    "comma": ", ",
    "and_names": ", ",
    "and": " and ",
    "or": " or ",
    "stop": ".",
    "brackets": "{text} ({inside})",
    "missing": "{found} of {planned} runs recorded",
    "few_seeds": "fewer than three usable pairs of seeds",
    "undecided": "the interval holds both nothing and δ",
    "small": "above zero, but the mean is below δ",
    "small_bound": "above zero; only a lower bound of the mean is known, below δ",
    "upper_bound": "in {count} pair(s) only an upper bound of the effect is known",
    "lower_bound": "in {count} pair(s) only a lower bound of the effect is known",
    "treatment_lost": "{count} seed(s) of which the treatment alone diverged",
    "control_lost": "{count} seed(s) of which the control alone diverged",
    "no_room": "no room: the control is within δ of the best value to hope for",
    "equivalent": "δ is ruled out either way",
    "bounded": "{count} of {pairs} pairs only bound the effect",
    "some_pairs": "{pairs} of {seeds} pairs",
    "lost_by": "{count} lost by the {side}",
    "only": "only {side} {count}",
    "cannot_be_shown": "> {most}: cannot be shown",
    "no_share_shown": "not even {most}, all of the control's",
    "none_failed": "nothing: the control never failed",
    "component": "{name} {score}",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "disclosure": "Known beforehand, and changed afterwards",
    "setup": "Set-up",
    "levels": "Level of macro F1 that this is measured at (90 % of TF-IDF's on validation; budget of a run)",
    "level": "{corpus} {level} ({budget})",
    "would_refute": "What would refute it",
    "why_delta": "Why this δ",
    "measured": "The effect is measured in",
    "weakest": (
        "Gain in the weakest class and score, by itself, that so many seeds would show in four of five experiments "
        "(δ is {delta})"
    ),
    "rare": "Rare classes (fewer than 80 % of the mean number of test rows)",
    "rare_classes": "on {corpus} {classes} of {rows} test rows",
    "none_exploded": (
        "No step exploded: in none of the {runs} runs whose gradients are compared here does a recorded step have a "
        "ratio above 1e3."
    ),
    "replications": "Replications (they decide nothing)",
    "values": "Mean ± standard deviation over seeds of both sides",
    "without_runs": "No run is recorded yet on {parts}.",
    "arithmetic": "Decided by arithmetic on the printed numbers (proofs in `experiments/evidence/published_table.py`):",
    "unpublished": (
        "The article's data, class sizes, splits and seeds are not published, so its table cannot be reproduced. Of "
        "our settings these come nearest to its accuracy 0.83 and mean F1 0.798:"
    ),
    "no_neighbours": "No results of ours are committed yet.",
    "forest": (
        "Effects with their adjusted intervals in units of δ. Confirmed: the interval lies right of 0 and the mean "
        "right of 1 (dashed); refuted: the interval lies left of 1."
    ),
    "of_grid": "grid `{grid}`",
    "layers": "{values} layers",
    "width": "width {values}",
    "arithmetic_of_runs": "precision {values}",
    "learning_rate": "learning rate",
    "warmup_fraction": "warm-up",
    "initialisation_gain": "initial gain",
    "fixed": "{name} {values} (not tuned)",
    "tuned": "{names} tuned on validation{whom}",
    "for_some": " for {names}",
    "trials": ", {count} trials each",
    "decay_linear": "rate falling linearly to 0",
    "decay_cosine": "rate falling to 0 as a cosine",
    "decay_constant": "constant rate",
    "clipped": "gradient clipped at {value}",
    "unclipped": "gradient not clipped",
    "seed_count": "seeds: {values}",
    "budget": "{values}",
    "for_corpora": "{text} on {names}",
    "one_epoch": "1 epoch",
    "epochs": "{values} epochs",
    "only_steps": "{values} steps",
    "steps": "{values} steps ({epochs})",
}
