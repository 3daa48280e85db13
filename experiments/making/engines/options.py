"""The options that choose an engine, and the one place where it is chosen."""

from __future__ import annotations

from dataclasses import dataclass, fields

from jsonargparse import ArgumentParser, Namespace

from experiments.errors import ExperimentError
from experiments.making.engines.engine import Engine
from experiments.making.pool import default_workers
from experiments.planning.names import reject_unknown

CLUSTER_OPTIONS = ("cpus_per_run", "gpus_per_run", "max_retries", "ray_address")
"""Options that mean nothing to the engine ``local``."""


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
        reject_unknown("--engine", self.engine, sorted(ENGINES))
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


def local_engine(options: EngineOptions) -> Engine:
    """Return a pool of worker processes.

    Raises:
        ExperimentError: where an option is for a cluster.
    """
    from experiments.making.engines.local import LocalEngine

    defaults = {field.name: field.default for field in fields(EngineOptions)}
    for name in CLUSTER_OPTIONS:
        if getattr(options, name) != defaults[name]:
            raise ExperimentError(f"--{name} needs --engine ray")
    return LocalEngine(options.workers or default_workers())


def ray_engine(options: EngineOptions) -> Engine:
    """Return an engine that sends runs to a Ray cluster."""
    from experiments.cluster.ray_cluster import RayEngine

    return RayEngine(options)


ENGINES = {"local": local_engine, "ray": ray_engine}


def add_engine_options(parser: ArgumentParser) -> None:
    """Give ``parser`` a flag for every option."""
    parser.add_class_arguments(EngineOptions)


def chosen_options(parsed: Namespace) -> EngineOptions:
    """Return the options that stand on a parsed command line.

    Raises:
        ExperimentError: for an impossible one.
    """
    return EngineOptions(**{field.name: parsed[field.name] for field in fields(EngineOptions) if field.name in parsed})


def chosen_engine(parsed: Namespace) -> Engine:
    """Return the engine that a parsed command line asks for.

    Raises:
        ExperimentError: for an impossible option.
    """
    options = chosen_options(parsed)
    return ENGINES[options.engine](options)


def chosen_workers(parsed: Namespace) -> int:
    """Return how many runs would be made at the same time: as asked, or one per CPU core of this machine."""
    return chosen_options(parsed).workers or default_workers()
