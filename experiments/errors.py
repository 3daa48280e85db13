"""Mistakes a user can mend: one readable line instead of a traceback."""

from __future__ import annotations

import errno
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from data_modules.errors import DataError
from experiments.escaping import visible
from lightning_modules.errors import ConfigurationError

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the system after which a person has to free space or choose another folder."""
REFUSED = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR)
"""Errors of the system, in reading and writing alike, about a wrong place or missing access."""


class ExperimentError(ValueError):
    """A grid, a run folder or a command line is wrong; the message says what and how to mend it."""


@contextmanager
def readable_errors() -> Iterator[None]:
    """End the program with one line on standard error and exit status 2 for mistakes a user can mend.

    Ctrl-C ends it with status 130, and the signal of a scheduler or of a closing terminal with 128 and its number.
    Any other exception is a defect of ours and keeps its traceback.
    """
    try:
        with signals_raised():
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
    except KeyboardInterrupt as error:
        ended = f"ended by {error.name}" if isinstance(error, Ended) else "interrupted"
        print(f"\n{ended}; finished runs are kept, and the same command goes on from there", file=sys.stderr)
        # CPython notes an interrupt that passes through the execution of a string, as in building a dataclass, as
        # unhandled for good, and then dies by the signal; executing another string clears the note.
        exec("")
        raise SystemExit(128 + (error.number if isinstance(error, Ended) else signal.SIGINT)) from None


class Ended(KeyboardInterrupt):
    """A signal asks the program to end: it closes what is open, as after Ctrl-C.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """Such as ``SIGTERM``."""
        return signal.Signals(self.number).name


@contextmanager
def signals_raised() -> Iterator[None]:
    """Turn the first signal that asks for an end into :class:`Ended`; a second one of its kind ends at once.

    A signal that is ignored, as under ``nohup``, or that has a handler already stays as it is; threads other than the
    main one cannot decide about signals.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    changed = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Ended(number)

    for number in changed:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn an error of the system about files into a user's mistake if it is one.

    If the error names no place, the message names ``place``.

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
    """Return what a person can do about an error of the system; None if nothing."""
    name = error.filename or place
    if error.errno in UNWRITABLE:
        return f"{name} cannot be written: {error.strerror}"
    return f"{name} cannot be read or written: {error.strerror}" if error.errno in REFUSED else None


REMEDY = "restore it from version control, or delete it: what the run folders hold is then written again"
"""What to do about a damaged file next to tables."""


class RecordError(ExperimentError):
    """A record or a committed file of records cannot be read, written or combined; the message names the file."""
