"""The memory of a side, and of preparing and training as the number of rows grows: each in its own process.

A process never gives back its highest mark, so every measurement starts a fresh one.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from data_modules.config import DataConfig
from experiments.benchmark.roster import OWN_PLACES
from experiments.benchmark.table import EVALUATION_ROWS
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.planning.runs import Run
from experiments.runs.provenance import STATUS, memory_in
from lightning_modules.config import ModelConfig

LOOK_SECONDS = 0.05
"""Seconds between two looks at a process."""

CLASSES = 5
WORDS = 20_000
SHORTEST, LONGEST = 6, 24
"""Words of a generated row."""
PIECE = 50_000
"""Rows that are generated at a time."""
MARKS = 200
"""Number of words in the vocabulary that tell the class, so that there is something to learn."""


def peak_memory_of(side: str, config: RunConfig, dropout: str = OWN_PLACES) -> float:
    """Return the peak resident memory, in MiB, of a fresh process that trains one side once.

    Interpreter, libraries and data are part of it.

    Raises:
        ExperimentError: if the side is unknown, its package is missing, or the system does not tell the memory.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(train_and_measure, side, config, dropout).result()


def train_and_measure(side: str, config: RunConfig, dropout: str) -> float:
    """Train one side in this process; return the peak resident memory since its start, in MiB."""
    from experiments.benchmark.sides import named_side
    from experiments.benchmark.task import BenchmarkTask
    from experiments.runs.training import prepare_process

    prepare_process(config.threads)
    named_side(side, config.task)(BenchmarkTask(config, dropout))
    return peak_memory()


def peak_memory(status: Path = STATUS) -> float:
    """Return the peak resident memory of this process, in MiB.

    Linux's own mark (``VmHWM``) is preferred: ``getrusage`` also remembers the parent that started the process.

    Raises:
        ExperimentError: on a system with neither.
    """
    if peak := memory_in(status).get("VmHWM"):
        return peak / 1024
    try:
        import resource
    except ModuleNotFoundError:
        raise ExperimentError("this system does not tell memory; leave it out with --memory false") from None
    units_per_mib = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mib


@dataclass(frozen=True)
class Peak:
    """The most memory that a process held, in MiB."""

    resident: float
    """All resident memory (``VmHWM``)."""
    anonymous: float
    """Without pages of mapped files (largest ``RssAnon`` seen)."""
    seconds: float
    """How long the process took."""


def measure_rows(rows: int, folder: Path) -> tuple[RunConfig, dict[str, Peak]]:
    """Generate ``rows`` training rows in ``folder``; return the run's configuration and peaks by part.

    The parts are ``preparing`` the rows and ``training`` on them.
    Preparing reads, cleans, removes duplicates, splits and tokenises into an empty cache. Training is one epoch with
    validation, scores and record, from the filled cache.

    Raises:
        ExperimentError: if the system does not tell a process's memory.
    """
    run = run_on(folder, rows)
    return run.config, {"preparing": peak_of(fill_cache, run, folder), "training": peak_of(train, run, folder)}


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
    """Return the most memory that a fresh process holds while it does ``work``, interpreter and libraries included.

    Raises:
        ExperimentError: if the system does not tell the memory, or the process fails.
    """
    process = multiprocessing.get_context("spawn").Process(target=work, args=(run, folder))
    started = time.perf_counter()
    process.start()
    resident = anonymous = 0
    while process.is_alive():
        found = memory_in(Path(f"/proc/{process.pid}/status"))
        resident, anonymous = max(resident, found.get("VmHWM", 0)), max(anonymous, found.get("RssAnon", 0))
        process.join(LOOK_SECONDS)
    if process.exitcode != 0:
        raise ExperimentError(f"the process that measures memory ended with status {process.exitcode}")
    if not anonymous:
        raise ExperimentError("this system does not tell the memory of a process (/proc/<pid>/status)")
    return Peak(resident / 1024, anonymous / 1024, time.perf_counter() - started)


def write_rows(path: Path, rows: int, seed: int) -> Path:
    """Write ``rows`` distinct rows as Parquet, columns ``text`` and ``label``, and return the path.

    Words are drawn by Zipf's law (rank r with a weight of 1/r), as in language; one word in each row tells its class.
    """
    schema = pa.schema({"text": pa.string(), "label": pa.string()})
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for piece in generated_pieces(rows, seed):
            writer.write_table(pa.table(piece, schema=schema))
    return path


def generated_pieces(rows: int, seed: int) -> Iterator[dict[str, list[str]]]:
    """Yield ``rows`` rows, at most ``PIECE`` at a time, so that the file may be larger than memory."""
    generator = np.random.default_rng(seed)
    words = np.array([f"w{rank}" for rank in range(WORDS)], dtype=object)
    cumulated = np.cumsum(1 / np.arange(1, WORDS + 1))
    for start in range(0, rows, PIECE):
        count = min(PIECE, rows - start)
        labels = generator.integers(CLASSES, size=count)
        marks = labels * (MARKS // CLASSES) + generator.integers(MARKS // CLASSES, size=count)
        lengths = generator.integers(SHORTEST, LONGEST, size=count, endpoint=True)
        ends = np.cumsum(lengths)
        drawn = words[np.searchsorted(cumulated, generator.random(ends[-1]) * cumulated[-1])].tolist()
        texts = [
            f"mark{mark} {' '.join(drawn[end - length : end])}"
            for mark, length, end in zip(marks.tolist(), lengths.tolist(), ends.tolist(), strict=True)
        ]
        yield {"text": texts, "label": [f"class {label}" for label in labels.tolist()]}
