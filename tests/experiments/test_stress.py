"""Workers killed at random moments, and commands that start at once: the tables are those of an undisturbed pass.

`make stress` runs the large case, 200 runs and at least 20 kills; a small one belongs to the usual tests.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from rich.console import Console

from experiments.ablation import report
from experiments.making.engines import LocalEngine
from experiments.making.grid_runner import prepare_corpus, run_grid
from experiments.paths import own_tables_folder
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.runs.execute import execute

REPOSITORY = Path(__file__).parent.parent.parent
GRID = """
conditions: [pre_ln, plain]
seeds: {seeds}
model: {{layers: 1, width: 16, heads: 2, learning_rate: 1e-2}}
data: {{corpus: listops, max_length: 24, batch_size: 32, listops: {{train_rows: 300, evaluation_rows: 80, levels: 1}}}}
trainer: {{max_epochs: 1, accelerator: cpu}}
"""
QUIET = Console(quiet=True)


def grid_of(folder: Path, seeds: int) -> Grid:
    (folder / "stress.yaml").write_text(GRID.format(seeds=seeds))
    return Grid.load(str(folder / "stress.yaml"), {}, None, None)


def undisturbed(grid: Grid, results: Path) -> dict[str, bytes]:
    """Make the runs one after the other in this process and return the tables."""
    prepare_corpus(grid, QUIET)
    torch.set_num_threads(1)
    for run in final_runs(grid):
        execute(run, results)
    return tables(grid, results)


def tables(grid: Grid, results: Path) -> dict[str, bytes]:
    """Write the tables and return all files but pictures and times."""
    report(grid, results, QUIET)
    folder = own_tables_folder(results, grid.name, grid.corpus)
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.endswith((".png", "timing.csv"))}


class Killer(threading.Thread):
    """Kills a worker process at a random moment after every few runs that end, until it is stopped."""

    def __init__(self, results: Path, most: int, between: tuple[int, int], seed: int) -> None:
        super().__init__(daemon=True)
        self.results, self.most, self.between = results, most, between
        self.chance = random.Random(seed)
        self.kills = 0
        self.ended = threading.Event()

    def run(self) -> None:
        wanted = 0
        while self.kills < self.most:
            wanted += self.chance.randint(*self.between)
            while len(list(self.results.glob("runs/*/*/*/*/*/run.json"))) < wanted:
                if self.ended.wait(0.02):
                    return
            if self.ended.wait(self.chance.uniform(0, 1)):
                return
            victim = self.chance.choice(sorted(process.pid or 0 for process in multiprocessing.active_children()))
            os.kill(victim, signal.SIGKILL)
            self.kills += 1


def disturbed(grid: Grid, results: Path, most: int, between: tuple[int, int], seed: int) -> tuple[int, int]:
    """Make the grid while workers are killed; repeat the command while runs failed. Return kills and commands."""
    killer = Killer(results, most, between, seed)
    killer.start()
    commands = 1
    with LocalEngine(2) as engine:
        while run_grid(grid, results, engine, QUIET):
            commands += 1
            assert commands < 5, "a grid must end although workers are killed"
    killer.ended.set()
    killer.join()
    return killer.kills, commands


@pytest.mark.parametrize(
    ("seeds", "most", "least", "between"),
    [
        pytest.param(6, 3, 2, (1, 3), id="12 runs"),
        pytest.param(100, 30, 20, (4, 9), id="200 runs", marks=pytest.mark.stress),
    ],
)
def test_killed_workers_leave_no_trace_in_the_tables(
    seeds: int, most: int, least: int, between: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_DIR", os.devnull)  # a commit or an edit during the test would stand in the records
    grid = grid_of(tmp_path, seeds)
    kills, commands = disturbed(grid, tmp_path / "disturbed", most, between, seed=0)
    print(f"{kills} kills, {commands} command(s)")
    assert kills >= least
    assert tables(grid, tmp_path / "disturbed") == undisturbed(grid, tmp_path / "undisturbed")


def test_two_commands_that_start_at_once_make_every_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_DIR", os.devnull)
    grid, results = grid_of(tmp_path, 3), tmp_path / "results"
    command = [sys.executable, "-m", "experiments.ablation", "run", str(tmp_path / "stress.yaml"), "--workers", "1"]
    processes = [
        subprocess.Popen(
            [*command, "--results", str(results)],
            cwd=REPOSITORY,
            env={**os.environ, "COLUMNS": "250"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    made = sorted(line.split()[-1] for output, _ in ended for line in output.splitlines() if "macro F1 0." in line)
    assert made == sorted(run.name for run in final_runs(grid))
    assert tables(grid, results) == undisturbed(grid, tmp_path / "undisturbed")
