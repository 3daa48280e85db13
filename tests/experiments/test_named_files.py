"""A record names the SHA-256 of predictions and checkpoints, and whoever reads one of these compares it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from synthetic_records import make_record, write_predictions, write_run
from tiny_runs import make, tiny_run

from experiments import compare, predict, probe, train
from experiments.cluster.run_archive import ArchiveError, pack_run, unpack_run
from experiments.errors import RecordError
from experiments.planning.runs import Run
from experiments.runs.run_folder import left_files, read_record, write_record
from experiments.runs.store import Evidence
from lightning_modules.tasks.checkpoints import tensors_digest

Fail = Callable[..., str]
TEXT = ["--text", "MAX 1 2 ]"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    run = tiny_run(tmp_path_factory.mktemp("cache"))
    return run, make(run, tmp_path_factory.mktemp("results"))


@pytest.fixture
def copy(made: tuple[Run, Path], tmp_path: Path) -> Path:
    """A copy of the run that a test may spoil."""
    return Path(shutil.copytree(made[1], tmp_path / "seed_0"))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def without_names(folder: Path) -> Path:
    """Make the record of a run one from before it named files."""
    write_record(folder, replace(read_record(folder), files={}))
    return folder


def test_a_record_names_the_digests_of_what_its_run_left(made: tuple[Run, Path]) -> None:
    _, folder = made
    names = {"predictions.parquet", "best.ckpt"}
    assert read_record(folder).files == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names
    }


def test_a_record_without_names_is_spelled_as_before_there_were_any(copy: Path) -> None:
    named = (copy / "run.json").read_text()
    assert '"files":{' in named
    assert '"files"' not in (without_names(copy) / "run.json").read_text()
    assert read_record(copy).files == {}


@pytest.mark.parametrize("command", [predict.main, probe.main], ids=["predict", "probe"])
def test_a_changed_checkpoint_answers_nothing(
    command: Callable[[list[str]], None], copy: Path, tmp_path: Path, fails_with_one_line: Fail
) -> None:
    flip_a_bit(copy / "best.ckpt")
    options = [copy, *TEXT] if command is predict.main else ["--run", copy, "--results", tmp_path]
    assert "best.ckpt is damaged or is not what its run left" in fails_with_one_line(command, *options)


def test_training_does_not_go_on_from_a_changed_checkpoint(
    copy: Path, tmp_path: Path, fails_with_one_line: Fail
) -> None:
    flip_a_bit(copy / "best.ckpt")
    options = ["--config", copy / "config.yaml", "--ckpt_path", copy / "best.ckpt", "--results", tmp_path]
    for verb in ("fit", "test"):
        assert "best.ckpt is damaged or is not what" in fails_with_one_line(train.main, verb, *options)


def test_changed_predictions_are_neither_compared_nor_reported(
    made: tuple[Run, Path], copy: Path, tmp_path: Path, fails_with_one_line: Fail
) -> None:
    table = pd.read_parquet(copy / "predictions.parquet")
    table.loc[[0, 1], "predicted"] = table.loc[[1, 0], "predicted"].to_numpy()
    table.to_parquet(copy / "predictions.parquet")
    message = fails_with_one_line(compare.main, made[1], copy)
    assert "predictions.parquet is damaged or is not what its run left" in message
    folder = write_run(tmp_path / "runs", make_record("post_ln", 0))
    flip_a_bit(folder / "predictions.parquet")
    with pytest.raises(RecordError, match=r"predictions\.parquet is damaged or is not what its run left"):
        Evidence.gather(tmp_path / "runs", tmp_path / "none")


def test_a_report_refuses_predictions_that_contradict_the_record(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", make_record("post_ln", 0))
    table = pd.read_parquet(folder / "predictions.parquet")
    write_predictions(folder, table.assign(predicted=(table["predicted"] + 1) % 3))
    with pytest.raises(RecordError, match="post_ln/default/seed_0: the recorded confusion matrix is not that"):
        Evidence.gather(tmp_path / "runs", tmp_path / "none")
    write_predictions(folder, table.assign(predicted=7))
    with pytest.raises(RecordError, match="a class that is none of the 3"):
        Evidence.gather(tmp_path / "runs", tmp_path / "none")


def test_files_of_older_records_are_used_and_said_to_be_unchecked(
    made: tuple[Run, Path], copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without_names(copy)
    predict.main([str(copy), *TEXT])
    compare.main([str(made[1]), str(copy), "--rows", "0"])
    said = [record.getMessage() for record in caplog.records]
    assert [message.partition(" is unchecked")[0] for message in said] == [
        str(copy / "best.ckpt"),
        str(copy / "predictions.parquet"),
    ]
    without_names(write_run(tmp_path / "runs", make_record("post_ln", 0)))
    write_run(tmp_path / "runs", make_record("post_ln", 1))
    notes = Evidence.gather(tmp_path / "runs", tmp_path / "none").notes
    assert notes == ["1 file(s) of predictions are unchecked: older records name no SHA-256 of them"]


@pytest.mark.parametrize("name", ["predictions.parquet", "best.ckpt"])
def test_another_machine_cannot_send_other_files_than_its_record_names(
    name: str, made: tuple[Run, Path], copy: Path, tmp_path: Path
) -> None:
    run, _ = made
    fingerprint = str(read_record(copy).data["fingerprint"])
    flip_a_bit(copy / name)
    with pytest.raises(ArchiveError, match=f"its {name} is not the one that its record names"):
        unpack_run(pack_run(copy), run, tmp_path / "here", fingerprint)
    (copy / name).unlink()
    with pytest.raises(ArchiveError, match=f"its {name} is not the one that its record names"):
        unpack_run(pack_run(copy), run, tmp_path / "here", fingerprint)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("verb", ["predict", "probe", "test", "fit"])
def test_weights_that_are_not_finite_answer_nothing(
    verb: str, value: float, copy: Path, tmp_path: Path, fails_with_one_line: Fail
) -> None:
    checkpoint = torch.load(copy / "best.ckpt", weights_only=True)
    name = next(name for name, weight in checkpoint["state_dict"].items() if weight.is_floating_point())
    checkpoint["state_dict"][name].flatten()[0] = value
    checkpoint["optimizer_states"] = [{"state": {}}]
    torch.save(checkpoint, copy / "best.ckpt")
    write_record(copy, replace(read_record(copy), files=left_files(copy)))
    cli = ["--config", copy / "config.yaml", "--ckpt_path", copy / "best.ckpt", "--results", tmp_path]
    options = {"predict": [copy, *TEXT], "probe": ["--run", copy, "--results", tmp_path]}
    commands = {"predict": predict.main, "probe": probe.main}
    arguments = options.get(verb, [verb, *cli])
    message = fails_with_one_line(commands.get(verb, train.main), *arguments)
    assert f"state_dict.{name} holds numbers that are not finite" in message


def test_an_answer_that_overflows_is_no_class(copy: Path, fails_with_one_line: Fail) -> None:
    checkpoint = torch.load(copy / "best.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]
    for name in weights:
        if "head" in name and weights[name].ndim == 2:
            weights[name].fill_(3e38)
            weights[name][0] *= -1
    checkpoint["tensors_sha256"] = tensors_digest(checkpoint)
    torch.save(checkpoint, copy / "best.ckpt")
    write_record(copy, replace(read_record(copy), files=left_files(copy)))
    message = fails_with_one_line(predict.main, copy, "--text", "MAX 1 2 ]", "--text", "MIN 3 4 ]")
    assert "the network has no answer for 2 of 2 texts" in message and "not finite" in message


def test_predictions_that_are_no_classes_are_refused(
    made: tuple[Run, Path], copy: Path, fails_with_one_line: Fail
) -> None:
    table = pd.read_parquet(copy / "predictions.parquet")
    for column, value in (("predicted", 99), ("label", -1), ("probability_3", float("nan"))):
        write_predictions(copy, table.assign(**{column: value}))
        assert "an answer is no class" in fails_with_one_line(compare.main, made[1], copy)
