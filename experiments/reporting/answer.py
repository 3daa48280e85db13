"""``answer.md``: one page for one corpus. Which block, what each part is worth, how sure, and the article's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from experiments.escaping import for_markdown
from experiments.paths import own_tables_folder
from experiments.planning.grid import Grid
from experiments.reporting.frame import Description, Row, make_rows
from experiments.reporting.grid_report import ANSWER_FILE, write_report
from experiments.reporting.render import EMPTY, TextTable, joined, plural, rounded, to_markdown
from experiments.reporting.report_tables import article_table
from experiments.reporting.tuned import tuning_lottery
from experiments.runs.naming import TFIDF
from experiments.runs.run_folder import write_atomically
from experiments.runs.store import Evidence
from experiments.statistics.words import BOTH_DEAD, said_of, word_power

BUDGET = "trainer.max_steps"
LOSSES = (
    ("skips, with norms before the sublayer", "pre_ln", "no_residual_pre"),
    ("skips, with norms after the sum", "post_ln", "no_residual"),
    ("norms before the sublayer", "pre_ln", "no_norm"),
    ("norms after the sum", "post_ln", "no_norm"),
    ("skips, without norms", "no_norm", "plain"),
    ("norms and skips, from Pre-LN", "pre_ln", "plain"),
)
"""What goes, from which block, and which one remains."""
BAG = "bag_of_embeddings"


@dataclass(frozen=True)
class Findings:
    """The rows of an answer, by condition and budget."""

    rows: Mapping[tuple[str, int], Row]
    others: Mapping[str, Row]
    """Conditions without a budget of their own: baselines."""

    @property
    def budgets(self) -> list[int]:
        """Steps of every budget, the smallest first."""
        return sorted({steps for _, steps in self.rows})

    def blocks(self, steps: int) -> dict[str, Row]:
        """The rows at one budget, by condition."""
        return {condition: row for (condition, budget), row in self.rows.items() if budget == steps}


def write_answer(
    evidence: Evidence, grid: Grid, description: Description, results: Path, *, everything: bool = False
) -> Path:
    """Write the report of a grid that an answer planned, and the page, and return the page's path."""
    folder = own_tables_folder(results, grid.name, grid.corpus)
    write_report(evidence, folder, description, everything=everything)
    page = folder / ANSWER_FILE
    write_atomically(page, compose_answer(evidence, grid, description).encode())
    return page


def compose_answer(evidence: Evidence, grid: Grid, description: Description) -> str:
    """Return the page's text."""
    found = find(evidence, description)
    sections = [f"# Which block for {for_markdown(grid.corpus)}?"]
    if not found.rows:
        return f"{sections[0]}\n\nNo final run of a block is finished. The same command makes what is missing.\n"
    best = best_block(found)
    sections += [
        "\n".join(f"- {sentence}" for sentence in (*verdict(found, best), scope(evidence, found, grid))),
        "## What is lost without each part?",
        f"Test {metric_title(found)} of the block without the part minus that of the block with it. In parentheses the "
        "95 % interval, over seeds and test rows. A minus sign means that the part helps.",
        to_markdown(losses_table(found)),
        "## How do the blocks compare?",
        to_markdown(scores_table(found)),
        "## How sure is this?",
        "\n".join(f"- {sentence}" for sentence in certainty(evidence, found, grid)),
        f"## The article's table: {for_markdown(after(best))}",
        "Mean ± standard deviation over seeds. A class's accuracy is one-vs-rest, as the article defines it.",
        to_markdown(article_table(best)),
        "## All tables",
        "[report.md](report.md) has every run's protocol and settings; "
        "[summary.csv](summary.csv), [tuning.csv](tuning.csv) and [per_class.csv](per_class.csv) have every digit.",
    ]
    return "\n\n".join(sections) + "\n"


def find(evidence: Evidence, description: Description) -> Findings:
    """Sort the rows by block and budget."""
    rows = make_rows(evidence, description)
    blocks = {(row.condition, int(row.swept[BUDGET])): row for row in rows if BUDGET in row.swept}
    return Findings(blocks, {row.condition: row for row in rows if BUDGET not in row.swept})


def best_block(found: Findings) -> Row:
    """Return the block with the best mean on validation at the largest budget: the test split chooses nothing."""
    metric = next(iter(found.rows.values())).task.primary_metric

    def on_validation(row: Row) -> float:
        values = row.runs[f"validation_{metric.name}"].dropna()
        return float(values.mean()) if len(values) else metric.worst

    choose = max if metric.higher_is_better else min
    return choose(found.blocks(found.budgets[-1]).values(), key=on_validation)


def verdict(found: Findings, best: Row) -> Iterator[str]:
    """Yield which block to take, which others do as well, and whether a network is needed at all."""
    steps = int(best.swept[BUDGET])
    yield (
        f"**{for_markdown(best.title)}** does best on validation after {steps:,} steps. "
        f"On the test split it has {metric_title(found)} {with_interval(best)}."
    )
    alike: list[str] = []
    worse: list[str] = []
    for condition, row in found.blocks(steps).items():
        if condition != best.condition:
            (worse if said(found, condition, best.condition, steps) == "harms" or row.failures else alike).append(
                row.title
            )
    if alike:
        yield f"This run does not tell it apart from {for_markdown(joined(alike))}."
    if worse:
        yield f"Behind it: {for_markdown(joined(worse))}. Each scores less, or some of its runs failed."
    for baseline in (found.others[name] for name in (BAG, TFIDF) if name in found.others):
        if baseline.score.mean is not None:
            lead = (best.score.mean or 0.0) - baseline.score.mean
            yield (
                f"{for_markdown(baseline.title)} has {rounded(baseline.score.mean)}: the block is "
                f"{rounded(abs(lead))} {'above' if lead > 0 else 'below'} it."
            )


def scope(evidence: Evidence, found: Findings, grid: Grid) -> str:
    """Return what all numbers are a property of."""
    record = next(iter(found.rows.values())).records[0]
    rows = record.data.get("rows", {})
    model = record.config["model"]
    return (
        f"Scope: {rows.get('train', 0):,} training rows, {model['layers']} layers of width {model['width']}, "
        f"{plural(len(grid.seeds), 'seed')}, no pretraining."
    )


def losses_table(found: Findings) -> TextTable:
    """Return what each part is worth, at every budget."""
    lines = []
    for part, whole, without in LOSSES:
        if any((whole, steps) in found.rows and (without, steps) in found.rows for steps in found.budgets):
            cells = [loss(found, whole, without, steps) for steps in found.budgets]
            lines.append([part, f"{title(found, whole)} → {title(found, without)}", *cells])
    return TextTable(["without", "blocks", *(f"{steps:,} steps" for steps in found.budgets)], lines)


def loss(found: Findings, whole: str, without: str, steps: int) -> str:
    """Return the effect of leaving a part out with its interval and word."""
    if (whole, steps) not in found.rows or (without, steps) not in found.rows:
        return EMPTY
    word = said(found, without, whole, steps)
    effect = found.rows[without, steps].effect(found.rows[whole, steps])
    if effect is None or word == BOTH_DEAD:
        return word
    # The word of what is left is turned into that of the part that went.
    turned = {"harms": "the part helps", "helps": "the part harms"}.get(word, word)
    ends = effect.interval()
    shown = f" ({rounded(ends[0])} to {rounded(ends[1])})" if ends else ""
    return f"{rounded(effect.mean)}{shown}: {turned}"


def said(found: Findings, first: str, second: str, steps: int) -> str:
    """Return the word for one block minus another at one budget."""
    row, other = found.rows[first, steps], found.rows[second, steps]
    higher = row.task.primary_metric.higher_is_better
    return said_of(row.effect(other), row.task.delta, row.endings, other.endings, higher_is_better=higher)


def scores_table(found: Findings) -> TextTable:
    """Return every block's test score and how its runs ended, at every budget."""
    lines = []
    for condition in dict.fromkeys(name for name, _ in found.rows):
        cells = []
        for steps in found.budgets:
            row = found.rows.get((condition, steps))
            cells += [EMPTY, EMPTY] if row is None else [
                with_interval(row),
                f"{row.count('trained')} of {len(row.records)}",
            ]  # fmt: skip
        lines.append([title(found, condition), *cells])
    columns = [name for steps in found.budgets for name in (f"{steps:,} steps", "trained")]
    for row in found.others.values():
        lines.append([row.title, *[EMPTY] * (len(columns) - 2), rounded(row.score.mean), EMPTY])
    return TextTable(["block", *columns], lines)


def certainty(evidence: Evidence, found: Findings, grid: Grid) -> Iterator[str]:
    """Yield what the numbers cover, what they could have shown, and what was not affordable."""
    estimates = [estimate for row in found.rows.values() if (estimate := row.estimate(row.task.primary)) is not None]
    covered = estimates[0].covers if estimates else "nothing, since one seed has no interval"
    yield f"Intervals cover {covered}. This is one corpus, and another may differ."
    effects = [
        found.rows[without, steps].effect(found.rows[whole, steps])
        for _, whole, without in LOSSES
        for steps in found.budgets
        if {(whole, steps), (without, steps)} <= found.rows.keys()
    ]
    powers = [power for effect in effects if (power := word_power(effect, grid.delta)) is not None]
    if powers:
        chances = {times: fmean(power.helps[times] for power in powers) for times in powers[0].helps}
        times = max(chances)
        yield (
            f"If a part changed the score by {times * grid.delta:g}, this run would say so with a chance of "
            f"{chances[times]:.0%}, and of {chances[min(chances)]:.0%} at {grid.delta:g}, the least that counts here."
        )
    trials = Counter(record.condition for record in evidence.trials)
    if trials:
        few, most = min(trials.values()), max(trials.values())
        count = str(few) if few == most else f"{few} to {most}"
        yield f"Each block had {count} tuning trials on validation rows alone."
    yield from tuning_lottery(evidence)
    rising = [after(row) for row in found.rows.values() if 2 * row.still_rising > len(row.records)]
    if rising:
        yield f"Still rising at the last step, so more steps may help: {for_markdown(joined(rising, 6))}."
    if grid.purpose:
        yield f"Not affordable in this time: {for_markdown(grid.purpose)}"
    yield "The same command with `--all` draws every figure."


def with_interval(row: Row) -> str:
    """Return a test score with its 95 % interval, as far as scores can lie; a single run has none."""
    score, (least, most) = row.score, row.task.primary_metric.bounds
    if score.low is None or score.high is None:
        return rounded(score.mean)
    return f"{rounded(score.mean)} ({rounded(max(least, score.low))} to {rounded(min(most, score.high))})"


def after(row: Row) -> str:
    """Return a block with its budget, as a reader would say it."""
    return f"{row.title} after {row.swept[BUDGET]:,} steps"


def title(found: Findings, condition: str) -> str:
    """Return a block's name for people."""
    return next(row.title for (name, _), row in found.rows.items() if name == condition)


def metric_title(found: Findings) -> str:
    """Return the name of the primary metric."""
    return next(iter(found.rows.values())).task.primary_metric.title
