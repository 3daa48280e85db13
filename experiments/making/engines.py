"""Where the runs of a grid are made: in processes of this machine, or on the nodes of a Ray cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self

from jsonargparse import ArgumentParser, Namespace

from experiments.errors import ExperimentError
from experiments.making.messages import Event
from experiments.making.pool import Pool
from experiments.planning.names import reject_unknown
from experiments.planning.run_config import checked
from experiments.planning.runs import Run
from experiments.runs.provenance import usable_cores

ENGINES = ("local", "ray")
CLUSTER_OPTIONS = ("cpus_per_run", "gpus_per_run", "max_retries", "ray_address")
"""Options that mean nothing to the engine ``local``."""


class Engine(ABC):
    """Makes runs. It is a context manager that holds what it needs until it is left."""

    def __enter__(self) -> Self:
        """Make sure that runs can be made.

        Raises:
            ExperimentError: if they cannot; the message says what to do.
        """
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what was taken."""
        return

    @abstractmethod
    def make_runs(
        self, runs: Sequence[Run], results: Path, is_made: Callable[[Run], bool]
    ) -> Generator[Event, None, None]:
        """Yield what happens while runs are made, until every run has ended; closing the generator cancels the rest.

        A run that another process is making, or that ``is_made`` by the time that it would start, is ``Skipped``. One
        that an error stopped, or whose process was lost too often, has a record of its failure and is ``Failed``.

        Raises:
            ExperimentError: if no run can be made at all.
        """


class LocalEngine(Engine):
    """A pool of worker processes of this machine, which start once for all stages of a grid.

    Args:
        workers: processes that make runs at the same time.
    """

    def __init__(self, workers: int) -> None:
        self.pool = Pool(workers)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        self.pool.dismiss()

    def make_runs(
        self, runs: Sequence[Run], results: Path, is_made: Callable[[Run], bool]
    ) -> Generator[Event, None, None]:
        """Make the runs in the pool; closing the generator before they are made ends its processes."""
        yield from self.pool.make_runs(runs, results, is_made)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where `run` makes its runs.

    Raises:
        ExperimentError: at construction, naming the option and the reason.
    """

    engine: str = "local"
    """``local``: worker processes of this machine; ``ray``: a Ray cluster (`pip install -r requirements-cluster.txt`,
    on every node)."""

    workers: int | None = None
    """Most runs at the same time (default: one per CPU core of this machine, or all that the cluster has room for)."""

    cpus_per_run: float = 1.0
    """CPU cores that a run takes on its node (engine ray)."""

    gpus_per_run: float = 0.0
    """GPUs that a run takes on its node: a share such as 0.25, so that four runs share one, or a whole number; with 0
    a run sees no GPU (engine ray)."""

    max_retries: int = 3
    """How often a run is made again whose node or process was lost (engine ray)."""

    ray_address: str | None = None
    """``HOST:PORT`` of a running cluster that this machine is a node of, or ``auto`` to find it (engine ray; default:
    start Ray on this machine alone, with --workers CPUs)."""

    def __post_init__(self) -> None:
        reject_unknown("--engine", self.engine, ENGINES)
        checked("--", self, dict.fromkeys(("workers", "max_retries", "cpus_per_run", "gpus_per_run"), 10_000))
        if self.workers is not None and self.workers < 1:
            raise ExperimentError(f"--workers is {self.workers}; it must be at least 1")
        if self.cpus_per_run <= 0:
            raise ExperimentError(f"--cpus_per_run is {self.cpus_per_run:g}; it must be above 0")
        for name in ("cpus_per_run", "gpus_per_run"):
            amount = getattr(self, name)
            if amount < 0 or (amount > 1 and amount % 1):
                raise ExperimentError(f"--{name} is {amount:g}; it must be a share of one or a whole number")
        if self.max_retries < 0:
            raise ExperimentError(f"--max_retries is {self.max_retries}; it cannot be negative")
        if (self.ray_address or "").startswith("ray://"):
            raise ExperimentError(
                f"--ray_address is {self.ray_address}; connect from a node of the cluster, by HOST:PORT or auto"
            )


def add_engine_options(parser: ArgumentParser) -> None:
    """Give ``parser`` a flag for every option, and one for the runs that need not be made."""
    parser.add_class_arguments(EngineOptions)
    parser.add_argument(
        "--keep_committed",
        action="store_true",
        help="let `run` count committed records as finished, to go on with a grid begun on another machine",
    )


def chosen_options(parsed: Namespace) -> EngineOptions:
    """Return the options of a parsed command line.

    Raises:
        ExperimentError: for an impossible value.
    """
    return EngineOptions(**{field.name: parsed[field.name] for field in fields(EngineOptions) if field.name in parsed})


def chosen_engine(parsed: Namespace) -> Engine:
    """Return the engine that a parsed command line asks for.

    Raises:
        ExperimentError: for an impossible option, or one that needs another engine.
    """
    return build_engine(chosen_options(parsed))


def build_engine(options: EngineOptions) -> Engine:
    """Return the engine of the options; the cluster's code is imported only if it is asked for.

    Raises:
        ExperimentError: if an option needs another engine.
    """
    if options.engine == "ray":
        return import_module("experiments.cluster.ray_cluster").RayEngine(options)  # a leaf: imported by name
    defaults = {field.name: field.default for field in fields(EngineOptions)}
    for name in CLUSTER_OPTIONS:
        if getattr(options, name) != defaults[name]:
            raise ExperimentError(f"--{name} needs --engine ray")
    return LocalEngine(options.workers or usable_cores())


def chosen_workers(parsed: Namespace) -> int:
    """Return how many runs would be made at the same time: as asked, or one per CPU core of this machine."""
    return chosen_options(parsed).workers or usable_cores()
