"""Mistakes a user can mend: one readable line instead of a traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_modules.errors import DataError
from experiments.escaping import visible
from lightning_modules.errors import ConfigurationError

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What the system says where a person has to free space or choose another folder."""
REFUSED = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR)
"""What it says, of reading and writing alike, where the place is wrong or access to it is missing."""


class ExperimentError(ValueError):
    """A grid, a run folder or a command line is wrong; the message says what and how to mend it."""


@contextmanager
def readable_errors() -> Iterator[None]:
    """End the program with one line on standard error and exit status 2 for mistakes a user can mend.

    Ctrl-C ends it with status 130. Any other exception is a defect of ours and keeps its traceback.
    """
    try:
        yield
    except (ExperimentError, DataError, ConfigurationError) as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        reason = explain(error)
        if reason is None:
            raise
        print(f"error: {visible(reason)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\ninterrupted; finished runs are kept, and the same command goes on from there", file=sys.stderr)
        # CPython notes an interrupt that passes through the execution of a string, as in building a dataclass, as
        # unhandled for good, and then dies by the signal; executing another string clears the note.
        exec("")
        raise SystemExit(130) from None


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn what the system says about files into a user's mistake where it is one; ``place`` is named if it names none.

    Raises:
        ExperimentError: for a full disk or refused access. Any other error passes: a file of ours that is missing or
            cannot be read is a defect, and keeps its traceback.
    """
    try:
        yield
    except OSError as error:
        reason = explain(error, place)
        if reason is None:
            raise
        raise ExperimentError(reason) from error


def explain(error: OSError, place: Path | str = "a file") -> str | None:
    """Return what a person can mend about an error of the system; None if that is nothing."""
    name = error.filename or place
    if error.errno in UNWRITABLE:
        return f"{name} cannot be written: {error.strerror}"
    return f"{name} cannot be read or written: {error.strerror}" if error.errno in REFUSED else None


REMEDY = "restore it from version control, or delete it: what the run folders hold is then written again"
"""What to do about a damaged file next to tables."""


class RecordError(ExperimentError):
    """A record or a committed file of records cannot be read, written or combined; the message names the file."""
