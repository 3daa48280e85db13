"""Where a result comes from: versions, commit, device, and what the system tells about processor and memory."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.paths import REPOSITORY

PACKAGES = ("torch", "lightning", "torchmetrics", "transformers", "tokenizers", "datasets", "numpy", "scikit-learn")
CODE_VERSION_FILE = REPOSITORY / "code_version.json"
"""Only a copy of the code that was sent to another machine has this file."""


def environment(*, device: str, precision: str, threads: int) -> dict[str, Any]:
    """Return what a record says about the machine and the code, without anything that depends on the clock."""
    return {**versions(), **code_version(), "device": device, "precision": precision, "threads": threads}


def versions() -> dict[str, Any]:
    """Return the versions that numbers depend on: ``versions {package: version}`` and ``python``."""
    return {"versions": {package: version(package) for package in PACKAGES}, "python": platform.python_version()}


def code_version() -> dict[str, Any]:
    """Return ``git_commit`` and ``git_dirty`` of this code.

    They come from git or, in a copy that was sent to another machine, from a file that was sent with it.
    """
    if CODE_VERSION_FILE.is_file():
        return dict(json.loads(CODE_VERSION_FILE.read_text(encoding="utf-8")))
    commit = git("rev-parse", "HEAD")
    dirty = bool(git("status", "--porcelain", "--untracked-files=no", "--", ":!results")) if commit else None
    return {"git_commit": commit, "git_dirty": dirty}


def git(*arguments: str) -> str | None:
    """Return the output of a git command in the repository; None without git or a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Count the cores that this process may use; a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


STATUS = Path("/proc/self/status")
MEMORY = re.compile(r"^(VmHWM|RssAnon|RssFile):\s*(\d+) kB$", re.MULTILINE)


def memory_in(status: Path) -> dict[str, int]:
    """Read a process's memory in KiB from its ``/proc/<pid>/status`` (``man 5 proc``); nothing if it cannot be read.

    ``RssAnon`` is the memory that the process owns, and ``RssFile`` the pages of mapped files. The system takes the
    latter back when it needs them. ``VmHWM`` is the peak of both.
    """
    try:
        return {name: int(value) for name, value in MEMORY.findall(status.read_text())}
    except OSError:
        return {}
