"""What a run tells the process that asked for it.

That process may show and wait for runs without torch. Reading a message imports the module that defines it. An
interrupt during the import of a compiled library may be lost or abort the process, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

from experiments.planning.runs import Run
from experiments.runs.record import Outcome


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    epoch: int
    step: int
    steps: int
    loss: float | None


@dataclass(frozen=True)
class Finished:
    """The run ended and its record is written."""

    outcome: Outcome
    score: float | None
    """The task's primary metric on validation rows, if the run could be scored."""
    metric: str = ""
    """Title of that metric."""


@dataclass(frozen=True)
class Skipped:
    """Another process is making the run, or has made it."""


@dataclass(frozen=True)
class Failed:
    """An error stopped the run; defects come with a traceback, and a user's mistakes without one."""

    reason: str
    mistake: bool


Message = Progress | Finished | Skipped | Failed


@dataclass(frozen=True)
class Event:
    """Something that a run reports, or that happened to what was making it."""

    run: Run
    message: Message
    worker: int
