"""``--schemes FILE.py`` is taken from a command line and from nowhere else, and results ask for the same file again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_schemes import documented_scheme, registry_restored
from tiny_runs import tiny_run

from experiments import predict, train
from experiments.errors import ExperimentError
from experiments.making.messages import Finished
from experiments.making.pool import Pool
from experiments.planning.parser import take_schemes
from experiments.runs.store import read_record

SOURCE = documented_scheme()
SHA256 = hashlib.sha256(SOURCE.encode()).hexdigest()


@pytest.fixture(autouse=True)
def forgotten_afterwards() -> Iterator[None]:
    with registry_restored():
        yield


@pytest.fixture(scope="module")
def scheme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schemes") / "my_scheme.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(scheme: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that a worker process made; it got the file's contents from here."""
    folder = tmp_path_factory.mktemp("own_scheme")
    with registry_restored():
        take_schemes(["--schemes", str(scheme)])
        made = tiny_run(folder / "cache", condition="depth_gate")
        with Pool(workers=1) as pool:
            ending = list(pool.make_runs([made], folder / "results"))[-1].message
        assert isinstance(ending, Finished), ending
        return made.folder(folder / "results")


def test_the_option_is_taken_out_wherever_it_is(scheme: Path) -> None:
    assert take_schemes(["run", "--schemes", str(scheme), "grid"]) == ["run", "grid"]
    assert take_schemes([f"--schemes={scheme}"]) == []
    for arguments in (["--schemes"], ["--schemes", "--seeds"], ["--schemes="]):
        with pytest.raises(ExperimentError, match="--schemes needs a Python file"):
            take_schemes(arguments)


def test_a_record_holds_the_digest_and_its_hash_depends_on_it(run: Path, scheme: Path, tmp_path: Path) -> None:
    assert read_record(run).config["model"]["scheme_sha256"] == SHA256
    assert "scheme_sha256" not in tiny_run(tmp_path).config.identity()["model"]
    take_schemes(["--schemes", str(scheme)])
    assert tiny_run(tmp_path, condition="depth_gate").config.hash() == read_record(run).config_hash


def test_a_run_asks_for_its_file_and_refuses_another(
    run: Path, scheme: Path, tmp_path: Path, fails_with_one_line: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    question = [str(run), "--text", "[MAX 1 2 ]"]
    assert f"SHA-256 {SHA256[:16]}…; name it with --schemes FILE.py" in fails_with_one_line(predict.main, *question)
    other = tmp_path / "other.py"
    other.write_text(SOURCE + "# changed\n", encoding="utf-8")
    with registry_restored():
        said = fails_with_one_line(predict.main, *question, "--schemes", str(other))
    assert f"SHA-256 {SHA256[:16]}…, and --schemes names one with" in said
    predict.main([*question, "--schemes", str(scheme)])
    assert "probability" in capsys.readouterr().out


def test_no_configuration_may_name_a_file(
    scheme: Path, tmp_path: Path, fails_with_one_line: Callable[..., str]
) -> None:
    configuration = tmp_path / "config.yaml"
    configuration.write_text(f"schemes: {scheme}\n", encoding="utf-8")
    said = fails_with_one_line(train.main, "fit", "--config", str(configuration))
    assert "a scheme file is named on the command line" in said
