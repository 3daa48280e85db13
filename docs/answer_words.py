"""The words of `results/README.md`: each sentence is taken from committed tables, so that new results change it.

Nothing is asserted here. A block is named because the words of the comparisons say so; what is not run is called so.
"""

import re
from collections import Counter
from collections.abc import Iterator

from docs.committed import EFFECTS, NOT_RUN, RESULTS, committed, estimate, linked, three_digits

Row = dict[str, str]

LOST = {
    "skips": "skips, from Post-LN",
    "post_norms": "norms, from Post-LN",
    "pre_norms": "norms, from Pre-LN",
    "both": "both, from Pre-LN",
    "place": "Pre-LN for Post-LN",
}
"""What goes, by how the comparisons of `experiments/claims/answer/lost.yaml` begin."""
SIDES = {
    "skips": ("post_ln", "no_residual"),
    "post_norms": ("post_ln", "no_norm"),
    "pre_norms": ("pre_ln", "no_norm"),
    "both": ("pre_ln", "plain"),
    "place": ("pre_ln", "post_ln"),
}
"""Treatment and control of those comparisons."""
BLOCKS = {
    "pre_ln": ("Pre-LN", "Pre-LN with residual connections"),
    "post_ln": ("Post-LN", "Post-LN with residual connections"),
    "no_norm": ("No norm", "Residual connections without norms"),
    "no_residual": ("No residual", "Post-LN without residual connections"),
    "plain": ("neither part", "Neither part"),
}
"""Short and full name of each network."""
PLACES = (
    ("six natural corpora", 6, ("6:pooled",), "N steps"),
    ("docstrings", 6, ("6_docstrings_1n", "6:docstrings"), "N steps"),
    ("docstrings", 6, ("6_docstrings_4n",), "4N steps"),
    ("listops", 6, ("6_listops_1n", "6:listops"), "N steps"),
    ("listops", 6, ("6_listops_4n",), "4N steps"),
    ("docstrings", 12, ("12_docstrings_1n", "12"), "N steps"),
    ("docstrings", 12, ("12_docstrings_4n",), "4N steps"),
    ("docstrings", 24, ("24_docstrings_1n", "24"), "N steps"),
    ("docstrings", 24, ("24_docstrings_4n",), "4N steps"),
)
"""Lines of the table: corpus, layers, the comparisons that may answer (the first that is run does), the budget."""
OVER_CORPORA = ("pooled", "together", "new corpus")
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
START_TUNED_IN = "budget"
"""The grid that tunes the start of the embeddings for every side."""


def lost() -> list[list[str]]:
    """What is lost without a part, by corpus, depth and budget, with the share that trained where some failed."""
    head = ["where", "layers", "budget", *LOST.values()]
    return [head, *([corpus, str(layers), steps, *map(lost_cell, row)] for corpus, layers, steps, row in lost_lines())]


def lost_lines() -> Iterator[tuple[str, int, str, list[Row]]]:
    """Yield corpus, layers, steps and the effect of every part, line by line."""
    effects = {(row["comparison"], row["where"]): row for row in effects_of("lost")}
    for corpus, layers, names, budget in PLACES:
        chosen = [found_effect(effects, part, corpus, names) for part in LOST]
        yield corpus, layers, steps_said(chosen, budget), chosen


def effects_of(claim: str) -> list[Row]:
    """The committed effects of a claim."""
    return [row for row in committed(EFFECTS) if row["claim"] == claim]


def found_effect(effects: dict[tuple[str, str], Row], part: str, corpus: str, names: tuple[str, ...]) -> Row:
    """The first comparison of a part that is run; the last one where none is."""
    found = {}
    for name in names:
        comparison, _, where = name.partition(":")
        found = effects[f"{part}_{comparison}", where or corpus]
        if found["word"] != NOT_RUN:
            break
    return found


def steps_said(chosen: list[Row], budget: str) -> str:
    """The steps of a line's runs; of an effect over corpora the fewest and the most; ``budget`` where none is run."""
    pooled = {row["comparison"] for row in chosen if row["where"] in OVER_CORPORA}
    below = [row for row in effects_of("lost") if row["comparison"] in pooled and is_natural(row)]
    steps = sorted({int(row["steps"]) for row in [*chosen, *below] if row["steps"]})
    if not steps:
        return budget
    between = " to " if pooled else " or "
    return (
        between.join(f"{each:,}" for each in (steps[:: len(steps) - 1] if pooled and steps[1:] else steps)) + " steps"
    )


def is_natural(row: Row) -> bool:
    """Whether an effect is that on one corpus of natural text."""
    return row["where"] not in (*OVER_CORPORA, "listops")


def lost_cell(row: Row) -> str:
    """An effect and its word with a link to the page that has it; what failures leave to say where some runs failed."""
    if row["word"] == NOT_RUN:
        return NOT_RUN
    failed = not row["mean"] or row["word"].startswith("trained") or row["word"] == "both dead"
    return linked(row["word"] if failed else f"{estimate(row)}: {row['word']}", "claims/lost.md")


def better(part: str, row: Row) -> str | None:
    """Which of two networks an effect's word favours; None where it leaves that open."""
    treatment, control = SIDES[part]
    shares = re.fullmatch(r"trained (\d+) of (\d+) against (\d+) of (\d+)", row["word"])
    if shares:
        first, of, second, of_second = map(int, shares.groups())
        ahead = first * of_second - second * of
        return treatment if ahead > 0 else control if ahead < 0 else None
    return {"helps": treatment, "harms": control}.get(row["word"])


def which_block() -> list[str]:
    """Which block the comparisons of the table favour, and how often each was better or worse."""
    won, beaten = Counter[str](), Counter[str]()
    for _, _, _, chosen in lost_lines():
        for part, row in zip(LOST, chosen, strict=True):
            if winner := better(part, row):
                won[winner] += 1
                beaten[next(side for side in SIDES[part] if side != winner)] += 1
    unbeaten = [name for name in BLOCKS if won[name] and not beaten[name]]
    listed = ", ".join(f"{BLOCKS[name][0]} {won[name]}:{beaten[name]}" for name in BLOCKS)
    said = " or ".join(BLOCKS[name][1] for name in unbeaten) or "No block is best everywhere"
    where = linked("the comparisons below", "claims/lost.md")
    lines = [f"**{said}.** Times that each is ahead and behind in {where}: {listed}."]
    return [*lines, *rates_survived(unbeaten)]


def rates_survived(blocks: list[str]) -> list[str]:
    """At how many of its tried rates each block trains at every depth, and whether another network does as well."""
    trials: dict[str, list[Row]] = {}
    for row in committed("depth/docstrings/tuning.csv"):
        trials.setdefault(row["variant"], []).append(row)
    failed = {name: sum(row["outcome"] != "trained" for row in trials[name]) for name in BLOCKS}
    depths = sorted({int(row["layers"]) for row in trials["pre_ln"]})
    where = linked("500 steps on docstrings", "depth/docstrings/report.md")
    lines = []
    for name in blocks:
        rates = sorted({float(row["learning_rate"]) for row in trials[name]})
        span = f"{NUMBERS.get(len(rates), len(rates))} rates from {rates[0]:g} to {rates[-1]:g}"
        deep = f"{NUMBERS.get(depths[0], depths[0])} to {depths[-1]} layers"
        count = f"{len(trials[name]) - failed[name]} of {len(trials[name])} trials"
        said = f"at each of {span}" if not failed[name] else f"in {count} at {span}"
        lines.append(f"In {where} {BLOCKS[name][0]} trains {said}, at {deep}.")
    others = [BLOCKS[name][0] for name in BLOCKS if name not in blocks and not failed[name]]
    if blocks and not any(failed[name] for name in blocks):
        lines.append(f"So do {', '.join(others)}." if others else "No other of the five networks below does.")
    return lines


def tuned_start() -> list[str]:
    """For which lines of the table the start of the embeddings was tuned."""
    tuned = [
        f"{corpus} at {layers} layers in {steps}"
        for corpus, layers, steps, chosen in lost_lines()
        if any(row["grid"] == START_TUNED_IN and row["word"] != NOT_RUN for row in chosen)
    ]
    if not tuned:
        return ["No line yet tunes the start of the embeddings, which is 0.02."]
    said = "The start of the embeddings is tuned for every side in these lines; elsewhere it is 0.02."
    return [said, *(f"- {line}" for line in tuned)]


def at_my_size() -> list[str]:
    """What changes with budget, depth and rate, one line each."""
    lines = [*more_steps(), *sooner(), *without_skips_at_24(), *rates_with_norms(), *smaller_start(), *no_blocks()]
    return [f"- {line}" for line in lines]


def more_steps() -> Iterator[str]:
    """Yield what four times the steps do to each loss on docstrings, depth by depth, and what is not yet run."""
    effects = {(row["comparison"], row["where"]): row for row in effects_of("lost")}
    missing = []
    for layers in (6, 12, 24):
        said = []
        for part, title in (("skips", "Skips"), ("pre_norms", "Norms"), ("both", "Both")):
            before, after = (effects[f"{part}_{layers}_docstrings_{times}n", "docstrings"] for times in (1, 4))
            if NOT_RUN not in (before["word"], after["word"]):
                said.append(f"{title}: {short_cell(before)}, then {short_cell(after)}.")
        if said:
            yield f"At {NUMBERS.get(layers, layers)} layers, what is lost in N and then in 4N steps. {' '.join(said)}"
        else:
            missing.append(NUMBERS.get(layers, str(layers)))
    if missing:
        *most, last = missing
        yield f"Four times the steps at {', '.join(most)}{' and ' * bool(most)}{last} layers: {NOT_RUN}."


def short_cell(row: Row) -> str:
    """An effect without its interval, and its word."""
    if not row["mean"] or row["word"].startswith("trained") or row["word"] == "both dead":
        return row["word"]
    return f"{three_digits(row['mean'])} ({row['word']})"


def sooner() -> Iterator[str]:
    """Yield how much sooner skips reach the same score, over natural text."""
    for row in effects_of("convergence"):
        if row["comparison"] == "post" and row["where"] == "pooled":
            link = "claims/convergence.md"
            if row["word"] == "helps":
                bound = f"{row['bound']} " if row["bound"] else ""
                often = f"{bound}{2 ** float(row['mean']):.1f} times as many steps"
                yield f"At six layers, {linked('the same score takes', link)} {often} without skips."
            else:
                yield f"At six layers, {linked('whether skips reach a score sooner', link)}: {row['word']}."


def depth_score(variant: str, layers: int) -> Row | None:
    """The committed scores of a network of the grid `depth`."""
    rows = committed("depth/docstrings/summary.csv")
    return next((row for row in rows if (row["variant"], row["layers"]) == (variant, str(layers))), None)


def without_skips_at_24() -> Iterator[str]:
    """Yield the best score without skips at 24 layers."""
    rows = [row for name in ("no_residual", "plain", "plain_gain") if (row := depth_score(name, 24))]
    usual = depth_score("pre_ln", 24)
    if rows and usual:
        best = max(rows, key=lambda row: float(row["macro_f1"]))
        score, other = (three_digits(row["macro_f1"]) for row in (best, usual))
        link = linked("500 steps without skips", "../docs/depth.md")
        yield f"At 24 layers, {link} score {score} at best, Pre-LN {other}."


def rates_with_norms() -> Iterator[str]:
    """Yield what norms do to the rates that train, without warm-up."""
    words = {row["comparison"]: row["word"] for row in effects_of("stable_training") if row["where"] == "together"}
    for name, block, rate in (("pre_003", "Pre-LN", "0.03"), ("post_0003", "Post-LN", "0.003")):
        verbs = {"helps": f"let rate {rate} train", "harms": f"keep rate {rate} from training"}
        if words.get(name) in verbs:
            yield f"Norms as {block} {linked(verbs[words[name]], 'claims/stable_training.md')}, without warm-up."
        elif name in words:
            link = linked(f"training at rate {rate}", "claims/stable_training.md")
            yield f"Norms as {block}, for {link} without warm-up: {words[name]}."


def smaller_start() -> Iterator[str]:
    """Yield how far a smaller start takes the place of norms at 24 layers."""
    tuned, usual = depth_score("no_norm_gain", 24), depth_score("pre_ln", 24)
    if tuned and usual:
        trained = f"{tuned['trained']} of {tuned['seeds']} runs"
        score, other = (three_digits(row["macro_f1"]) for row in (tuned, usual))
        link = linked("a smaller start", "../docs/depth.md")
        yield f"Without norms at 24 layers, {link} trains {trained} and scores {score}; Pre-LN scores {other}."


def no_blocks() -> Iterator[str]:
    """Yield whether blocks are worth more than none, over natural text."""
    for row in committed("claims/across.csv"):
        if row["added"] == "Pre-LN blocks over none" and row["where"] == "pooled":
            page = "../docs/findings.md#what-does-each-part-add"
            link = linked("Pre-LN blocks over a bag of embeddings", page)
            yield f"{link}, natural text: {estimate(row)}, {row['word'] or 'no word'}."


def how_sure() -> list[list[str]]:
    """What each source of error is covered by."""
    lines = list(lost_lines())
    run = [row for *_, chosen in lines for row in chosen if row["word"] != NOT_RUN]
    pairs = sorted({int(row["pairs"]) for row in run if row["pairs"]})
    sources = sorted({row["sources"] for row in run if row["sources"]})
    longer = [line for line, place in zip(lines, PLACES, strict=True) if place[3] == "4N steps"]
    made = sum(any(row["word"] != NOT_RUN for row in chosen) for *_, chosen in longer)
    started = sum(any(row["grid"] == START_TUNED_IN and row["word"] != NOT_RUN for row in line[3]) for line in lines)
    notebook = "../docs/notebook/2026-11.md#2026-11-30--what-does-an-audit-of-the-evidence-find"
    start = "../docs/findings.md#how-much-of-this-is-the-start"
    return [
        ["source", "what we know"],
        ["seeds", f"covered: {linked(f'{pairs[0]} to {pairs[-1]} pairs of runs', EFFECTS)}"],
        ["test rows", f"covered, {linked('by file on docstrings', 'claims/across.md')}"],
        [
            "corpora",
            f"covered over {', '.join(sources)} sources; {linked('a new one', 'claims/across.md')} is less sure",
        ],
        ["tuning", tuning_said(notebook)],
        [
            "budget",
            f"{linked('one per corpus', 'claims/across.md#budgets')}; 4N steps run in {made} of {len(longer)} lines",
        ],
        ["start", f"tuned in {started} of {len(lines)} lines; {linked('elsewhere 0.02', start)}"],
    ]


def tuning_said(notebook: str) -> str:
    """How often another tuning seed chooses differently, as the reports of grids with several say it."""
    first = f"{linked('one seed', notebook)} in `claims` and `depth`, which choose differently in 12 of 36 cells"
    said = [first]
    for report in sorted(RESULTS.glob(f"{START_TUNED_IN}/*/report.md")):
        found = re.search(r"(\d+ of \d+) pairs of tuning seeds choose different", report.read_text(encoding="utf-8"))
        if found:
            name = f"{START_TUNED_IN}/{report.parent.name}/report.md"
            said.append(
                f"{linked(f'{found[1]} pairs of seeds', name)} do on {report.parent.name} in `{START_TUNED_IN}`"
            )
    return "; ".join(said)
