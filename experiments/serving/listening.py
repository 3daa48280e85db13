"""The port and the processes of a service: one that answers, or several behind one port, each replaced when it dies."""

from __future__ import annotations

import errno
import logging.config
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from data_modules.errors import DataError
from experiments.errors import ExperimentError
from experiments.escaping import visible
from experiments.planning.parser import SCHEMES, take_schemes
from experiments.serving.guard import Guard
from experiments.serving.observing import LOGGER, LOGGING, SHARED_FOLDER
from experiments.serving.options import ApiKey, ServiceOptions
from lightning_modules.errors import ConfigurationError

LONGEST_HEAD = 16_384
"""Bytes of a request's line and headers."""
PAUSE = 1.0
"""Seconds before a worker that died is replaced, so that one that always dies costs little."""


def listen(
    folders: Mapping[str, Path], options: ServiceOptions, key: ApiKey | None, schemes: tuple[str, ...] = ()
) -> None:
    """Serve until a signal asks to stop; requests that were taken are answered first.

    Args:
        folders: run folders by name.
        options: address and limits.
        key: what requests must bring, if anything.
        schemes: scheme files that the command line names, which further processes execute too.

    Raises:
        ExperimentError: the port is in use or the address is not this machine's; a run cannot be used.
        ConfigurationError, DataError: a run cannot be used.
    """
    with bound(options) as listener, ending_well():
        if options.workers == 1:
            from experiments.serving.service import service_of

            application = service_of(folders, options, key)
            announce(folders, listener)
            serve_here(application, options, listener)
        else:
            announce(folders, listener)
            with tempfile.TemporaryDirectory(prefix="resnorm-metrics-") as shared:
                os.environ[SHARED_FOLDER] = shared
                try:
                    serve_with_workers(WorkOfOneProcess(folders, options, key, schemes, listener), options.workers)
                finally:
                    del os.environ[SHARED_FOLDER]


def announce(folders: Mapping[str, Path], listener: socket.socket) -> None:
    """Say where the service is, on standard error."""
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(f"serving {', '.join(folders)} at {address}, the interface at {address}/docs", file=sys.stderr)


@contextmanager
def ending_well() -> Iterator[None]:
    """End with status 0 when asked to stop while models load; later the server's own handlers wait for requests."""
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End with status 0: a request to stop is not a failure."""
    raise SystemExit(0)


@contextmanager
def bound(options: ServiceOptions) -> Iterator[socket.socket]:
    """Take the port, before models are loaded; nobody can connect yet.

    Raises:
        ExperimentError: it is in use or refused, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ExperimentError(f"--host {options.host} is no address: {error.strerror or error}") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            what = f"port {options.port} of {options.host}"
            if error.errno == errno.EADDRINUSE:
                raise ExperimentError(f"{what} is in use; choose another with --port, or 0 for a free one") from None
            raise ExperimentError(f"{what} cannot be listened at: {error.strerror or error}") from None
        listener.set_inheritable(True)
        yield listener


def settings(application: Guard, options: ServiceOptions, log: dict[str, Any] | None = LOGGING) -> uvicorn.Config:
    """Return uvicorn's settings: no access log, server header, web sockets or trust in proxy headers."""
    return uvicorn.Config(
        application,
        lifespan="on",
        ws="none",
        interface="asgi3",
        log_config=log,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=options.most_connections,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(2 * options.seconds) + 1,
        h11_max_incomplete_event_size=LONGEST_HEAD,
    )


def serve_here(application: Guard, options: ServiceOptions, listener: socket.socket) -> None:
    """Answer requests in this process until a signal comes."""
    uvicorn.Server(settings(application, options)).run(sockets=[listener])


@dataclass(frozen=True)
class WorkOfOneProcess:
    """What one of several processes does, sent to it as it starts."""

    folders: Mapping[str, Path]
    options: ServiceOptions
    key: ApiKey | None
    schemes: tuple[str, ...]
    listener: socket.socket

    def __call__(self) -> None:
        """Load the models and answer requests; a mistake of a user ends the process with one line.

        Raises:
            SystemExit: with a status that tells the first process that another attempt would fail alike.
        """
        from experiments.serving.service import service_of

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one tells the others
        with ending_well():
            threading.Thread(target=leave_with_the_first_process, daemon=True).start()
            try:
                take_schemes([f"{SCHEMES}={path}" for path in self.schemes])
                application = service_of(self.folders, self.options, self.key)
            except (ExperimentError, ConfigurationError, DataError) as error:
                print(f"error: {visible(str(error))}", file=sys.stderr)
                raise SystemExit(STARTUP_FAILURE) from None
            serve_here(application, self.options, self.listener)


def serve_with_workers(work: WorkOfOneProcess, workers: int) -> None:
    """Answer requests in several processes; one that dies is replaced, one that cannot start ends them all.

    A process may take long to load its models. So it counts as dead once it has ended, not when it is slow.

    Raises:
        SystemExit: with status 2, if the processes could not start and have said why.
    """
    logging.config.dictConfig(LOGGING)
    spawning = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold

    def started() -> BaseProcess:
        process = spawning.Process(target=work)
        process.start()
        return process

    processes = [started() for _ in range(workers)]
    try:
        while True:
            wait([process.sentinel for process in processes])
            for place, process in enumerate(processes):
                if process.exitcode is None:
                    continue
                if process.exitcode == STARTUP_FAILURE:
                    raise SystemExit(2)
                fields = {"worker": process.pid, "exitcode": process.exitcode}
                LOGGER.warning("a worker died and is replaced", extra={"fields": fields})
                time.sleep(PAUSE)
                processes[place] = started()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(2 * work.options.seconds + PAUSE)
            process.kill()


def leave_with_the_first_process() -> None:
    """Ask this process to stop once the first one is gone, even if it was killed."""
    first = multiprocessing.parent_process()
    assert first is not None
    first.join()
    os.kill(os.getpid(), signal.SIGTERM)
