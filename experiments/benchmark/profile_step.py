"""Where the time of a training step goes: the operators of one side, by kind, and how low the floor is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jsonargparse import Namespace
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from experiments.benchmark.measure import Rows, announced_machine, counts, trained_by
from experiments.benchmark.rounds import matrix_product_rates
from experiments.benchmark.sides import named_side, require_package
from experiments.benchmark.table import measurement, setting_of
from experiments.benchmark.task import BenchmarkTask
from experiments.planning.run_config import RunConfig

KINDS: Mapping[str, str] = {
    "attention": r"attention|softmax",
    "matrix products": r"(mm|addmv|matmul|linear|einsum|\bdot)(_backward)?_?$",
    "optimiser and clipping": r"fused_adam|fused_sgd|foreach|vector_norm",
    "norms": r"norm(_backward)?$",
    "dropout": r"dropout|bernoulli|::random_",
    "copies and casts": r"copy|clone|contiguous|::to$|::cat$|::stack$|::fill_$|::zero_$|::zeros",
}
"""Kinds of operators, by what their names match; the first that fits counts."""
SMALL = "small kernels"
"""Every other operator: additions, activations, embeddings, losses, views."""
BETWEEN = "between operators"
"""Seconds in which no operator runs: Python, autograd's bookkeeping, data, and the profiler itself."""


def measure_profile(config: RunConfig, options: Namespace, console: Console) -> Rows:
    """Train once under PyTorch's profiler, after a warm-up without it; return seconds by kind of operator.

    Small kernels look dearer than they are, since the profiler takes its time with every one.
    """
    side = options.profile
    train = named_side(side, config.task)
    require_package(side)
    about = announced_machine(config, console)
    task = BenchmarkTask(config, options.dropout)
    with console.status("preparing the corpus"):
        flops = task.flops_per_token()
    train(task)
    profiler: Any = profile(activities=[ProfilerActivity.CPU])
    timing = train(replace(task, ready=profiler.start))  # text and network are there by then
    profiler.stop()
    seconds = seconds_by_kind({event.key: event.self_cpu_time_total / 1e6 for event in profiler.key_averages()})
    seconds[BETWEEN] = max(0.0, timing.seconds - sum(seconds.values()))
    rates = {f"machine_{name}_gflops": rate / 1e9 for name, rate in matrix_product_rates().items()}
    setting = setting_of(config, f"profile+{side}+task={config.task}", **trained_by(side, config, options)) | about
    measured = {**counts(timing), **rates, "flops_per_token": flops}
    return [
        measurement("profile", kind, side, setting, **{**measured, "seconds": spent}, round=1)
        for kind, spent in seconds.items()
    ]


def seconds_by_kind(operators: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of every kind, of operators' own seconds by name; what is no operator is left out."""
    seconds = dict.fromkeys((*KINDS, SMALL), 0.0)
    for name, spent in operators.items():
        if "::" in name and not name.startswith("autograd::"):
            seconds[kind_of(name)] += spent
    return seconds


def kind_of(operator: str) -> str:
    """Return the kind of an operator by its name, such as ``aten::addmm``."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, operator)), SMALL)
