"""What is committed under `results` carries its evidence: every table can be rebuilt and checked from it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from experiments.ablation import across, report
from experiments.claims import write as write_claims
from experiments.evidence.claim import load_claims
from experiments.paths import GRIDS, own_tables_folder
from experiments.planning.grid import Grid
from experiments.planning.yaml_files import read_yaml
from experiments.reporting.grid_report import REPORT_FILE
from experiments.runs.canonical import five_digits
from experiments.runs.predictions import PREDICTIONS_FILE, disagreements
from experiments.runs.store import RECORDS_FILE, Evidence, read_committed
from experiments.runs.timings import TIMING_FILE

RESULTS = Path(__file__).parent.parent / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob(f"*/*/{RECORDS_FILE}") if path.parts[-3] != "runs")
GRIDS_BY_NAME = {path.stem for path in GRIDS.glob("*.yaml")}
EVIDENCE = {RECORDS_FILE, PREDICTIONS_FILE, TIMING_FILE, REPORT_FILE}
LARGEST, LARGEST_FOLDER = 2 * 2**20, 45 * 2**20


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_tables_are_rebuilt_from_committed_records(folder: Path, tmp_path: Path) -> None:
    """Everything but the pictures, which depend on a machine's fonts, is equal to the byte."""
    grid = Grid.load(folder.parent.name, {"data": {"corpus": corpus_flag(folder.name)}})
    copy = tmp_path / grid.name / grid.corpus
    copy.mkdir(parents=True)
    for name in sorted(EVIDENCE):
        (copy / name).write_bytes((folder / name).read_bytes())
    report(grid, tmp_path, Console(quiet=True))
    before, after = contents(folder), contents(own_tables_folder(tmp_path, grid.name, grid.corpus))
    assert {name for name in before if not name.endswith(".png")} == set(after)
    assert [name for name in after if before[name] != after[name]] == []


@pytest.mark.parametrize("page", sorted(RESULTS.glob("*/across.md")), ids=lambda page: page.parent.name)
def test_pages_over_all_corpora_are_rebuilt_from_committed_records(page: Path, tmp_path: Path) -> None:
    for folder in FOLDERS:
        if folder.parent == page.parent:
            copy = tmp_path / folder.parent.name / folder.name
            copy.mkdir(parents=True)
            for name in sorted(EVIDENCE):
                (copy / name).write_bytes((folder / name).read_bytes())
    across(Grid.load(page.parent.name), tmp_path, Console(quiet=True))
    for name in ("across.md", "across.csv"):
        made = tmp_path / "local" / page.parent.name / name
        assert made.read_bytes() == (page.parent / name).read_bytes()


def corpus_flag(slug: str) -> str:
    """Return a value of `data.corpus` that has this slug, whether or not the corpus is at hand."""
    return slug if slug in ("docstrings", "listops") else f"./{slug}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_recorded_scores_are_those_of_the_committed_predictions(folder: Path) -> None:
    evidence = Evidence.gather(folder / "absent", folder)
    assert evidence.finals
    assert disagreements(evidence.finals, evidence.predictions) == []


@pytest.mark.slow
def test_pages_of_claims_are_rebuilt_from_committed_records(tmp_path: Path) -> None:
    """Everything but the picture is equal to the byte."""
    grids = {comparison.grid for claim in load_claims() for comparison in claim.comparisons}
    for folder in FOLDERS:  # without the runs of this machine
        if folder.parent.name in grids:
            shutil.copytree(folder, tmp_path / folder.parent.name / folder.name)
    written = write_claims(tmp_path, Console(quiet=True), committed_only=True)
    assert len(written) > 2 * len(load_claims(["gradients"]))
    again = {path.name: path.read_bytes() for path in written if path.suffix != ".png"}
    committed = {name: (RESULTS / "claims" / name).read_bytes() for name in again}
    assert [name for name in again if again[name] != committed[name]] == []


PAGES = [*RESULTS.glob("*.md"), *RESULTS.glob("history/*.md"), *RESULTS.glob("claims/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: "/".join(page.parts[-2:]))
def test_links_of_a_page_of_results_lead_to_committed_files(page: Path) -> None:
    targets = {target.split("#")[0] for target in re.findall(r"\]\(([^)]*)\)", page.read_text(encoding="utf-8"))}
    targets = {target for target in targets if target and "://" not in target}
    assert targets
    committed = {(RESULTS.parent / name).resolve() for name in tracked()}
    places = {target: (page.parent / target).resolve() for target in targets}
    assert [target for target, place in places.items() if RESULTS in place.parents and place not in committed] == []
    assert [target for target, place in places.items() if not place.exists()] == []


def test_the_start_of_plain_that_frozen_claims_disclose_is_the_recorded_one() -> None:
    records = [
        record
        for record in read_committed(RESULTS / "depth" / "docstrings")
        if (record.condition, record.stage, record.swept.get("model.layers")) == ("plain_gain", "final", 6)
    ]
    assert {record.tuned["model.initialisation_gain"] for record in records} == {1.25}
    scores = [f"{record.test.metrics['macro_f1']:.3f}" for record in records if record.test]
    frozen = [read_yaml(path).get("disclosure") for path in (RESULTS / "history" / "claims").glob("*.yaml")]
    disclosed = [text for text in frozen if text and "`plain`" in text["en"]]
    assert len(disclosed) == 5
    for text in disclosed:
        assert "{}, {} and {} test".format(*scores) in " ".join(text["en"].split())
        assert "、".join(scores) in text["zh"]


def test_committed_files_are_small() -> None:
    sizes = {name: (RESULTS.parent / name).stat().st_size for name in tracked()}
    assert [name for name, size in sizes.items() if size > LARGEST] == []
    assert sum(sizes.values()) <= LARGEST_FOLDER


def test_a_figure_is_committed_only_where_a_page_shows_it() -> None:
    """`report --all` draws the others."""
    figures = {name for name in tracked() if "/figures/" in name and (RESULTS / "runs") not in Path(name).parents}
    pages = [*RESULTS.parent.glob("*.md"), *RESULTS.parent.glob("docs/**/*.md"), *RESULTS.glob("*.md")]
    shown = set()
    for page in [*pages, *RESULTS.glob("history/*.md")]:
        for target in re.findall(r"\]\(([^)\s]+\.png)\)", page.read_text(encoding="utf-8")):
            shown.add((page.parent / target).resolve())
    assert figures
    assert sorted(name for name in figures if (RESULTS.parent / name).resolve() not in shown) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_curves_have_five_significant_digits(folder: Path) -> None:
    for record in read_committed(folder):
        assert record.history == five_digits(record.history)


def test_what_a_person_makes_is_ignored_by_version_control() -> None:
    made = ["results/local/quick/docstrings/report.md", "results/local/verdicts/claims.csv", "results/runs/quick/x"]
    asked = subprocess.run(["git", "check-ignore", *made], cwd=RESULTS.parent, capture_output=True, text=True)
    if asked.returncode == 128:
        pytest.skip("there is no repository here")
    assert asked.stdout.split() == made


def test_every_folder_of_results_carries_its_evidence() -> None:
    """What a version control knows counts, so that a folder whose records were ignored or forgotten is found."""
    assert {RESULTS / "quick" / "docstrings", RESULTS / "article" / "docstrings"} <= set(FOLDERS)
    folders: dict[Path, set[str]] = {}
    for name in tracked():
        grid, _, rest = name.removeprefix("results/").partition("/")
        corpus, _, file = rest.partition("/")
        if file and grid.partition("+")[0] in GRIDS_BY_NAME:  # other commands have evidence and tests of their own
            folders.setdefault(RESULTS / grid / corpus, set()).add(file)
    assert folders
    lacking = {str(folder): EVIDENCE - files for folder, files in folders.items() if EVIDENCE - files}
    assert lacking == {}


def tracked() -> list[str]:
    """Return the committed files below `results`; where there is no repository, such as in an archive, all of them."""
    command = ["git", "ls-files", "-z", "results"]
    asked = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True)
    if asked.returncode == 0:
        return [name for name in asked.stdout.split("\0") if name]
    files = (path.relative_to(RESULTS.parent) for path in RESULTS.rglob("*") if path.is_file())
    return [path.as_posix() for path in files if path.parts[1] != "runs"]
