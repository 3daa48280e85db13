"""How much memory a run took, in a process that makes one run after another.

``ru_maxrss`` never falls, so it would give a run the peak of the largest one before it. Linux has a peak that can be
set back (``man 5 proc``: writing 5 to ``/proc/self/clear_refs`` resets ``VmHWM``); elsewhere nothing is measured.
"""

from __future__ import annotations

import re
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


def forget_peak_memory() -> bool:
    """Let the peak begin anew at what the process holds now; return whether the system can do that."""
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True


def peak_memory_mib() -> float | None:
    """Return the most memory that the process has held since the peak began, in MiB; none where it is not known."""
    try:
        found = PEAK.search(STATUS.read_text())
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None
