"""The README's commands work as they stand, with `smoke` in place of longer grids."""

import csv
import gzip
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest
from scipy import stats

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def small(command: str) -> str:
    """Put the smallest grid in place of longer ones, its corpus and conditions in paths, and measure nothing."""
    command = re.sub(r"\b(quick|article)\b(?=$| |/)", "smoke", command)
    command = command.replace("runs/smoke/docstrings", "runs/smoke/listops")
    if "experiments.probe" in command:
        command += " --data.corpus listops --data.listops.train_rows 2000"
    if "experiments.benchmark" in command:
        command += " --width 16 --layers 1 --steps 2 --rounds 1 --pairs 1 --memory false --workers 0"
        command = command.replace("--growth []", "--growth [depth]")  # the other axes take two minutes
    command = command.replace("reproduce run", "reproduce report")  # measuring takes minutes
    command = command.replace(" --engine ray --ray_address auto", "")  # no cluster is at hand
    return command.replace("results/runs", "$RESNORM_RESULTS/runs")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("readme")
    for name, rows in (("train_data.csv", 300), ("test_data.csv", 60)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(
                [f"row {name} {row} speaks of {'cats' if row % 2 else 'ships'} number {row * 7}", row % 2]
                for row in range(rows)
            )
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "RESNORM_RESULTS": str(folder / "results"),
        "TERM": "dumb",
    }
    return folder, environment


def run(command: str, place: tuple[Path, dict[str, str]]) -> subprocess.CompletedProcess[str]:
    folder, environment = place
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
def test_commands_work_in_the_readmes_order(place: tuple[Path, dict[str, str]]) -> None:
    """`clean` comes last: it removes the checkpoint that `predict` needs."""
    runnable = [command for command in COMMANDS if command.startswith("python -m")]
    runnable.sort(key=lambda command: " clean " in command)
    assert len(runnable) >= 8
    for command in map(small, runnable):
        done = run(command, place)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_make_targets_exist() -> None:
    targets = [command.split()[1] for command in COMMANDS if command.startswith("make")]
    assert targets == ["ablation", "test"]
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_named_file_and_folder_is_there() -> None:
    for name in re.findall(r"`((?:experiments|lightning_modules|data_modules|notebooks|tests)[\w/.]*)`", README):
        assert (REPOSITORY / name).exists(), name


def test_variants_in_the_readme_are_the_registry() -> None:
    from lightning_modules.schemes.variants import VARIANTS

    compared = README.split("## What is compared")[1].split("##")[0]
    table = re.findall(r"^\| `(\w+)` \| (.*?) \|", compared, flags=re.MULTILINE)
    named = {name: formula.strip("`") for name, formula in table}
    assert set(named) == set(VARIANTS)
    for name in ("post_ln", "no_residual", "no_norm", "plain", "article_block"):
        assert named[name] == VARIANTS[name].formula


def table_after(marker: str, text: str = README) -> list[list[str]]:
    """Return the body rows of the Markdown table that follows a marker in a text, the README unless told."""
    lines = text.split(f"<!-- {marker} -->")[1].strip().splitlines()
    rows = list(itertools.takewhile(bool, lines))
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def committed(name: str) -> list[dict[str, str]]:
    with (REPOSITORY / "results" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def with_spread(row: dict[str, str], metric: str) -> str:
    spread = row.get(f"{metric}_sd", "")
    return f"{float(row[metric]):.3f}" + (f" ± {float(spread):.3f}" if spread else "")


def test_the_ablation_table_shows_the_committed_numbers() -> None:
    rows = {row["variant"]: row for row in committed("article/docstrings/summary.csv")}
    shown = table_after("results/article/docstrings/summary.csv")
    assert {cells[0].strip("`") for cells in shown} == set(rows)
    for name, *cells in shown:
        row = rows[name.strip("`")]
        assert cells[:2] == [row["norms"], row["skips"]]
        assert cells[2:4] == [with_spread(row, "macro_f1"), with_spread(row, "accuracy")]
        assert cells[4] == f"{row['trained']} of {row['seeds']}"


def test_the_table_over_corpora_shows_the_committed_numbers_of_every_corpus() -> None:
    lines = README.split("<!-- results/article: macro_f1 -->")[1].strip().splitlines()
    corpora = re.findall(r"\[(\w+)\]\(results/article/\1/report\.md\)", lines[0])
    with_results = {path.parent.name for path in (REPOSITORY / "results" / "article").glob("*/summary.csv")}
    assert set(corpora) == with_results
    tables = {corpus: {row["variant"]: row for row in committed(f"article/{corpus}/summary.csv")} for corpus in corpora}
    shown = table_after("results/article: macro_f1")
    assert {cells[0].strip("`") for cells in shown} == set(tables["docstrings"])
    for name, *cells in shown:
        for corpus, cell in zip(corpora, cells, strict=True):
            row = tables[corpus][name.strip("`")]
            failed = int(row["collapsed"]) + int(row["diverged"])
            note = f" ({failed} of {row['seeds']} failed)" if failed else ""
            assert cell == with_spread(row, "macro_f1") + note, (name, corpus)


@pytest.mark.parametrize(
    ("page", "corpora"),
    [
        ("README.md", ["docstrings", "ag_news", "listops"]),
        ("results/history/CLAIMS.md", ["sst5", "trec", "tweeteval_emotion", "thucnews10"]),
    ],
)
def test_the_table_of_parts_shows_paired_differences_of_the_committed_scores(page: str, corpora: list[str]) -> None:
    scores = {corpus: final_scores(corpus) for corpus in corpora}
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    shown = table_after("results/claims: paired differences of macro_f1", text)
    assert len(shown) == 10
    for _, difference, *cells in shown:
        first, second = re.findall(r"`(\w+)`", difference)
        for corpus, cell in zip(corpora, cells, strict=True):
            seeds = range(10 if page == "README.md" else 5)
            pairs = [scores[corpus][first, seed] - scores[corpus][second, seed] for seed in seeds]
            low, high = stats.t.interval(0.95, len(pairs) - 1, fmean(pairs), stats.sem(pairs))
            assert cell.replace("−", "-") == f"{fmean(pairs):.3f} ({low:.3f} to {high:.3f})".replace("-0.000", "0.000")


def final_scores(corpus: str) -> dict[tuple[str, int], float]:
    """Return the test macro-F1 of every final run of the grid `claims` on a corpus, by condition and seed."""
    with gzip.open(REPOSITORY / "results" / "claims" / corpus / "records.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    return {
        (record["condition"], record["seed"]): record["test"]["macro_f1"]
        for record in records
        if record["stage"] == "final"
    }


def test_the_articles_table_shows_the_committed_numbers() -> None:
    rows = {row["class"]: row for row in committed("article/docstrings/per_class.csv") if row["variant"] == "post_ln"}
    shown = table_after("results/article/docstrings/per_class.csv")
    assert {cells[0] for cells in shown} >= set(rows)
    for name, *cells in shown:
        if name in rows:
            metrics = ("accuracy", "precision", "recall", "f1")
            assert cells == [with_spread(rows[name], metric) for metric in metrics]


def test_the_table_of_published_results_shows_the_committed_verdicts() -> None:
    columns = ("id", "result", "paper", "verdict")
    expected = [[row[column] for column in columns] for row in committed("reproductions/verdicts.csv")]
    assert table_after("results/reproductions/verdicts.csv") == expected


def test_the_table_of_claims_shows_the_committed_verdicts() -> None:
    names = ("confirmed", "refuted", "inconclusive", "not run")
    expected = [
        [
            row["number"],
            row["claim"].rstrip("."),
            row["verdict"],
            ", ".join(f"{row[f'parts {name}']} {name}" for name in names if int(row[f"parts {name}"])) or "–",
        ]
        for row in committed("history/verdicts/claims.csv")
    ]
    assert table_after("results/history/verdicts/claims.csv") == expected


@pytest.mark.parametrize("page", ["README.md", "results/history/CLAIMS.md", "results/DEPTH.md"])
def test_links_and_pictures_lead_to_committed_files(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\((.*?)\)", text) if "://" not in target]
    assert any(target.endswith(".png") for target in targets)
    folder = (REPOSITORY / page).parent
    assert [target for target in targets if not (folder / target.split("#")[0]).exists()] == []


def test_the_tables_by_depth_show_the_committed_numbers() -> None:
    text = (REPOSITORY / "results" / "DEPTH.md").read_text(encoding="utf-8")
    names = re.findall(r"<!-- (.*?) -->", text)
    assert len(names) == 3
    for name in names:
        head, _, *body = [
            [cell.strip(" `") for cell in line.split("|")[1:-1]]
            for line in text.split(f"<!-- {name} -->")[1].strip().split("\n\n")[0].splitlines()
        ]
        swept = [row for row in committed(name.removeprefix("results/")) if row["layers"]]
        scores = {(row["variant"], row["layers"]): f"{float(row['macro_f1']):.3f}" for row in swept}
        shown = {(line[0], depth): score for line in body for depth, score in zip(head[1:], line[1:], strict=True)}
        assert shown == scores
