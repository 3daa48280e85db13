"""The port and the processes of a service: one that answers, or several behind one port, each replaced when it dies."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from data_modules.errors import DataError
from experiments.errors import ExperimentError
from experiments.escaping import visible
from experiments.planning.parser import SCHEMES, take_schemes
from experiments.serving.guard import Guard
from experiments.serving.observing import LOGGING, SHARED_FOLDER
from experiments.serving.options import ApiKey, ServiceOptions
from lightning_modules.errors import ConfigurationError

LONGEST_HEAD = 16_384
"""Bytes of a request's line and headers."""


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
                    serve_with_workers(partial(service_of_worker, folders, options, key, schemes), options, listener)
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
    """End with status 0: to be asked to stop is no failure."""
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


def settings(
    application: Guard | Callable[[], Guard], options: ServiceOptions, log: dict[str, Any] | None = LOGGING
) -> uvicorn.Config:
    """Return uvicorn's settings: no access log, no header that names the server, no web sockets, no proxy's word."""
    return uvicorn.Config(
        application,
        factory=not isinstance(application, Guard),
        workers=options.workers,
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


def serve_with_workers(build: Callable[[], Guard], options: ServiceOptions, listener: socket.socket) -> None:
    """Answer requests in several processes; a process that dies is replaced, one that cannot start ends them all.

    Raises:
        SystemExit: with status 2, where the processes could not start and have said why.
    """
    supervisor = Multiprocess(settings(build, options), [listener])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise SystemExit(2)


def service_of_worker(
    folders: Mapping[str, Path], options: ServiceOptions, key: ApiKey | None, schemes: tuple[str, ...]
) -> Guard:
    """Build the application in a process of its own; a mistake of a user ends it with one line.

    Raises:
        SystemExit: with the status that tells the first process that another attempt would fail alike.
    """
    from experiments.serving.service import service_of

    try:
        take_schemes([f"{SCHEMES}={path}" for path in schemes])
        return service_of(folders, options, key)
    except (ExperimentError, ConfigurationError, DataError) as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        raise SystemExit(STARTUP_FAILURE) from None
