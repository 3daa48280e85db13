"""Packages that the benchmark alone needs."""

from __future__ import annotations

from importlib.util import find_spec

from experiments.errors import ExperimentError

REQUIREMENTS = "requirements-benchmark.txt"

PACKAGES: dict[str, str] = {
    "hf_trainer": "accelerate",
    "hf_trainer_fixed": "accelerate",
    "x_transformers": "x_transformers",
}
"""The package, by its import name, that a side needs beyond ``requirements.txt``."""


def is_available(side: str) -> bool:
    """Say whether the package that a side needs is installed."""
    return side not in PACKAGES or find_spec(PACKAGES[side]) is not None


def require_package(side: str) -> None:
    """Raise :class:`ExperimentError` with the file to install where a side's package is missing."""
    if not is_available(side):
        raise ExperimentError(
            f"the side {side} needs the package {PACKAGES[side]}, which is not installed: pip install -r {REQUIREMENTS}"
        )
