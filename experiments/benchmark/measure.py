"""What is measured for each question. Every function prints as it goes and returns rows for the table."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from experiments.benchmark.growth import AXES, LENGTH, GrowthAxis, growth_along
from experiments.benchmark.memory import measure_rows, peak_memory_of
from experiments.benchmark.roster import ROSTER, dropout_of, precision_of
from experiments.benchmark.rounds import Round, matrix_product_rates, measured_rounds, runs_per_hour, seconds_of_runs
from experiments.benchmark.side_by_side import train_side
from experiments.benchmark.sides import (
    REQUIREMENTS,
    SIDES,
    is_available,
    named_side,
    require_package,
    train_with_lightning,
)
from experiments.benchmark.table import as_measurements, machine, measurement, setting_of
from experiments.benchmark.task import BenchmarkTask, GeneratedTask, SideTiming
from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.planning.run_config import RunConfig
from experiments.runs.provenance import usable_cores
from experiments.runs.training import prepare_process

Rows = list[dict[str, str]]


def announced_machine(config: RunConfig, console: Console) -> dict[str, str]:
    """Return what the table says about the machine, print it, and set this process up as a run's."""
    about = machine()
    console.print(f"{about['cpu']}, {about['cores']} cores, load average {about['load_average']}", highlight=False)
    prepare_process(config.threads)
    return about


def counts(timing: SideTiming) -> dict[str, float]:
    """Return the columns of a table's row that a timing fills."""
    return {name: getattr(timing, name) for name in ("seconds", "steps", "rows", "tokens", "positions")}


def measure_sides(config: RunConfig, options: Namespace, console: Console) -> Rows:
    """Measure every side round by round, then its memory."""
    names = chosen_sides(options.sides, config.task, console)
    about = announced_machine(config, console)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    task = BenchmarkTask(config, options.dropout)
    with console.status("preparing the corpus"):
        flops = task.flops_per_token()
    rounds = list(
        side_rounds(
            task, names, options.rounds, console, processes=options.processes, measure_machine=matrix_product_rates
        )
    )
    peaks = {}
    for name in names if options.memory else ():
        with console.status(f"measuring the memory of {name}"):
            peaks[name] = peak_memory_of(name, config, options.dropout)
    series = (
        f"sides+task={config.task}+width={config.model.width}+layers={config.model.depth}+threads={config.threads}"
        f"+processes={options.processes}+precision={config.trainer.precision}+dropout={options.dropout}"
    )
    if options.sides is not None:  # other sides are another comparison, and their rounds stay
        series += f"+sides={','.join(names)}"
    return [
        measurement(
            "side",
            side,
            side,
            setting_of(config, series, **trained_by(side, config, options)) | about,
            **counts(timing),
            round=each.number,
            peak_memory_mib=peaks.get(side),
            flops_per_token=flops,
            **{f"machine_{name}_gflops": rate / 1e9 for name, rate in each.machine_rates.items()},
        )
        for each in rounds
        for side, timing in each.measured.items()
    ]


def trained_by(side: str, config: RunConfig, options: Namespace) -> dict[str, str]:
    """Return what of the setting depends on the side, by column."""
    return {
        "precision": precision_of(side, config.trainer.precision),
        "dropout": dropout_of(side, options.dropout),
        "processes": str(options.processes),
    }


def chosen_sides(given: Sequence[str] | None, task: str, console: Console) -> list[str]:
    """Return the sides to measure: those given, or all that train the task and whose package is installed.

    Raises:
        ExperimentError: for a side that is unknown, named twice, lacks its package or does not train the task.
    """
    able = [name for name in SIDES if task in ROSTER[name].tasks]
    if given is None:
        absent = [name for name in able if not is_available(name)]
        if absent:
            console.print(f"left out: {', '.join(absent)}; pip install -r {REQUIREMENTS} to measure them")
        return [name for name in able if name not in absent]
    if not given:
        raise ExperimentError(f"--sides is empty; name some of: {', '.join(able)}")
    for name in given:
        named_side(name, task)
        require_package(name)
        if given.count(name) > 1:
            raise ExperimentError(f"--sides names {name} {given.count(name)} times")
    return list(given)


def side_rounds(
    task: BenchmarkTask,
    names: Sequence[str],
    rounds: int,
    console: Console,
    *,
    processes: int = 1,
    measure_machine: Callable[[], Mapping[str, float]] = dict,
) -> Iterator[Round[str, SideTiming]]:
    """Yield rounds over sides, printed as they come.

    Raises:
        ExperimentError: if sides trained on different amounts of text.
    """
    measured = partial(train_side, task=task, processes=processes)
    for each in measured_rounds(names, measured, rounds, measure_machine=measure_machine):
        tokens = {name: timing.tokens // timing.copies for name, timing in each.measured.items()}
        if len(set(tokens.values())) > 1:
            amounts = ", ".join(f"{name} on {count}" for name, count in tokens.items())
            raise ExperimentError(f"the sides trained on different numbers of tokens, {amounts}: not the same work")
        speeds = ", ".join(f"{name} {each.measured[name].tokens_per_second:.0f}" for name in names)
        console.print(f"round {each.number} of {rounds}, real tokens/s: {speeds}", highlight=False, soft_wrap=True)
        yield each


def measure_pair(config: RunConfig, options: Namespace, console: Console) -> Rows:
    """Measure one side and the one it is compared with in interleaved pairs, then one worker and several."""
    names = (options.side or "lightning", options.against or "plain")
    for name in names:
        named_side(name, config.task)
        require_package(name)
    about = announced_machine(config, console)
    task = BenchmarkTask(config, options.dropout)
    with console.status("preparing the corpus"):
        _ = task.data  # read before the clocks run
    ours, theirs = names
    rows = [
        measurement(
            "pair",
            f"{ours}/{theirs}",
            side,
            setting_of(config, f"{ours}_against_{theirs}", **trained_by(side, config, options)) | about,
            **counts(timing),
            round=each.number,
        )
        for each in side_rounds(task, names, options.pairs, console, processes=options.processes)
        for side, timing in each.measured.items()
    ]
    steps = task.step_count
    return rows + measure_pool(replace(config, threads=1), options, steps, about, console)


def measure_pool(config: RunConfig, options: Namespace, steps: int, about: Mapping[str, str], console: Console) -> Rows:
    """Measure the runs per hour of one worker and of several; nothing unless there are several."""
    if options.workers < 2:
        return []
    setting, rows = setting_of(config, "pool") | dict(about), []
    counted = (1, options.workers)
    measure = partial(runs_per_hour, config, runs_each=options.runs_each)
    for each in measured_rounds(counted, measure, options.worker_rounds, warm_up=()):
        rows += [
            measurement("pool", count, "lightning", setting, round=each.number, steps=steps, runs_per_hour=rate)
            for count, rate in each.measured.items()
        ]
        alone, together = (each.measured[count] for count in counted)
        console.print(
            f"round {each.number} of {options.worker_rounds}: one worker {alone:.0f} runs per hour, "
            f"{options.workers} workers {together:.0f}, ratio {together / alone:.2f}",
            highlight=False,
        )
    return rows


def measure_growth(config: RunConfig, options: Namespace, console: Console) -> Rows:
    """Measure the seconds of every size along the axes asked for.

    Raises:
        ExperimentError: for an unknown axis, or if none has two sizes on this machine.
    """
    names = list(options.growth or AXES)
    for name in names:
        reject_unknown("axis of growth", name, AXES)
    about = announced_machine(config, console)
    rows: Rows = []
    for axis in (fitting(AXES[name]) for name in names):
        if len(axis.values) < 2:
            console.print(f"{axis.name}: left out, this machine has one core", highlight=False)
            continue
        corpus = config.data.slug if axis.name in ("seeds", "workers") else "generated"
        setting = setting_of(config, f"growth+{axis.name}", corpus=corpus) | about
        measured = [
            measurement(
                axis.name,
                value,
                "lightning",
                setting,
                round=each.number,
                seconds=seconds,
                steps=value // config.data.batch_size if axis.name == "rows" else options.steps,
            )
            for each in measured_rounds(
                axis.values, seconds_along(axis, config, options), options.rounds, warm_up=axis.values[:1]
            )
            for value, seconds in each.measured.items()
        ]
        (found,) = growth_along(as_measurements(measured))
        console.print(f"{axis.name}: {found.sentence}", highlight=False, soft_wrap=True)
        rows += measured
    if not rows:
        raise ExperimentError("along --growth [workers] there is nothing to measure: this machine has one core")
    return rows


def fitting(axis: GrowthAxis) -> GrowthAxis:
    """Return an axis without more workers than there are cores, up to all of them."""
    if axis.name != "workers":
        return axis
    cores = usable_cores()
    return replace(axis, values=tuple(sorted({1, *(2**power for power in range(1, 7) if 2**power < cores), cores})))


def seconds_along(axis: GrowthAxis, config: RunConfig, options: Namespace) -> Callable[[int], float]:
    """Return what measures the seconds of one size along an axis."""
    match axis.name:
        case "seeds":
            return lambda count: seconds_of_runs(config, count)
        case "workers":
            return lambda count: 3600 / runs_per_hour(config, count, options.runs_each)
    return lambda value: train_with_lightning(task_along(axis, value, config, options.steps)).seconds


def task_along(axis: GrowthAxis, value: int, config: RunConfig, steps: int) -> GeneratedTask:
    """Return the task whose size along an axis is ``value`` and which is otherwise as configured."""
    sizes = {"data.max_length": LENGTH}
    match axis.name:
        case "depth":
            sizes["model.layers"] = value
        case "width":
            sizes["model.width"] = value
        case "length":
            sizes["data.max_length"] = value
        case "rows":
            steps = value // config.data.batch_size
    return GeneratedTask(config.with_values(dict(sizes)), steps=steps)


def measure_memory(options: Namespace, console: Console) -> Rows:
    """Measure the memory of preparing, and of training on, every number of rows.

    Raises:
        ExperimentError: if the system does not tell a process's memory.
    """
    about = machine()
    rows = []
    for count in options.memory_rows:
        with console.status(f"preparing and training on {count:,} rows"), tempfile.TemporaryDirectory() as scratch:
            config, peaks = measure_rows(count, Path(scratch))
        setting = setting_of(config, "memory", corpus="generated") | about
        rows += [
            measurement(
                "memory",
                count,
                part,
                setting,
                round=1,
                rows=count,
                seconds=peak.seconds,
                peak_memory_mib=peak.resident,
                anonymous_mib=peak.anonymous,
            )
            for part, peak in peaks.items()
        ]
    return rows
