"""What pages read of the committed results, and how they write a number."""

import csv
import functools
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
RESULTS = REPOSITORY / "results"
EFFECTS = "claims/effects.csv"
NOT_RUN = "not yet run"


@functools.cache
def committed(name: str) -> list[dict[str, str]]:
    """The rows of a committed CSV file."""
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def estimate(row: dict[str, str]) -> str:
    """An effect and its interval."""
    return f"{three_digits(row['mean'])} ({span(row)})"


def span(row: dict[str, str]) -> str:
    """The two ends of an interval."""
    return f"{three_digits(row['low'])} to {three_digits(row['high'])}"


def three_digits(value: str) -> str:
    """A number with a true minus sign and no negative zero."""
    return f"{float(value):.3f}".replace("-0.000", "0.000").replace("-", "−")


def linked(text: str, target: str) -> str:
    """A link to a file of `results`, written so that `filled` can make it relative to its page."""
    return f"[{text}](results:{target})"
