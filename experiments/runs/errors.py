"""What is wrong with a record or with the evidence of a table."""

from __future__ import annotations

from experiments.errors import ExperimentError

REMEDY = "restore it from version control, or delete it: what the run folders hold is then written again"
"""What to do about a damaged file beside the tables."""


class RecordError(ExperimentError):
    """A record or a committed file of records cannot be read, written or combined; the message names the file."""
