"""Commands that write reports keep each other waiting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from experiments import ablation, claims
from experiments.evidence import claim_pages
from experiments.reporting import grid_report
from experiments.runs.run_folder import LOCK_FILE, write_record
from experiments.runs.store import Evidence
from experiments.studies import __main__ as studies
from experiments.studies import report as studies_report
from tests.experiments.synthetic_records import make_record


def is_taken(folder: Path) -> bool:
    try:
        with FileLock(folder / LOCK_FILE, blocking=False):
            return False
    except Timeout:
        return True


@pytest.mark.parametrize(
    ("command", "arguments", "steps"),
    [
        (ablation.main, ["report", "smoke"], [(Evidence, "gather"), (grid_report, "write_report")]),
        (studies.main, ["report"], [(studies_report, "compose")]),
        (claims.main, ["report"], [(claim_pages, "write_pages")]),
    ],
)
def test_a_report_keeps_other_reports_waiting_until_its_last_file(
    command: Callable[[list[str]], None],
    arguments: list[str],
    steps: list[tuple[Any, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_record(tmp_path / "runs" / "smoke" / "listops" / "pre_ln" / "default" / "seed_0", make_record("pre_ln", 0))
    taken = []

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            done = function(*given, **options)
            taken.append(is_taken(tmp_path))
            return done

        return call

    for owner, name in steps:
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    command([*arguments, "--results", str(tmp_path)])
    assert taken == [True] * len(steps)
    assert not is_taken(tmp_path)
