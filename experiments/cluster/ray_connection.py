"""Reaching a Ray cluster, or starting Ray on this machine; no word of it leaves for anybody else."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.errors import ExperimentError
from experiments.paths import REPOSITORY
from experiments.runs.provenance import CODE_VERSION_FILE, code_version

PACKAGES = ("data_modules", "experiments", "lightning_modules")
"""The code that a node gets."""
NODE_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
"""The second has a run that asks for no GPU see none, which is not Ray's default."""
SILENT = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Has Ray send no statistics."""
OBJECT_STORE_BYTES = 200 * 2**20
"""Shared memory of a Ray that is started here: texts and what runs leave; Ray puts on disk what does not fit."""
REACH_SECONDS = 5.0
"""In which a cluster's machine must take a connection."""
ANSWER_SECONDS = 60.0
"""In which it must say that it is a Ray cluster."""


def require_ray() -> None:
    """Make sure that Ray is installed.

    Raises:
        ExperimentError: where it is not.
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
        ExperimentError: where no cluster answers.
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
        ExperimentError: where nothing does, or the address has another form.
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
