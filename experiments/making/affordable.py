"""What an answer for somebody's corpus can afford within a given time: five blocks, fairly tuned, at N and at 4N steps.

Levels go from rich to poor. The richest one is taken that reaches the steps that the corpus asks for; if none does, the
richest that reaches half of them, then the poorest with the steps that are left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.errors import ExperimentError
from experiments.making.display import duration

BLOCKS = ("pre_ln", "post_ln", "no_norm", "no_residual", "plain")
"""Blocks with skips and norms before or after, with one of them, with neither."""
LONGER = 4
"""The second budget, in multiples of the first."""
LEAST_STEPS = 100
"""Below this many steps, a comparison of blocks would compare warm-ups."""
WANTED_EPOCHS, WANTED_STEPS = 4, (200, 2000)
"""The first budget that is aimed for: passes over the rows, and the fewest and the most steps."""
VALIDATIONS = 4
"""Validations of a run at the first budget."""
MOST_SEEDS = 10
UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much care a plan takes, apart from its steps."""

    rates: tuple[float, ...]
    """The pilot's learning rates."""
    starts: tuple[float, ...]
    """Standard deviations at which embeddings start."""
    around: tuple[float, ...] = (1.0,)
    extend: int = 0
    confirm_seeds: int = 0
    carry: int = 1
    """Trials at the longer budget."""
    seeds: int = 3
    budgets: tuple[int, ...] = (1, LONGER)
    blocks: tuple[str, ...] = BLOCKS
    lost: str = ""
    """What this level lacks and a richer one has, as a sentence for the reader; empty for the richest."""


RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
STARTS = (0.02, 0.2, 1.0)
RICHEST = Effort(rates=RATES, starts=STARTS, around=(1.0, 0.5), extend=3, confirm_seeds=2, carry=3, seeds=5)
SINGLE_SEED = "Settings were chosen with one tuning seed, which is a lottery for blocks that fail now and then."
LEVELS = (
    RICHEST,
    replace(RICHEST, around=(1.0,), extend=2, confirm_seeds=1, carry=2, seeds=3, lost="Three seeds instead of five."),
    replace(RICHEST, rates=RATES[1:4], around=(1.0,), extend=1, confirm_seeds=0, seeds=3, carry=1, lost=SINGLE_SEED),
    Effort(
        rates=RATES[1:4],
        starts=STARTS[:2],
        budgets=(1,),
        lost=f"{SINGLE_SEED} One budget only: the blocks may differ less, or more, with four times the steps.",
    ),
    Effort(
        rates=RATES[1:4],
        starts=STARTS[:1],
        budgets=(1,),
        lost=f"{SINGLE_SEED} One budget, and the start of the embeddings that suits Pre-LN.",
    ),
)


@dataclass(frozen=True)
class AffordablePlan:
    """A level and the steps of its first budget."""

    level: Effort
    steps: int
    seconds: float
    """Seconds of all workers together."""

    @property
    def budgets(self) -> list[int]:
        """Steps of every budget."""
        return [times * self.steps for times in self.level.budgets]


Priced = Callable[[Effort, int], float]
"""Seconds of one worker that a level takes with a number of steps."""


def affordable_plan(seconds: float, wanted: int, priced: Priced, levels: Sequence[Effort] = LEVELS) -> AffordablePlan:
    """Return the richest plan that a time allows.

    Args:
        seconds: of all workers together.
        wanted: steps that the corpus asks for.
        priced: the price of a level; it grows in proportion to the steps, apart from a constant.
        levels: from rich to poor.

    Raises:
        ExperimentError: the poorest level does not fit; the message says what would be enough.
    """
    reached = [(level, steps_within(seconds, level, priced)) for level in levels]
    for share in (1.0, 0.5):
        for level, steps in reached:
            if steps >= share * wanted:
                taken = min(steps, wanted)
                return more_seeds(AffordablePlan(level, taken, priced(level, taken)), seconds, priced)
    level, steps = reached[-1]
    if steps < LEAST_STEPS:
        enough = priced(level, LEAST_STEPS)
        raise ExperimentError(
            f"the smallest plan, {LEAST_STEPS} steps of {len(level.blocks)} blocks, takes {duration(enough)} of one "
            f"core, and the budget allows {duration(seconds)}; give a larger --budget"
        )
    return AffordablePlan(level, steps, priced(level, steps))


def steps_within(seconds: float, level: Effort, priced: Priced) -> int:
    """Return the most steps with which a level costs no more than ``seconds``."""
    fixed, per_step = priced(level, LEAST_STEPS), priced(level, 2 * LEAST_STEPS) - priced(level, LEAST_STEPS)
    return int(LEAST_STEPS * (1 + (seconds - fixed) / per_step))


def more_seeds(plan: AffordablePlan, seconds: float, priced: Priced) -> AffordablePlan:
    """Spend what the richest level leaves on further seeds."""
    while plan.level.seeds < MOST_SEEDS and not plan.level.lost:
        level = replace(plan.level, seeds=plan.level.seeds + 1)
        price = priced(level, plan.steps)
        if price > seconds:
            break
        plan = AffordablePlan(level, plan.steps, price)
    return plan


def wanted_steps(steps_per_epoch: int) -> int:
    """Return the steps that a corpus asks for."""
    least, most = WANTED_STEPS
    return min(max(WANTED_EPOCHS * steps_per_epoch, least), most)


def grid_content(level: Effort, steps: int, steps_per_epoch: int, precision: str) -> dict[str, Any]:
    """Return the grid file of a plan."""
    budgets = [times * steps for times in level.budgets]
    tuning: dict[str, Any] = {
        "pilot": {"model.learning_rate": list(level.rates)},
        "around": list(level.around),
        "spaces": {"default": {"model.embedding_std": list(level.starts)}},
        "extend": level.extend,
    }
    if level.confirm_seeds:
        tuning["confirm"] = {"top": 3, "seeds": level.confirm_seeds}
    if len(budgets) > 1:
        tuning["carry"] = {"trainer.max_steps": level.carry}
    bag = {
        "variant": "bag_of_embeddings",
        "sweep": False,
        "tune": False,
        "model": {"learning_rate": 1e-2},
        "trainer": {"max_steps": budgets[-1]},
    }
    return {
        "title": "Which block for these texts?",
        "purpose": level.lost,
        "conditions": [*level.blocks, bag],
        "baselines": ["tfidf_logistic_regression"],
        "seeds": level.seeds,
        "model": {"width": 64, "heads": 4, "warmup_fraction": 0.1},
        "trainer": {
            "precision": precision,
            "val_check_interval": min(1.0, max(1, steps // VALIDATIONS) / steps_per_epoch),
        },
        "sweep": {"trainer.max_steps": budgets},
        "tuning": tuning,
    }


def seconds_of(budget: str) -> float:
    """Return the seconds of a time such as ``90s``, ``30m``, ``1.5h``.

    Raises:
        ExperimentError: it is something else, or not above 0.
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", budget.strip())
    if found is None or float(found[1]) == 0:
        raise ExperimentError(f"--budget is {budget[:40]!r}; it must be a time such as 90s, 30m or 2h")
    return float(found[1]) * UNITS[found[2]]


def too_small(rows: Mapping[str, int], classes: int) -> str | None:
    """Say why a corpus is too small to compare blocks on, and what would be enough; None if it is not."""
    least = {"train": max(100, 10 * classes), "validation": max(30, 5 * classes), "test": max(30, 5 * classes)}
    if classes < 2:
        return f"the corpus has {classes} class; an answer needs at least 2"
    for split, needed in least.items():
        if rows.get(split, 0) < needed:
            return (
                f"the corpus has {rows.get(split, 0)} {split} rows of {classes} classes; an answer needs at least "
                f"{needed} (train {least['train']}, validation {least['validation']}, test {least['test']})"
            )
    return None
