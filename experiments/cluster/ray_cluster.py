"""Runs on the nodes of a Ray cluster. A lost node costs only its runs, which are made again elsewhere.

This process is the only one that writes to the results: it holds the lock of every run that is under way, sends run and
text, and unpacks what comes back. Nothing else is shared with the nodes, no disk in particular. A Ray that is started
here sends no statistics to anybody.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from data_modules.portable import pack_text
from experiments.cluster.ray_node import Job, make_on_node
from experiments.cluster.run_archive import ArchiveError, unpack_run
from experiments.errors import ExperimentError
from experiments.making.engines import Engine, EngineOptions
from experiments.making.messages import Event, Failed, Message, Skipped
from experiments.making.pool import interrupts_ignored
from experiments.making.worker import is_mistake, write_failure
from experiments.paths import REPOSITORY
from experiments.planning.runs import Run
from experiments.runs.provenance import CODE_VERSION_FILE, code_version, usable_cores, versions
from experiments.runs.run_folder import Busy, locked
from experiments.tasks import LANGUAGE_TASKS
from lightning_modules.schemes.own_files import LOADED

POLL_SECONDS = 1.0
"""Seconds between two looks at how much room the cluster has."""
PATIENCE = 5.0
"""Seconds in which cancelled runs may clear up after themselves before their processes are ended."""


@dataclass(frozen=True)
class SentText:
    """A text in the cluster's object store."""

    digest: str
    fingerprint: str
    reference: Any


@dataclass(frozen=True)
class SentRun:
    """A run that is under way on some node."""

    run: Run
    text: SentText
    place: int
    """Number among the runs under way, which a display shows as a worker's."""
    lock: ExitStack
    """Holds the lock of the run's folder."""


class RayEngine(Engine):
    """Sends runs to a Ray cluster.

    Args:
        options: what a run takes, how often it is retried, and where the cluster is.
    """

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self.ray: Any = None
        self.texts: dict[str, SentText] = {}

    def __enter__(self) -> Self:
        """Make sure that Ray is there; it is started, or connected to, when the first run needs it."""
        require_ray()
        if self.options.ray_address is not None:
            require_cluster(self.options.ray_address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster; one that was started here ends."""
        if self.ray is not None:
            with interrupts_ignored():
                self.ray.shutdown()
            self.ray, self.texts = None, {}

    def make_runs(
        self, runs: Sequence[Run], results: Path, is_made: Callable[[Run], bool]
    ) -> Generator[Event, None, None]:
        """Send the runs to the nodes, as many at a time as there is room for; closing the generator cancels them."""
        refuse_unsendable(runs)
        if self.ray is None:
            self.connect()
        waiting, losses = deque(runs), Counter[str]()
        under_way: dict[Any, SentRun] = {}
        try:
            while waiting or under_way:
                while waiting and len(under_way) < (self.options.workers or max(1, self.room())):
                    run = waiting.popleft()
                    place = min(set(range(len(under_way) + 1)) - {sent.place for sent in under_way.values()})
                    started = self.send(run, place, results, is_made)
                    under_way |= started
                    if not started:
                        yield Event(run, Skipped(), place)
                ended, _ = self.ray.wait(list(under_way), timeout=POLL_SECONDS) if under_way else ([], [])
                for reference in ended:
                    sent = under_way.pop(reference)
                    message = self.receive(reference, sent, results, losses)
                    if message is None:
                        waiting.appendleft(sent.run)
                    else:
                        yield Event(sent.run, message, sent.place)
        finally:
            with interrupts_ignored():  # a second Ctrl-C must not leave runs behind
                self.cancel(under_way)

    def connect(self) -> None:
        """Connect, and make sure that the cluster has room for a run, now or with nodes that it can add.

        Raises:
            ExperimentError: if it has no room.
        """
        self.ray = connect(self.options.ray_address, self.options.workers or usable_cores())
        may_grow = self.options.ray_address is not None and self.options.workers is not None
        if not may_grow and self.room() < 1:
            raise ExperimentError(
                f"no node has room for a run of {self.options.cpus_per_run:g} CPUs and "
                f"{self.options.gpus_per_run:g} GPUs (--cpus_per_run, --gpus_per_run)"
            )

    def room(self) -> int:
        """Return how many runs fit on the living nodes at the same time, whoever else uses them."""
        needs = {"CPU": self.options.cpus_per_run, "GPU": self.options.gpus_per_run}
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(
            min(int(node.get(kind, 0) / need + 1e-6) for kind, need in needs.items() if need > 0) for node in nodes
        )

    def send(self, run: Run, place: int, results: Path, is_made: Callable[[Run], bool]) -> dict[Any, SentRun]:
        """Send a run to the cluster; return nothing if another process is making it or has made it.

        Raises:
            DataError: if the text cannot be had.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(run.folder(results)))
            except Busy:
                return {}
            if is_made(run):
                return {}
            text = self.send_text(run)
            needs = {"num_cpus": self.options.cpus_per_run, "num_gpus": self.options.gpus_per_run}
            task = self.ray.remote(max_retries=0, **needs)(make_on_node)  # lost runs are counted here
            # Inside a list, the reference arrives as it is: only a node that lacks the text fetches it.
            reference = task.remote(
                Job(run, text.digest, text.fingerprint, versions(), tuple(LOADED.values())), [text.reference]
            )
            return {reference: SentRun(run, text, place, stack.pop_all())}

    def send_text(self, run: Run) -> SentText:
        """Put the text of a run into the object store, once for all runs on it."""
        documents = run.config.task in LANGUAGE_TASKS
        settings = repr((documents, replace(run.config.data, seed=0, stage="tune")))
        if settings not in self.texts:
            packed = pack_text(run.config.data, documents=documents)
            known = [text for text in self.texts.values() if text.digest == packed.digest]
            reference = known[0].reference if known else self.ray.put(packed.archive)
            self.texts[settings] = SentText(packed.digest, packed.fingerprint, reference)
        return self.texts[settings]

    def receive(self, reference: Any, sent: SentRun, results: Path, losses: Counter[str]) -> Message | None:
        """Take in how a run ended and what it left; None if it was lost and is to be made again."""
        run, errors = sent.run, self.ray.exceptions
        with sent.lock:
            try:
                message, archive = self.ray.get(reference)
                if not (isinstance(message, Failed) and message.mistake):
                    unpack_run(archive, run, results, sent.text.fingerprint)
                return message
            except errors.RayTaskError as error:  # the node itself is not fit: so would be the next
                return Failed(f"a node cannot make runs: {first_line(str(error.cause or error))}", mistake=True)
            except errors.RayError as error:
                losses[run.name] += 1
                if losses[run.name] <= self.options.max_retries:
                    return None
                reason = f"its node or process was lost {losses[run.name]} times: {first_line(str(error))}"
            except ArchiveError as error:
                reason = f"what came back from its node is refused: {error}"
            except Exception as error:
                if not is_mistake(error):
                    raise
                return Failed(str(error), mistake=True)
        write_failure(run, results, reason)  # which takes the folder's lock itself
        return Failed(reason, mistake=False)

    def cancel(self, under_way: dict[Any, SentRun]) -> None:
        """End runs that are under way, and let go of their folders; without a record they are made again next time."""
        for reference in under_way:
            self.ray.cancel(reference)
        if under_way:
            self.ray.wait(list(under_way), num_returns=len(under_way), timeout=PATIENCE)
        for reference, sent in under_way.items():
            self.ray.cancel(reference, force=True)
            sent.lock.close()


PACKAGES = ("data_modules", "experiments", "lightning_modules")
"""Packages of the code that a node gets."""
NODE_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
"""Environment of a node's runs. By the second variable a run that asks for no GPU sees none; this is not Ray's
default."""
SILENT = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Variable that keeps Ray from sending statistics."""
OBJECT_STORE_BYTES = 200 * 2**20
"""Shared memory of a Ray that is started here: texts and what runs leave; Ray puts on disk what does not fit."""
REACH_SECONDS = 5.0
"""Seconds in which a cluster's machine must take a connection."""
ANSWER_SECONDS = 60.0
"""Seconds in which it must say that it is a Ray cluster."""


def refuse_unsendable(runs: Iterable[Run]) -> None:
    """Refuse runs that need more than their own text, which is all that a node is sent.

    Raises:
        ExperimentError: naming the first such run.
    """
    for run in runs:
        if run.config.start.is_given or run.config.model.pretrained is not None:
            what = "starts from earlier weights"
        elif run.config.data.more_text:
            what = "reads further corpora (data.more_text)"
        else:
            continue
        raise ExperimentError(f"{run.name} {what}, which are on this machine alone; leave out --engine ray")


def require_ray() -> None:
    """Make sure that Ray is installed.

    Raises:
        ExperimentError: if it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise ExperimentError("--engine ray needs Ray: pip install -r requirements-cluster.txt")


def connect(address: str | None, cpus: int) -> Any:
    """Connect to the cluster at ``address``, or start Ray on this machine with ``cpus`` CPUs; send it the code.

    Returns:
        the module ``ray``.

    Raises:
        ExperimentError: if there is no cluster, or it runs another version of Ray or Python.
    """
    ray = import_ray()
    options: dict[str, Any] = {"address": address or "local"}
    if address is None:
        options |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    with TemporaryDirectory() as code:
        copy_code(Path(code))
        environment = {"working_dir": code, "env_vars": NODE_ENVIRONMENT}
        try:
            ray.init(**options, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            place = f"the Ray cluster at {address} cannot be used" if address else "Ray cannot be started here"
            raise ExperimentError(f"{place}: {first_line(str(error))}") from error
    return ray


def copy_code(folder: Path) -> None:
    """Write what a node needs of the code to an empty folder, and which commit it is."""
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / CODE_VERSION_FILE.name).write_text(json.dumps(code_version()), encoding="utf-8")


def send_no_statistics() -> None:
    """Tell Ray to send no statistics to its makers; it asks once, when it is imported."""
    os.environ.update(SILENT)


def import_ray() -> Any:
    """Return the module ``ray``, which sends no statistics."""
    send_no_statistics()
    import ray

    return ray


def require_cluster(address: str) -> None:
    """Ask for the cluster's status before connecting: Ray itself tries for minutes, and then ends this process.

    Raises:
        ExperimentError: if no cluster answers.
    """
    if address != "auto":
        require_reachable(address)
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    quiet = {**os.environ, **SILENT}
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, env=quiet)
    except subprocess.TimeoutExpired:
        raise ExperimentError(f"what answers at --ray_address {address} is no Ray cluster") from None
    if asked.returncode:
        lines = asked.stderr.strip().splitlines() or ["no reason given"]
        raise ExperimentError(f"there is no Ray cluster at --ray_address {address}: {lines[-1]}")


def require_reachable(address: str) -> None:
    """Make sure that something takes connections at ``HOST:PORT``.

    Raises:
        ExperimentError: if nothing does, or the address has another form.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ExperimentError(f"--ray_address is {address!r}; it must be HOST:PORT, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise ExperimentError(
            f"no Ray cluster can be reached at --ray_address {address}: {error.strerror or error}"
        ) from None


def first_line(text: str) -> str:
    """Return the first line of a message that has any text."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
