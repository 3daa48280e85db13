"""Making what has not been measured yet, one seed after the other, on one thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from experiments.reproductions.claim import Claim
from experiments.reproductions.measurements import Measurement, read_local, write_local
from experiments.reproductions.measures import MEASURES

THREADS = 1


def run_claims(claims: Sequence[Claim], results: Path, console: Console) -> int:
    """Measure every seed that has no local measurement of the claim's setup, and return how many were made.

    A file stands as soon as its seed is measured, so the same command goes on where it was stopped.
    """
    missing = [(claim, seed) for claim in claims for seed in claim.seeds if read_local(results, claim, seed) is None]
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        for number, (claim, seed) in enumerate(missing, start=1):
            started = time.monotonic()
            write_local(results, claim, measured(claim, seed))
            seconds = time.monotonic() - started
            console.print(
                f"{number} of {len(missing)}  {claim.id} seed {seed}: {claim.title}, {seconds:.0f} s", highlight=False
            )
    finally:
        torch.set_num_threads(threads)
    return len(missing)


def measured(claim: Claim, seed: int) -> Measurement:
    """Measure one seed of a claim."""
    return Measurement(
        id=claim.id,
        config_hash=claim.hash(),
        seed=seed,
        rows=MEASURES[claim.measurement](claim.setup, seed),
        environment={"torch": torch.__version__.partition("+")[0], "threads": torch.get_num_threads()},
    )
