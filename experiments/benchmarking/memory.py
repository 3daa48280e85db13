"""Peak memory of a side, in a process of its own: a process never gives back its highest mark."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from experiments.planning.run_config import RunConfig


def peak_memory_of(side: str, config: RunConfig) -> float:
    """Return the peak resident memory, in MiB, of a fresh process that trains one side once.

    Interpreter, libraries and data are part of it.

    Raises:
        ExperimentError: where the side is not known or its package is missing.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(train_and_measure, side, config).result()


def train_and_measure(side: str, config: RunConfig) -> float:
    """Train one side in this process; return the peak resident memory since its start, in MiB."""
    from experiments.benchmarking.sides import named_side
    from experiments.benchmarking.task import Task
    from experiments.runs.training import prepare_process

    prepare_process(config.threads)
    named_side(side)(Task(config))
    return peak_memory()


def peak_memory(status: Path = Path("/proc/self/status")) -> float:
    """Return the peak resident memory of this process, in MiB.

    Linux's own mark (``VmHWM``) is preferred: ``getrusage`` also remembers the parent that started the process.
    """
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    units_per_mib = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mib
