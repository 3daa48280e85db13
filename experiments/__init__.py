"""What a person runs: one verb per file, ``python -m experiments.<verb>``."""

from __future__ import annotations

import os
import sys
from types import TracebackType


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Answer Ctrl-C while a verb is still being imported, which takes seconds, with one line and status 130."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print("\ninterrupted before anything began", file=sys.stderr, flush=True)
    os._exit(130)


if any(word.startswith("experiments.") for word in sys.orig_argv[1:4]):  # started as a program, not imported
    sys.excepthook = _one_line
