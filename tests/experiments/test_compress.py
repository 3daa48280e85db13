"""A tiny run is compressed: what is lost and how large it is follows from an independent count."""

from __future__ import annotations

import csv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from tiny_runs import make, tiny_run

from experiments.compress import main
from experiments.compressing import Method, answers_of, compress, losses, rows_of
from experiments.planning.run_config import TrainerConfig
from experiments.runs.inference import TrainedModel
from lightning_modules.compression.pruning import block_matrices

needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))), reason="requirements-export.txt is not installed"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("compressed")
    return make(tiny_run(place / "cache"), place / "results")


@pytest.fixture(scope="module")
def trained(run: Path) -> TrainedModel:
    return TrainedModel.load(run)


def test_a_run_becomes_a_table_of_size_time_and_loss(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    methods = "[bfloat16,weights:0.5,heads:0.5,units:0.5]"
    main(
        [
            str(run),
            "--methods",
            methods,
            "--rows",
            "40",
            "--rounds",
            "1",
            "--threads",
            "[1]",
            "--output",
            str(tmp_path / "o"),
        ]
    )
    printed = capsys.readouterr().out
    with (tmp_path / "o" / "compression.csv").open() as file:
        rows = {
            row["method"]: {name: float(value) for name, value in row.items() if name != "method"}
            for row in csv.DictReader(file)
        }
    assert list(rows) == ["float32", "bfloat16", "weights:0.5", "heads:0.5", "units:0.5"]
    assert all(name in printed for name in rows)
    assert rows["bfloat16"]["bytes"] < 0.7 * rows["float32"]["bytes"]
    assert (
        rows["weights:0.5"]["bytes"] == rows["float32"]["bytes"]
        and rows["weights:0.5"]["zipped"] < rows["float32"]["zipped"]
    )
    assert rows["units:0.5"]["bytes"] < rows["heads:0.5"]["bytes"] < rows["float32"]["bytes"]
    assert rows["float32"]["macro_f1"] == rows["float32"]["macro_f1_low"] == 0
    assert all(0 < row["p50_1"] <= row["p99_1"] and row["throughput_1"] > 0 for row in rows.values())
    assert (tmp_path / "o" / "compression.md").read_text().startswith("| method |")


def test_losses_are_those_of_scikit_learn(trained: TrainedModel, tmp_path: Path) -> None:
    rows = rows_of(trained.data)
    whole, half = (
        answers_of(compress(trained, Method.of(name), tmp_path, None).forward(1), rows)
        for name in ("float32", "weights:0.9")
    )
    lost = losses(whole, half, rows)
    assert lost["accuracy"][0] == pytest.approx(accuracy_score(rows.labels, half) - accuracy_score(rows.labels, whole))
    f1 = [f1_score(rows.labels, found, average="macro", zero_division=0) for found in (half, whole)]
    assert lost["macro_f1"][0] == pytest.approx(f1[0] - f1[1])
    assert lost["macro_f1"][1] <= lost["macro_f1"][0] <= lost["macro_f1"][2]


def test_training_further_changes_what_stays_and_keeps_what_went(trained: TrainedModel, tmp_path: Path) -> None:
    from experiments.compressing import pruned

    method = Method.of("weights:0.75")
    before = pruned(trained, method, None)
    after = pruned(trained, method, TrainerConfig(max_steps=3, accelerator="cpu"))
    first, second = (block_matrices(module.network) for module in (before, after))
    for name, matrix in first.items():
        assert torch.equal(matrix == 0, second[name] == 0), name
    assert any(not torch.equal(matrix, second[name]) for name, matrix in first.items())
    assert all((matrix != 0).all() for matrix in block_matrices(trained.module.network).values())


@needs_onnx
def test_onnx_answers_as_torch_does_and_int8_nearly(trained: TrainedModel, tmp_path: Path) -> None:
    batch = rows_of(trained.data).batches[0]
    for name in ("onnx", "heads:0.5+onnx", "int8"):
        made = compress(trained, Method.of(name), tmp_path, None)
        same = compress(trained, Method.of("heads:0.5" if "heads" in name else "float32"), tmp_path, None)
        found, expected = (each.forward(1)(batch["input_ids"], batch["attention_mask"]) for each in (made, same))
        np.testing.assert_allclose(found, expected, atol=0.2 if name == "int8" else 1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heads_0.5+onnx.onnx", "int8.onnx", "onnx.onnx"]


def test_a_mistake_is_one_line(run: Path, tmp_path: Path, fails_with_one_line: Callable[..., str]) -> None:
    assert "did you mean 'int8'" in fails_with_one_line(main, run, "--methods", "[int9]")
    assert "needs a share" in fails_with_one_line(main, run, "--methods", "[heads]")
    assert "needs a share" in fails_with_one_line(main, run, "--methods", "[heads:half]")
    assert "below 1" in fails_with_one_line(main, run, "--methods", "[blocks:1.5]")
    assert "only pruning" in fails_with_one_line(main, run, "--methods", "[int8+onnx]")
    (tmp_path / "mine").write_text("")
    assert "already" in fails_with_one_line(main, run, "--output", tmp_path)
    assert "does not exist" in fails_with_one_line(main, tmp_path / "absent")
