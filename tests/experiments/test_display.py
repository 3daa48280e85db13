"""What a person reads while runs are made."""

import importlib
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tiny_runs import tiny_run

from experiments.making.display import Display, curve_name, link_curves, watch
from experiments.making.messages import Event, Failed, Finished, Progress, Skipped
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.record import Outcome
from lightning_modules.schemes.variants import VARIANTS

REASON = "its worker process died, and what the system said about it is longer than a terminal is wide " * 2


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return replace(tiny_run(tmp_path), condition="a_condition_with_a_name_that_alone_is_nearly_as_wide_as_a_terminal")


def shown(run: Run, *, terminal: bool) -> str:
    """Return what a display of three runs prints, on a terminal or in a file, both 80 columns wide."""
    console = Console(file=StringIO(), width=80, force_terminal=terminal, color_system=None)
    display = Display(3, "run", console)
    display.show(Event(run, Finished(Outcome(status="trained", step=9), 0.5, "macro F1"), 0))
    display.show(Event(run, Skipped(), 1))
    display.show(Event(run, Failed(REASON.strip(), mistake=False), 0))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_file_gets_one_whole_line_a_run(run: Run) -> None:
    finished, skipped, failed = shown(run, terminal=False).splitlines()
    assert finished.startswith("run 1 of 3 trained") and "macro F1 0.500" in finished and finished.endswith(run.name)
    assert skipped.startswith("run 2 of 3 made by another process") and skipped.endswith(run.name)
    assert failed.startswith("run 3 of 3 failed") and failed.endswith(f"{run.name}: {REASON.strip()}")


def test_a_terminal_gets_one_line_a_run_cut_at_its_width(run: Run) -> None:
    lines = shown(run, terminal=True).splitlines()
    assert len(lines) == 3
    assert all(len(line) <= 80 and line.endswith("…") for line in lines)


def test_a_list_of_runs_begins_by_saying_which_rows_its_scores_come_from() -> None:
    console = Console(file=StringIO(), width=80, force_terminal=False)
    with Display(3, "trial", console):
        pass
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == "each trial as it ends, with its score on validation rows:\n"


def test_a_run_under_way_shows_where_it_is(run: Run) -> None:
    console = Console(file=StringIO(), width=120, force_terminal=False)
    display = Display(3, "run", console)
    display.show(Event(run, Progress(epoch=2, step=30, steps=120, loss=0.75), 1))
    console.print(display._table())
    assert isinstance(console.file, StringIO)
    assert "worker 2 epoch 2  25 % loss 0.750" in console.file.getvalue()


def test_tensorboard_gets_every_run_once_by_condition_and_seed(tmp_path: Path) -> None:
    runs, shown_runs = tmp_path / "runs", tmp_path / "shown"
    shown_runs.mkdir()
    first = ["post_ln/default/seed_0", "post_ln/tune,gain=0.5,learning_rate=0.001/seed_1000"]
    for place in first:
        (runs / place).mkdir(parents=True)
        (runs / place / "events.out.tfevents.1").write_text(place)
        link_curves(runs, shown_runs)
    (runs / "plain" / "layers=6" / "seed_1").mkdir(parents=True)
    link_curves(runs, shown_runs)
    names = ["plain seed_1 layers=6", "post_ln seed_0", "post_ln seed_1000 tune gain=0.5 learning_rate=0.001"]
    assert sorted(path.name for path in shown_runs.iterdir()) == names
    assert [(shown_runs / name / "events.out.tfevents.1").read_text() for name in names[1:]] == first


def test_the_page_has_room_for_condition_and_seed_of_every_variant() -> None:
    """Measured in Chromium at TensorBoard's default width: 33 characters of usual letters."""
    assert max(len(curve_name(variant, "default", "seed_1000")) for variant in VARIANTS) <= 35


def test_watching_shows_the_runs_until_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "smoke" / "listops" / "pre_ln" / "default" / "seed_0").mkdir(parents=True)
    seen: list[list[str]] = []

    class Server:
        def configure(self, argv: list[str]) -> None:
            self.folder = Path(argv[argv.index("--logdir") + 1])

        def launch(self) -> str:
            seen.append([path.name for path in self.folder.iterdir()])
            return "http://localhost:6006/"

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("tensorboard.program"), "TensorBoard", Server)
    monkeypatch.setattr("experiments.making.display.time.sleep", interrupted)
    console = Console(file=StringIO(), width=80)
    watch(Grid.load("smoke"), tmp_path, console)
    assert seen == [["pre_ln seed_0"]]
    assert isinstance(console.file, StringIO) and "http://localhost:6006/" in console.file.getvalue()
