"""What a training step costs under each scheme: those of the claims, named ones, or all that can be trained."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import Namespace
from rich.console import Console

from experiments.benchmark.measure import Rows, announced_machine, counts
from experiments.benchmark.roster import CLASSIFICATION
from experiments.benchmark.rounds import measured_rounds
from experiments.benchmark.sides import train_with_lightning
from experiments.benchmark.table import measurement, setting_of
from experiments.benchmark.task import BenchmarkTask, SideTiming
from experiments.errors import ExperimentError
from experiments.making.display import duration
from experiments.making.pricing import LOOP, START_SECONDS, PriceList
from experiments.planning.grid import Grid
from experiments.planning.names import reject_unknown
from experiments.planning.run_config import RunConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.schemes.variants import VARIANTS

VARIANTS_GRID = "claims"
"""The grid whose variants are measured unless others are named."""
ALL = "all"
"""What to name for every variant that can be trained here."""


def measure_variants(config: RunConfig, options: Namespace, console: Console) -> Rows:
    """Measure a training step of every variant round by round, after saying how long that takes.

    Of ``all``, those that cannot be built or trained to the end here are left out, which is said.

    Raises:
        ExperimentError: if a variant that was named is unknown, or its guard stopped it before its last step.
    """
    names, every = chosen_variants(options.variants), ALL in options.variants
    about = announced_machine(config, console)
    tasks: dict[str, BenchmarkTask] = {}
    for name in names:
        try:
            tasks[name] = BenchmarkTask(config.with_values({"model.variant": name}))
        except (ConfigurationError, ExperimentError) as error:
            if not every:
                raise
            left_out(name, error, console)
    with console.status("preparing the corpus and measuring a step"):
        for task in tasks.values():
            _ = task.data.facts  # read before the clocks run
        price = price_of(tasks, options.rounds)
    console.print(f"{len(tasks)} variants, {options.rounds} rounds and a warm-up: about {duration(price)}")
    for name in list(tasks):  # the warm-up, which also finds out what can be trained
        try:
            trained_whole(name, tasks[name])
        except (ConfigurationError, ExperimentError) as error:
            if not every:
                raise
            left_out(name, error, console)
            del tasks[name]
    rows, series = [], "variants" + "+all" * every + f"+task={config.task}" * (config.task != CLASSIFICATION)
    measured = measured_rounds(list(tasks), lambda name: trained_whole(name, tasks[name]), options.rounds, warm_up=())
    for each in measured:
        for name, timing in each.measured.items():
            setting = setting_of(config, series, variant=name) | about
            rows.append(measurement("variant", name, "lightning", setting, **counts(timing), round=each.number))
        steps = {name: 1000 * timing.seconds / timing.steps for name, timing in each.measured.items()}
        told = ", ".join(f"{name} {steps[name]:.1f}" for name in tasks)
        console.print(f"round {each.number} of {options.rounds}, ms per step: {told}", highlight=False, soft_wrap=True)
    return rows


def left_out(name: str, error: Exception, console: Console) -> None:
    """Say which variant is left out, and why."""
    console.print(f"left out: {name}: {error}", markup=False, highlight=False, soft_wrap=True)


def trained_whole(name: str, task: BenchmarkTask) -> SideTiming:
    """Train a variant once.

    Raises:
        ExperimentError: if its guard stopped it before its last step.
    """
    timing = train_with_lightning(task)
    if timing.steps != task.step_count:
        raise ExperimentError(f"{name} diverged after {timing.steps} of {task.step_count} steps: not the same work")
    return timing


def price_of(tasks: dict[str, BenchmarkTask], rounds: int) -> float:
    """Return the seconds that warm-up and rounds take: a step measured here, scaled by each network's arithmetic.

    A scheme whose cost lies in small kernels takes longer than its arithmetic says.
    """
    prices, seconds = PriceList(), 0.0
    for task in tasks.values():
        facts = task.data.facts
        tokens = facts.train_tokens * task.step_count / facts.steps_per_epoch
        flops = prices.counts(task.config, facts).flops_per_token
        seconds += START_SECONDS + LOOP * flops * tokens / prices.speed(task.config, task.data)
    return (1 + rounds) * seconds


def chosen_variants(given: Sequence[str]) -> list[str]:
    """Return the variants to measure: those given, all of ours, or without any those of the grid ``claims``.

    Raises:
        ExperimentError: if one is unknown or named twice, or there is nothing to compare it with.
    """
    if not given:
        conditions = [condition for condition in Grid.load(VARIANTS_GRID).conditions if not condition.baseline]
        return list(dict.fromkeys(condition.config.model.variant for condition in conditions))
    if ALL in given:
        if len(given) > 1:
            raise ExperimentError(f"--variants names {ALL} and others; leave out the others")
        return list(VARIANTS)
    for name in given:
        reject_unknown("variant", name, VARIANTS)
        if given.count(name) > 1:
            raise ExperimentError(f"--variants names {name} {given.count(name)} times")
    if len(given) < 2:
        raise ExperimentError(f"--variants names {given[0]} alone; name another one to compare it with")
    return list(given)
