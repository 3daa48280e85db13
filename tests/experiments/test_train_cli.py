"""`experiments.train`: one run through LightningCLI, with the numbers of a grid, to be interrupted and resumed."""

import contextlib
import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_runs import make, tiny_run

from data_modules.config import DataConfig
from experiments import train
from experiments.planning.yaml_files import write_yaml
from experiments.runs.record import Record
from experiments.runs.run_folder import RECORD_FILE, read_record
from lightning_modules.config import ModelConfig
from lightning_modules.tasks.classification import TextClassifier


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield  # `train` sets one thread
    torch.set_num_threads(threads)


@pytest.fixture
def configuration(tmp_path: Path, cache: Path) -> Path:
    """The configuration of a tiny run with two epochs, as a grid would write it."""
    settings = tiny_run(cache).config.as_dict()
    settings["trainer"] |= {"max_epochs": 2}
    write_yaml(tmp_path / "tiny.yaml", settings)
    return tmp_path / "tiny.yaml"


def fit(configuration: Path, results: Path, *more: str) -> Path:
    """Train, and return the run folder that the command names."""
    output = io.StringIO()
    folders = ["--config", str(configuration), "--results", str(results)]
    with contextlib.redirect_stdout(output):
        train.main(["fit", *folders, "--trainer.enable_progress_bar", "false", *more])
    return Path(output.getvalue().strip().splitlines()[-1].removeprefix("run folder: "))


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail with status 2 and return its one line on standard error."""
    with pytest.raises(SystemExit) as ended:
        train.main(list(arguments))
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


def numbers(record: Record) -> dict[str, Any]:
    """Everything that a run measured."""
    content = json.loads(record.to_json())
    names = ("task", "scores", "history", "progress", "outcome", "model", "data")
    return {name: content[name] for name in names}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def test_a_grid_and_train_give_the_same_numbers(tmp_path: Path, cache: Path) -> None:
    from_grid = make(tiny_run(cache), tmp_path / "grid")
    from_train = fit(from_grid / "config.yaml", tmp_path / "train")
    assert numbers(read_record(from_train)) == numbers(read_record(from_grid))
    assert read_record(from_train).config_hash == read_record(from_grid).config_hash
    assert yaml.safe_load((from_train / "config.yaml").read_text()) == yaml.safe_load(
        (from_grid / "config.yaml").read_text()
    )


def test_an_interrupted_and_resumed_run_equals_an_undisturbed_one(
    configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = fit(configuration, tmp_path / "undisturbed")

    def interrupt(module: TextClassifier, batch: object, batch_idx: int) -> None:
        if module.current_epoch == 1 and batch_idx == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(TextClassifier, "on_train_batch_end", lambda module, outputs, *rest: interrupt(module, *rest))
        fit(configuration, tmp_path / "resumed")
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip().count("\n") == 0
    resumed = tmp_path / "resumed" / undisturbed.relative_to(tmp_path / "undisturbed")
    assert not (resumed / RECORD_FILE).exists()

    assert fit(configuration, tmp_path / "resumed", "--ckpt_path", "last") == resumed
    assert numbers(read_record(resumed)) == numbers(read_record(undisturbed))
    for name, tensor in weights(undisturbed).items():
        assert torch.equal(weights(resumed)[name], tensor), name
    assert curves(resumed) == curves(undisturbed)


@pytest.mark.parametrize("part", ["state_dict", "optimizer_states"])
def test_training_goes_on_only_from_the_numbers_that_were_saved(
    part: str, configuration: Path, tmp_path: Path, fails_with_one_line: Callable[..., str]
) -> None:
    path = fit(configuration, tmp_path) / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    numbers = checkpoint[part] if part == "state_dict" else checkpoint[part][0]["state"][0]
    name = next(name for name, value in numbers.items() if value.is_floating_point() and value.numel() > 1)
    numbers[name].flatten()[0] += 1
    torch.save(checkpoint, path)
    arguments = ["fit", "--config", path.parent / "config.yaml", "--ckpt_path", path, "--results", tmp_path / "other"]
    assert "not those that were saved" in fails_with_one_line(train.main, *arguments)


def curves(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without what depends on the clock."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = [{name: value for name, value in row.items() if "throughput" not in name} for row in rows]
    return [point for point in points if any(point[name] for name in point.keys() - {"epoch", "step"})]


def test_fitting_twice_gives_the_same_record(configuration: Path, tmp_path: Path) -> None:
    folder = fit(configuration, tmp_path)
    first = (folder / RECORD_FILE).read_bytes()
    assert fit(configuration, tmp_path) == folder
    assert (folder / RECORD_FILE).read_bytes() == first


def test_flags_that_a_grid_does_not_know_get_a_folder_and_a_hash_of_their_own(
    configuration: Path, tmp_path: Path
) -> None:
    usual = fit(configuration, tmp_path)
    short = fit(configuration, tmp_path, "--trainer.limit_train_batches", "3")
    assert short != usual
    assert read_record(short).progress["steps"] == 6 < read_record(usual).progress["steps"]
    assert read_record(short).config_hash != read_record(usual).config_hash
    assert fit(short / "config.yaml", tmp_path) == short


def test_a_checkpoint_is_tested_without_touching_its_run(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fit(configuration, tmp_path)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    capsys.readouterr()
    for checkpoint in (str(folder / "best.ckpt"), "best"):
        train.main(
            ["test", "--config", str(folder / "config.yaml"), "--results", str(tmp_path), "--ckpt_path", checkpoint]
        )
        scores = read_record(folder).test
        shown = re.search(r"test/macro_f1\W+([\d.]+)", capsys.readouterr().out)
        assert scores is not None and shown is not None
        assert float(shown[1]) == pytest.approx(scores.metrics["macro_f1"], abs=1e-6)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_checkpoints_that_cannot_be_used_are_refused(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str, verb: str = "fit") -> str:
        return complaint(capsys, verb, "--config", str(configuration), "--results", str(tmp_path), *arguments)

    assert "there is no checkpoint" in said("--ckpt_path", "last")
    assert "needs --ckpt_path" in said(verb="test")
    folder = fit(configuration, tmp_path)
    record = (folder / RECORD_FILE).read_bytes()
    assert "holds weights only" in said("--ckpt_path", str(folder / "best.ckpt"))
    assert "model.layers 1" in said("--ckpt_path", str(folder / "last.ckpt"), "--model.layers", "2")
    whole = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(whole[: len(whole) // 2])
    assert "last.ckpt is damaged" in said("--ckpt_path", "last")
    assert (folder / RECORD_FILE).read_bytes() == record


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model.lay", "3"], "--model.layers"),
        (["--model.layers", "three"], "int"),
        (["--model.variant", "pre_nl"], "'pre_ln'"),
        (["--model.heads", "5"], "the nearest that does is 4"),
        (["--data.corpus", "docstring"], "docstrings"),
        (["--data.tokenizer", "wordpice", "--data.corpus", "listops", "--data.listops.train_rows", "500"], "wordpiece"),
        (["--trainer.max_epoch", "3"], "--trainer.max_epochs"),
        (["--trainer.precision", "31"], "precision"),
        (["--trainer.deterministic", "false"], "trainer.deterministic"),
        (["--trainer.max_epochs", "0"], "at least 1"),
        (["--config", "no_such.yaml"], "no_such.yaml"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_wrong_option_gets_one_line(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path / "cache"))
    assert expected in complaint(capsys, "fit", *arguments, "--results", str(tmp_path / "results"))


def test_a_results_folder_that_is_a_file(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("a file, not a folder")
    said = complaint(capsys, "fit", "--config", str(configuration), "--results", str(tmp_path / "results"))
    assert str(tmp_path / "results") in said and "cannot be written" in said


def test_two_processes_never_train_in_one_folder(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fit(configuration, tmp_path)
    record = (folder / RECORD_FILE).read_bytes()
    hold = (
        f"import fcntl, sys\nwith open({str(folder / '.lock')!r}, 'w') as file:\n    fcntl.flock(file, fcntl.LOCK_EX)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold + "    print(flush=True)\n    sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout is not None
        other.stdout.readline()
        said = complaint(capsys, "fit", "--config", str(configuration), "--results", str(tmp_path))
    assert "another process is training" in said
    assert (folder / RECORD_FILE).read_bytes() == record


def test_the_printed_configuration_is_read_back_unchanged(
    tmp_path: Path, configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(path: Path) -> str:
        with pytest.raises(SystemExit) as ended:
            train.main(["fit", "--config", str(path), "--print_config"])
        assert ended.value.code == 0
        return capsys.readouterr().out

    (tmp_path / "printed.yaml").write_text(printed(configuration))
    content = yaml.safe_load((tmp_path / "printed.yaml").read_text())
    assert content["model"]["width"] == 16 and content["trainer"]["max_epochs"] == 2
    assert yaml.safe_load(printed(tmp_path / "printed.yaml")) == content


@pytest.fixture(scope="module")
def help_text() -> tuple[str, list[str]]:
    """The help of `fit`, and the modules that were imported to show it but not by Lightning itself."""
    code = (
        "import sys, lightning.pytorch.cli; before = set(sys.modules)\n"
        "from experiments.train import main\n"
        "try:\n    main(['fit', '--help'])\nexcept SystemExit:\n    pass\n"
        "print('imported:', *sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=None, cwd=REPOSITORY
    )
    text, _, imported = done.stdout.rpartition("imported: ")
    return text, imported.split()


REPOSITORY = Path(__file__).parent.parent.parent


def test_help_explains_every_field(help_text: tuple[str, list[str]]) -> None:
    options = {}
    for line in help_text[0].replace("\n" + " " * 20, " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        options[name] = rest
    for section, schema in (("model", ModelConfig), ("data", DataConfig)):
        for entry in fields(schema):
            if entry.name not in ("seed", "docstrings", "listops"):
                explanation = options[f"--{section}.{entry.name}"]
                assert len(explanation.partition("(")[0].split()) > 1, f"--{section}.{entry.name}: {explanation}"


def test_help_imports_no_heavy_package_of_ours(help_text: tuple[str, list[str]]) -> None:
    imported = {name.partition(".")[0] for name in help_text[1]}
    assert imported.isdisjoint({"datasets", "transformers", "sklearn", "pandas", "pyarrow"})
