"""How much memory preparing and training take as rows grow, each in a process of its own.

Resident memory has two parts (``man 5 proc``, ``/proc/<pid>/status``): ``RssAnon``, which the process owns, and
``RssFile``, pages of mapped files, which the system takes back when it needs them. ``VmHWM`` is the peak of both.
"""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data_modules.config import DataConfig
from experiments.benchmarking.generated_rows import write_rows
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.planning.runs import Run
from lightning_modules.config import ModelConfig

EVALUATION_ROWS = 5_000
"""Rows of each of the given validation and test files."""
LOOK_SECONDS = 0.05
"""Between two looks at a process."""
FIELD = re.compile(r"^(VmHWM|RssAnon|RssFile):\s*(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Peak:
    """The most memory that a process held, in MiB."""

    resident: float
    """All resident memory (``VmHWM``)."""
    anonymous: float
    """Without pages of mapped files (largest ``RssAnon`` seen)."""
    seconds: float
    """How long the process took."""


@dataclass(frozen=True)
class RowMemory:
    """Peaks for one number of training rows."""

    rows: int
    preparing: Peak
    """Reading, cleaning, removing duplicates, splitting, tokenising, into an empty cache."""
    training: Peak
    """One epoch, validation, scores and record, from the filled cache."""


def measure_rows(rows: int, folder: Path) -> RowMemory:
    """Generate ``rows`` training rows in ``folder``, prepare them in one process and train on them in another.

    Raises:
        ExperimentError: where the system does not tell a process's memory.
    """
    run = run_on(folder, rows)
    return RowMemory(rows, preparing=peak_of(fill_cache, run, folder), training=peak_of(train, run, folder))


def run_on(folder: Path, rows: int) -> Run:
    """Return a run of a tiny network on a generated file, which is written here."""
    sizes = {"train": rows, "validation": EVALUATION_ROWS, "test": EVALUATION_ROWS}
    files = {
        name: str(write_rows(folder / f"{name}.parquet", size, seed)) for seed, (name, size) in enumerate(sizes.items())
    }
    config = RunConfig(
        model=ModelConfig(variant="pre_ln", layers=1, width=16, heads=2, learning_rate=1e-2),
        data=DataConfig(
            corpus="parquet",
            train_file=files["train"],
            validation_file=files["validation"],
            test_file=files["test"],
            stage="final",
            batch_size=2048,
            max_length=32,
            cache_dir=str(folder / "cache"),
        ),
        trainer=TrainerConfig(max_epochs=1, accelerator="cpu", log_every_n_steps=10),
    )
    return Run(grid="memory", corpus="train", condition="pre_ln", stage="final", seed=0, config=config)


def fill_cache(run: Run, folder: Path) -> None:
    """Prepare and tokenise the corpus, as a grid does before its workers start."""
    from data_modules.cleaning.prepared import prepare
    from data_modules.tokens.encoding import encode

    encode(prepare(run.config.data), run.config.data)


def train(run: Run, folder: Path) -> None:
    """Make the run, as a grid's worker does."""
    from experiments.runs.execute import execute

    execute(run, folder / "results")


def peak_of(work: Callable[[Run, Path], None], run: Run, folder: Path) -> Peak:
    """Return the most memory that a fresh process holds that does ``work``, interpreter and libraries included.

    Raises:
        ExperimentError: where the system does not tell, or the process fails.
    """
    process = multiprocessing.get_context("spawn").Process(target=work, args=(run, folder))
    started = time.perf_counter()
    process.start()
    resident = anonymous = 0
    while process.is_alive():
        found = memory_of(process.pid)
        resident, anonymous = max(resident, found.get("VmHWM", 0)), max(anonymous, found.get("RssAnon", 0))
        process.join(LOOK_SECONDS)
    if process.exitcode != 0:
        raise ExperimentError(f"the process that measures memory ended with status {process.exitcode}")
    if not anonymous:
        raise ExperimentError("this system does not tell the memory of a process (/proc/<pid>/status)")
    return Peak(resident / 1024, anonymous / 1024, time.perf_counter() - started)


def memory_of(process: int | None) -> dict[str, int]:
    """Return the memory of a process in KiB by the names of ``/proc/<pid>/status``; nothing where it is not known."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return {}
    return {name: int(value) for name, value in FIELD.findall(status)}
