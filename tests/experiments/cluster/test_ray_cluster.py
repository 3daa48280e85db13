"""Runs on a Ray cluster of two nodes: equal to those made here, and all there although one node dies."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_runs import make, tiny_run

from experiments.cluster.ray_cluster import RayEngine, SentRun, SentText
from experiments.making.engines import EngineOptions
from experiments.making.messages import Event, Failed, Finished, Skipped
from experiments.paths import runs_folder
from experiments.planning.runs import Run
from experiments.runs.run_folder import is_locked, locked, read_record
from experiments.runs.store import Evidence

Cluster = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed").Cluster
os.environ.update(RAY_worker_niceness="0")  # its nodes stand on a machine that may be busy, and are waited for

STORE = 80 * 2**20
PATIENCE = 300


class Machines:
    """Two nodes of one CPU each on this machine, the head one of them."""

    def __init__(self) -> None:
        node = {"num_cpus": 1, "object_store_memory": STORE}
        self.cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        self.other = self.cluster.add_node(**node)
        self.session = Path(self.cluster.head_node.get_session_dir_path())

    def runs_under_way(self) -> int:
        """Return how many runs have a folder on a node."""
        return len(list(self.session.glob("**/.cache/run-*")))

    def kill_one(self) -> None:
        """End the node that is not the head without a warning."""
        self.cluster.remove_node(self.other, allow_graceful=False)


class WatchedEngine(RayEngine):
    """Counts what was lost."""

    lost = 0

    def receive(self, *arguments: Any) -> Any:
        message = super().receive(*arguments)
        self.lost += message is None
        return message


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Fail instead of waiting for a cluster that does not answer."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"not done after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    machines = Machines()
    yield machines
    machines.cluster.shutdown()


@pytest.fixture(scope="module")
def engine(machines: Machines) -> Iterator[WatchedEngine]:
    with WatchedEngine(EngineOptions(engine="ray", ray_address=machines.cluster.address)) as engine:
        yield engine


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def long_run(cache: Path, seed: int) -> Run:
    """Return a run of some seconds."""
    run = tiny_run(cache, seed=seed)
    return replace(run, config=run.config.with_values({"trainer.max_epochs": 8}))


def events(engine: RayEngine, runs: list[Run], results: Path) -> list[Event]:
    return list(engine.make_runs(runs, results, lambda run: False))


def evidence(results: Path, folder: Path) -> dict[str, bytes]:
    """Return what a table is made from, times apart."""
    paths = Evidence.gather(runs_folder(results, "tiny", "listops"), folder).save(folder)
    return {path.name: path.read_bytes() for path in paths if path.name != "timing.csv"}


def test_a_run_leaves_here_what_it_leaves_anywhere(engine: RayEngine, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    run = tiny_run(cache)
    here = make(run, tmp_path / "local")
    (event,) = events(engine, [run], tmp_path)
    assert isinstance(event.message, Finished)
    folder = run.folder(tmp_path)
    kinds = [{path.name.split(".tfevents")[0] for path in each.iterdir()} for each in (folder, here)]
    assert kinds[0] == kinds[1]
    for name in ("run.json", "predictions.parquet", "config.yaml"):
        assert (folder / name).read_bytes() == (here / name).read_bytes()
    assert not is_locked(folder)


def test_a_run_that_fails_in_itself_is_made_and_recorded_once(
    engine: WatchedEngine, cache: Path, tmp_path: Path
) -> None:
    too_wide = tiny_run(cache)
    too_wide = replace(too_wide, config=too_wide.config.with_values({"model.width": 80_000}))
    (event,) = events(engine, [too_wide], tmp_path)
    assert isinstance(event.message, Failed) and not event.message.mistake
    assert engine.lost == 0
    record = read_record(too_wide.folder(tmp_path))
    assert (record.outcome.status, record.outcome.reason) == ("failed", event.message.reason)
    assert "Traceback" in (too_wide.folder(tmp_path) / "failure.txt").read_text()


def test_a_run_that_was_lost_too_often_leaves_a_record_of_its_failure(cache: Path, tmp_path: Path) -> None:
    class RayError(Exception):
        pass

    def get(reference: object) -> None:
        raise RayError("the node died")

    engine, run, lock = RayEngine(EngineOptions(engine="ray", max_retries=0)), tiny_run(cache), ExitStack()
    engine.ray = SimpleNamespace(exceptions=SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=RayError), get=get)
    lock.enter_context(locked(run.folder(tmp_path)))
    sent = SentRun(run, SentText("digest", "fingerprint", None), 0, lock)
    message = engine.receive(None, sent, tmp_path, Counter())
    assert isinstance(message, Failed) and not message.mistake
    record = read_record(run.folder(tmp_path))
    assert (record.outcome.status, record.outcome.reason) == ("failed", message.reason)


def test_runs_that_others_make_or_have_made_are_left_to_them(engine: RayEngine, cache: Path, tmp_path: Path) -> None:
    runs = [tiny_run(cache, seed=seed) for seed in range(2)]
    with locked(runs[0].folder(tmp_path)):
        found = list(engine.make_runs(runs, tmp_path, lambda run: run is runs[1]))
    assert [(event.run, event.message) for event in found] == [(run, Skipped()) for run in runs]


def test_cancelled_runs_leave_nothing_and_finished_ones_stay(
    engine: RayEngine, machines: Machines, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.cluster.ray_cluster.PATIENCE", 60.0)  # the machine may be busy
    quick, slow = tiny_run(cache), [long_run(cache, seed) for seed in (1, 2)]
    with closing(engine.make_runs([quick, *slow], tmp_path, lambda run: False)) as made:
        assert next(made).run is quick
    assert [run.seed for run in (quick, *slow) if (run.folder(tmp_path) / "run.json").exists()] == [0]
    assert not any(is_locked(run.folder(tmp_path)) for run in (quick, *slow))
    assert machines.runs_under_way() == 0


def test_a_node_that_dies_costs_only_its_runs_which_are_made_again(
    engine: WatchedEngine, machines: Machines, cache: Path, tmp_path: Path
) -> None:
    runs = [long_run(cache, seed) for seed in range(3)]

    def kill_in_the_middle() -> None:
        while machines.runs_under_way() < 2:
            time.sleep(0.1)
        machines.kill_one()

    killer = threading.Thread(target=kill_in_the_middle, daemon=True)
    killer.start()
    made = events(engine, runs, tmp_path / "cluster")
    killer.join()
    assert engine.lost == 1
    assert sorted(event.run.seed for event in made) == [0, 1, 2]
    assert all(isinstance(event.message, Finished) for event in made)
    for run in runs:
        make(run, tmp_path / "local")
    assert evidence(tmp_path / "cluster", tmp_path / "a") == evidence(tmp_path / "local", tmp_path / "b")
