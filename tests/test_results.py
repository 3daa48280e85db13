"""What is committed under `results` carries its evidence: every table can be rebuilt and checked from it."""

from pathlib import Path

import pytest
from rich.console import Console

from experiments.ablation import report
from experiments.planning.grid import Grid
from experiments.records.predictions import disagreements
from experiments.records.store import RECORDS_FILE, Evidence
from experiments.reporting.report import REPORT_FILE

RESULTS = Path(__file__).parent.parent / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob(f"*/*/{RECORDS_FILE}") if path.parts[-3] != "runs")
LARGEST = 5 * 2**20


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_tables_are_rebuilt_from_committed_records(folder: Path, tmp_path: Path) -> None:
    """Everything but the pictures is equal to the byte; pictures depend on the machine's font rendering."""
    grid = Grid.load(folder.parent.name, {"data": {"corpus": corpus_flag(folder.name)}})
    copy = tmp_path / grid.name / grid.corpus
    copy.mkdir(parents=True)
    for name in (RECORDS_FILE, "predictions.parquet", "timing.csv", REPORT_FILE):
        (copy / name).write_bytes((folder / name).read_bytes())
    report(grid, tmp_path, Console(quiet=True))
    before, after = contents(folder), contents(copy)
    assert set(before) == set(after)
    assert [name for name in before if not name.endswith(".png") and before[name] != after[name]] == []


def corpus_flag(slug: str) -> str:
    """Return a value of `data.corpus` that has this slug, whether or not the corpus is at hand."""
    return slug if slug in ("docstrings", "listops") else f"owner/{slug}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_recorded_scores_are_those_of_the_committed_predictions(folder: Path) -> None:
    evidence = Evidence.gather(folder / "absent", folder)
    assert evidence.finals
    assert disagreements(evidence.finals, evidence.predictions) == []


def test_committed_files_are_small() -> None:
    assert [path for path in RESULTS.rglob("*") if path.is_file() and path.stat().st_size > LARGEST
            and "runs" not in path.relative_to(RESULTS).parts] == []  # fmt: skip


def test_quick_results_are_committed() -> None:
    assert RESULTS / "quick" / "docstrings" in FOLDERS
