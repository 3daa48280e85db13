"""Mistakes a user can mend: one readable line instead of a traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from data_modules.errors import DataError
from lightning_modules.errors import ConfigurationError

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR)
"""What the system says where a person has to free space or choose another folder."""


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
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        print(f"error: {error.filename or 'a file'} cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\ninterrupted; finished runs are kept, and the same command goes on from there", file=sys.stderr)
        # CPython notes an interrupt that passes through the execution of a string, as in building a dataclass, as
        # unhandled for good, and then dies by the signal; executing another string clears the note.
        exec("")
        raise SystemExit(130) from None
