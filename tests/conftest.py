"""Settings of all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

LONGEST_FILES = (
    "test_docs.py",
    "test_smoke.py",
    "test_results.py",
    "test_ray_cluster.py",
    "test_benchmark_memory.py",
    "test_benchmark_sides.py",
    "test_docstrings.py",
    "test_trainer_flags.py",
    "test_plain_processes.py",
    "test_report.py",
)
"""They start first, the longest one ahead: a long file that starts last would leave all cores but one idle."""

# Machines are noisy: how long an example takes is the benchmark's business, not a test's.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the others keep their order."""
    places = {name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: places.get(Path(item.path).name, len(places)))
