"""The verb: its options, and that every question ends in the one table and the one page."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import tiny_run

from experiments.benchmark import __main__ as command
from experiments.benchmark import schemes_timed
from experiments.benchmark.task import BenchmarkTask, SideTiming
from experiments.planning.run_config import RunConfig
from lightning_modules.config import ModelConfig


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A tiny task in place of the command's."""
    torch.set_num_threads(1)
    config = tiny_run(tmp_path / "cache", stage="tune").config
    monkeypatch.setattr(command, "configuration", lambda options: config)
    return config


def rows_in(results: Path) -> list[dict[str, str]]:
    with (results / "benchmark" / "benchmark.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_two_sides_end_as_pairs_in_the_table_and_on_the_page(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(["--side", "lightning", "--pairs", "2", "--workers", "0", "--results", str(tmp_path)])
    rows = rows_in(tmp_path)
    assert [(row["round"], row["side"]) for row in rows] == [
        *(("1", "lightning"), ("1", "plain")),
        *(("2", "plain"), ("2", "lightning")),
    ]
    assert {(row["axis"], row["value"], row["series"]) for row in rows} == {
        ("pair", "lightning/plain", "lightning_against_plain")
    }
    for row in rows:
        assert row["cpu"] and row["torch"] == torch.__version__ and row["date"]
    page = (tmp_path / "benchmark" / "benchmark.md").read_text(encoding="utf-8")
    seconds = {(row["round"], row["side"]): float(row["seconds"]) for row in rows}
    middle = np.median([seconds[number, "lightning"] / seconds[number, "plain"] for number in ("1", "2")])
    (sentence,) = re.findall(r"^lightning takes .*", page, flags=re.MULTILINE)
    assert sentence.startswith(f"lightning takes {middle:.3f} times what plain takes")
    assert "real tokens per second" in page and "Runs per hour" not in page
    assert sentence in capsys.readouterr().out


def test_all_sides_end_in_the_table_and_on_the_page(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = "[plain,lightning,torch_encoder]"
    command.main(["--sides", sides, "--rounds", "2", "--memory", "false", "--results", str(tmp_path)])
    rows = rows_in(tmp_path)
    assert [row["side"] for row in rows] == [
        "plain",
        "lightning",
        "torch_encoder",
        *("torch_encoder", "lightning", "plain"),
    ]
    assert len({row["tokens"] for row in rows}) == 1
    series = "sides+task=classification+width=16+layers=1+threads=1+processes=1+precision=32-true+dropout=alike"
    assert {row["series"] for row in rows} == {f"{series}+sides=plain,lightning,torch_encoder"}
    flops = str(BenchmarkTask(config).flops_per_token())
    assert all(float(row["machine_float32_gflops"]) > 0 and row["flops_per_token"] == flops for row in rows)
    speeds = [float(row["tokens"]) / float(row["seconds"]) for row in rows if row["side"] == "torch_encoder"]
    page = (tmp_path / "benchmark" / "benchmark.md").read_text(encoding="utf-8")
    assert f"| torch_encoder | 32-true | alike | {np.median(speeds):.0f} |" in page
    printed = capsys.readouterr().out
    assert (
        "• task classification, layers 1, width 16, threads 1, processes 1, precision 32-true, " in printed
    )  # what all sides share is no column
    assert "round 2 of 2" in printed and f"wrote {tmp_path / 'benchmark' / 'benchmark.csv'}" in printed
    command.main(["--sides", "[plain]", "--rounds", "1", "--memory", "false", "--results", str(tmp_path)])
    assert rows_in(tmp_path)[: len(rows)] == rows and len(rows_in(tmp_path)) == len(rows) + 1  # none replaced


def test_variants_end_in_the_table_and_on_the_page(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(["--variants", "[plain,post_ln]", "--rounds", "2", "--results", str(tmp_path)])
    rows = rows_in(tmp_path)
    assert [row["variant"] for row in rows] == ["plain", "post_ln", "post_ln", "plain"]
    assert [row["value"] for row in rows] == ["plain", "post_ln", "post_ln", "plain"]
    assert {(row["steps"], row["tokens"]) for row in rows} == {(rows[0]["steps"], rows[0]["tokens"])}
    assert all(float(row["seconds"]) > 0 for row in rows)
    page = tmp_path / "benchmark" / "benchmark.md"
    assert "under Plain as under Post-LN." in page.read_text(encoding="utf-8")
    assert f"wrote {page}" in " ".join(capsys.readouterr().out.split("\n"))


def test_a_variant_that_did_not_train_to_the_end_is_no_measurement(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops_early(task: BenchmarkTask) -> SideTiming:
        planned = task.data.facts.steps_per_epoch
        steps = planned - 1 if task.config.model.variant == "plain" else planned
        return SideTiming(seconds=1.0, rows=40, tokens=1_000, positions=1_250, steps=steps, parameters={})

    monkeypatch.setattr(schemes_timed, "train_with_lightning", stops_early)
    with pytest.raises(SystemExit):
        command.main(["--variants", "[plain,post_ln]", "--rounds", "1", "--results", str(tmp_path)])
    assert "plain diverged after 9 of 10 steps" in capsys.readouterr().err
    assert not (tmp_path / "benchmark").exists()


def test_the_variants_of_the_claims_are_measured_unless_others_are_named() -> None:
    assert schemes_timed.chosen_variants([]) == [
        "post_ln",
        "pre_ln",
        "no_residual",
        "no_residual_pre",
        "no_norm",
        "plain",
        "bag_of_embeddings",
    ]
    assert schemes_timed.chosen_variants(["plain", "rezero"]) == ["plain", "rezero"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pairs", "0"], "--pairs is 0"),
        (["--side", "plain"], "two different sides"),
        (["--side", "lightening"], "did you mean 'lightning'"),
        (["--side", "hf_gpt2"], "hf_gpt2 does not train classification"),
        (["--task", "causal_lm", "--sides", "[hf_bert]"], "hf_bert does not train causal_lm"),
        (["--task", "causal_l"], "did you mean 'causal_lm'"),
        (["--dropout", "alik"], "did you mean 'alike'"),
        (["--processes", "2", "--threads", "2"], "leave out --threads"),
        (["--processes", "2", "--runners"], "leave it out with --runners"),
        (["--profile", "plan"], "did you mean 'plain'"),
        (["--growth", "[depth]", "--task", "masked_lm"], "leave out --task"),
        (["--runners", "--workers", "0"], "--workers is 0"),
        (["--runners", "--profile", "plain"], "--runners and --profile are two questions"),
        (["--variants", "[all,plain]"], "leave out the others"),
        (["--side", "plain", "--sides", "[plain]"], "one or the other"),
        (["--pair", "3"], "--pairs"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--sides", "[lightning,torch_encode]"], "did you mean 'torch_encoder'"),
        (["--sides", "[plain,lightning,plain]"], "names plain 2 times"),
        (["--sides", "[]"], "--sides is empty"),
        (["--width", "66"], "heads"),
        (["--variants", "[post_l,plain]"], "did you mean 'post_ln'"),
        (["--variants", "[plain]"], "name another one"),
        (["--variants", "[plain,plain]"], "names plain 2 times"),
        (["--variants", "[]", "--side", "plain"], "leave out --sides, --side and --against"),
        (["--variants", "[]", "--growth", "[depth]"], "--growth and --variants are two questions"),
        (["--growth", "[dept]"], "did you mean 'depth'"),
        (["--growth", "[depth]", "--side", "plain"], "leave out --sides, --side and --against"),
        (["--memory_rows", "[10]"], "--memory_rows has 10; it must be at least 1000"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and message.count("\n") == 1 and words in message


def test_the_task_is_as_long_as_it_says() -> None:
    config = command.configuration(command.parse(["--steps", "60"]))
    assert config.data.max_train_rows == 60 * config.data.batch_size
    assert (config.model, config.threads) == (ModelConfig(variant="pre_ln", layers=6, width=64), 1)


def test_the_task_has_the_size_threads_and_precision_that_were_asked_for() -> None:
    options = command.parse(["--width", "128", "--layers", "12", "--threads", "2", "--precision", "bf16-mixed"])
    config = command.configuration(options)
    assert config.model == ModelConfig(variant="pre_ln", layers=12, width=128)
    assert (config.threads, config.trainer.precision) == (2, "bf16-mixed")


def test_a_language_model_has_its_own_text_and_as_many_steps_as_asked_for() -> None:
    config = command.configuration(command.parse(["--task", "causal_lm", "--steps", "7", "--dropout", "none"]))
    assert (config.task, config.data.corpus, config.data.tokenizer) == ("causal_lm", "prose", "bpe")
    assert config.trainer_flags == {"limit_train_batches": 7} and config.model.dropout == 0


def test_all_variants_leave_out_those_that_cannot_be_trained_here(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops_early(task: BenchmarkTask) -> SideTiming:
        steps = task.step_count - (task.config.model.variant == "plain")
        return SideTiming(seconds=1.0, rows=40, tokens=1_000, positions=1_250, steps=steps, parameters={})

    monkeypatch.setattr(schemes_timed, "train_with_lightning", stops_early)
    monkeypatch.setattr(schemes_timed, "chosen_variants", lambda given: ["pre_ln", "plain", "post_ln"])
    command.main(["--variants", "[all]", "--rounds", "1", "--results", str(tmp_path)])
    assert [(row["value"], row["series"]) for row in rows_in(tmp_path)] == [
        ("pre_ln", "variants+all"),
        ("post_ln", "variants+all"),
    ]
    printed = capsys.readouterr().out
    assert "left out: plain: plain diverged after 9 of 10 steps" in printed
    assert printed.index("3 variants, 1 rounds and a warm-up: about") < printed.index("left out")


def test_a_persons_own_measurements_go_where_git_ignores_them() -> None:
    assert command.folder_of(command.parse([])).parts[-3:] == ("results", "local", "benchmark")
    ignored = (Path(__file__).parents[3] / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "results/local/" in ignored


def test_nothing_imports_the_benchmark() -> None:
    experiments = Path(command.__file__).parent.parent
    importing = [
        str(path.relative_to(experiments))
        for path in sorted(experiments.rglob("*.py"))
        if path.parent.name != "benchmark"
        and re.search(r"^\s*(from|import) experiments\.benchmark", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ]
    assert importing == []
