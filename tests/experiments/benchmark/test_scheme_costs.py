"""What a step of a scheme holds in memory: counted by hand, repeatable, and written over Pre-LN's."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from experiments.benchmark import __main__ as command
from experiments.benchmark.scheme_times import LENGTH, ROWS, WIDTH, Stepper, held_bytes, weigh_schemes
from experiments.benchmark.table import installed_version
from experiments.scheme_cards import MEMORY_COLUMNS, MEMORY_FILE

COMMITTED = Path(__file__).parents[3] / "results" / "benchmark" / MEMORY_FILE
QUIET = Console(quiet=True)


def test_the_count_has_what_autograd_saved_the_result_and_the_weights_once() -> None:
    weight, x = torch.ones(10, requires_grad=True), torch.ones(10)
    # The product saves x, exp saves its own result, and the sum, a float, saves nothing.
    assert held_bytes(lambda: (weight * x).exp().sum()) == 40 + 40 + 4
    assert held_bytes(lambda: (weight * x).exp().sum(), [weight, weight[:2]]) == 40 + 40 + 4 + 40


def test_a_view_counts_as_the_whole_storage_that_it_keeps_and_two_as_one() -> None:
    weight = torch.ones(10, requires_grad=True)
    assert held_bytes(lambda: (weight[:2] * weight[5:7]).sum()) == 40 + 4


def test_what_was_saved_for_a_part_without_use_is_not_counted() -> None:
    weight = torch.ones(10, requires_grad=True)

    def compute() -> torch.Tensor:
        (weight * torch.ones(10)).exp()
        return (2 * weight).sum()

    assert held_bytes(compute) == 4


def test_counting_leaves_gradients_as_they_are() -> None:
    stepper = Stepper.of("pre_ln")
    before = [parameter.grad.clone() for parameter in stepper.network.parameters() if parameter.grad is not None]
    assert before and stepper.held() == stepper.held()
    after = [parameter.grad for parameter in stepper.network.parameters() if parameter.grad is not None]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_each_norm_holds_its_input_its_statistics_and_four_times_its_parameters() -> None:
    """Without norms a linear map saves the stream itself; with one it saves the norm's output as well."""
    tokens, norms = ROWS * LENGTH, 13  # two in each block, and the one before the head
    of_each = 4 * tokens * WIDTH + 2 * 4 * tokens + 4 * 4 * 2 * WIDTH
    counters = 2 * 4  # AdamW counts the steps of gain and of bias
    assert Stepper.of("pre_ln").held() - Stepper.of("no_norm").held() == norms * (of_each + counters)


def test_the_table_keeps_the_rows_of_others_and_the_order_of_the_schemes(
    tmp_path: Path, fails_with_one_line: Callable[..., str]
) -> None:
    command.main(["--scheme_memory", "[post_ln]", "--results", str(tmp_path)])
    own = tmp_path / "benchmark"
    weigh_schemes(["pre_ln"], own, QUIET)
    with (own / MEMORY_FILE).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == MEMORY_COLUMNS and [row["scheme"] for row in rows] == ["post_ln", "pre_ln"]
    assert rows[1]["relative_memory"] == "1.000" and int(rows[1]["held_bytes"]) > 2**20
    assert "did you mean 'post_ln'" in fails_with_one_line(command.main, "--scheme_memory", "[post_l]")
    said = fails_with_one_line(command.main, "--scheme_memory", "[]", "--schemes", "[]")
    assert "--schemes and --scheme_memory are two questions" in said


def test_a_table_with_other_columns_is_refused(tmp_path: Path, fails_with_one_line: Callable[..., str]) -> None:
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / MEMORY_FILE).write_text("scheme,bytes\npre_ln,1\n")
    said = fails_with_one_line(command.main, "--scheme_memory", "[pre_ln]", "--results", tmp_path)
    assert "has other columns than scheme, relative_memory" in said


def test_the_committed_count_is_that_of_this_code() -> None:
    with COMMITTED.open(encoding="utf-8") as file:
        rows = {row["scheme"]: row for row in csv.DictReader(file)}
    if rows["pre_ln"]["torch"] != installed_version("torch"):
        pytest.skip("another version of torch may save other tensors")
    for name in ("pre_ln", "mhc"):
        assert Stepper.of(name).held() == int(rows[name]["held_bytes"])
