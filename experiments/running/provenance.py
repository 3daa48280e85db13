"""Where a result comes from: versions, commit, device."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.paths import REPOSITORY

PACKAGES = ("torch", "lightning", "torchmetrics", "transformers", "tokenizers", "datasets", "numpy", "scikit-learn")


def environment(*, device: str, precision: str, threads: int, population: int | None = None) -> dict[str, Any]:
    """Return what a record says about the machine and the code, without anything that depends on the clock.

    ``population`` stands there only where the run was trained together with others: its numbers agree with those of
    the run by itself to rounding, and not to the bit.
    """
    commit = git("rev-parse", "HEAD")
    return {
        "versions": {package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "git_commit": commit,
        "git_dirty": bool(git("status", "--porcelain", "--untracked-files=no", "--", ":!results")) if commit else None,
        "device": device,
        "precision": precision,
        "threads": threads,
        **({} if population is None else {"population": population}),
    }


def git(*arguments: str) -> str | None:
    """Return the output of a git command in the repository; None where there is no git or no repository."""
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
