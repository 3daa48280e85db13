"""Worker processes: every run ends, also where others made it, and none is waited for in vain."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiny_runs import tiny_run

from experiments.making.messages import Finished, Skipped
from experiments.making.pool import Pool


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail instead of hanging."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_runs_that_others_made_by_then_are_skipped_and_the_pool_ends(tmp_path: Path) -> None:
    runs = [tiny_run(tmp_path / "cache", seed=seed) for seed in range(3)]
    with at_most(60), Pool(workers=2) as pool:
        events = list(pool.make_runs(runs, tmp_path, is_made=lambda run: True))
    assert [event.run for event in events] == runs
    assert all(isinstance(event.message, Skipped) for event in events)


def test_what_others_left_undone_is_made(tmp_path: Path) -> None:
    with at_most(300), Pool(workers=1) as pool:
        for first, made in ((0, 0), (2, 1)):  # the first of two runs, then the last
            runs = [tiny_run(tmp_path / "cache", seed=first + seed) for seed in range(2)]
            events = list(pool.make_runs(runs, tmp_path, is_made=lambda run, done=runs[made]: run is done))
            endings = [type(event.message) for event in events if isinstance(event.message, Finished | Skipped)]
            assert endings.count(Skipped) == endings.count(Finished) == 1
            assert next(event.run for event in events if isinstance(event.message, Skipped)) is runs[made]


def test_a_worker_starts_once_makes_the_runs_of_several_stages_and_ends_with_the_pool(tmp_path: Path) -> None:
    runs = [tiny_run(tmp_path / "cache", seed=seed) for seed in range(2)]
    processes = []
    with at_most(300), Pool(workers=2) as pool:
        for run in runs:
            events = list(pool.make_runs([run], tmp_path))
            assert isinstance(events[-1].message, Finished)
            processes.append([worker.process for worker in pool.crew])
    assert processes[0] == processes[1] and len(processes[0]) == 1
    assert not processes[0][0].is_alive()


def test_a_pool_that_is_left_in_the_middle_of_a_run_ends_its_worker_and_may_be_used_again(tmp_path: Path) -> None:
    runs = [tiny_run(tmp_path / "cache", seed=seed) for seed in range(2)]
    with at_most(300), Pool(workers=1) as pool:
        events = pool.make_runs(runs, tmp_path)
        next(events)
        (worker,) = pool.crew
        events.close()
        assert pool.crew == [] and not worker.process.is_alive()
        assert isinstance(list(pool.make_runs(runs[1:], tmp_path))[-1].message, Finished)
