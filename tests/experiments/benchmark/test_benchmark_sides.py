"""Every side of the benchmark trains the same task at the same size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_run
from torch import Tensor, nn
from torch.func import functional_call
from torch.profiler import profile

from experiments.benchmark import sides
from experiments.benchmark.peers import build_peer
from experiments.benchmark.roster import ROSTER
from experiments.benchmark.side_by_side import train_side
from experiments.benchmark.sides import SIDES
from experiments.benchmark.task import BenchmarkTask, SideTiming, Work
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from lightning_modules.network.counting import flops_per_token

LENGTH = 24
PACKAGES = {name: side.package for name, side in ROSTER.items() if side.package}
CLASSIFIERS = [name for name, side in ROSTER.items() if "classification" in side.tasks]
PEERS = [name for name in CLASSIFIERS if not ROSTER[name].ours and ROSTER[name].grouped]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkTask:
    torch.set_num_threads(1)
    config = tiny_run(tmp_path_factory.mktemp("sides"), stage="tune", max_length=LENGTH).config
    return BenchmarkTask(config.with_values({"data.listops.train_rows": 2000}))  # BERT starts slowly


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(tmp_path_factory.mktemp("benchmark"), stage="tune").config


def skip_without_package(name: str) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason="needs requirements-benchmark.txt")


def untrained(name: str, task: BenchmarkTask) -> nn.Module:
    """Return the network that a side trains, as it was before."""
    if ROSTER[name].ours:
        return task.network()
    return build_peer("hf_bert" if name.startswith("hf_trainer") else name, task)


def mean_loss(network: nn.Module, parameters: dict[str, Tensor], task: BenchmarkTask) -> float:
    """Return the cross-entropy over all training rows in evaluation mode."""
    total, rows = 0.0, 0
    for batch in task.data.train_dataloader():
        with torch.no_grad():
            logits = functional_call(network.eval(), parameters, (batch["input_ids"], batch["attention_mask"]))
        total += nn.functional.cross_entropy(logits, batch["labels"], reduction="sum").item()
        rows += len(logits)
    return total / rows


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_both_our_sides_do_the_same_work_to_the_bit(config: RunConfig, precision: str) -> None:
    """Without dropout, whose draws differ, the sides end with the same weights."""
    task = BenchmarkTask(config.with_values({"model.dropout": 0.0, "trainer.precision": precision}))
    untrained = {name: value.detach().clone() for name, value in task.network().named_parameters()}
    timings = {name: SIDES[name](task) for name in ("lightning", "plain")}
    plain = timings["plain"]
    assert plain.steps == task.data.facts.steps_per_epoch
    assert plain.tokens == int(task.data.encoded.splits["train"].lengths.sum())
    assert not torch.equal(plain.parameters["head.linear.weight"], untrained["head.linear.weight"])
    for name, timing in timings.items():
        assert (timing.steps, timing.rows, timing.tokens, timing.positions) == (
            plain.steps,
            len(task.data.encoded.splits["train"]),
            plain.tokens,
            plain.positions,
        ), name
        assert timing.seconds > 0
        for parameter, value in plain.parameters.items():
            assert torch.equal(timing.parameters[parameter], value), (name, parameter)


def test_the_plain_loop_refuses_a_precision_that_it_does_not_have(config: RunConfig) -> None:
    with pytest.raises(ExperimentError, match="32-true or bf16-mixed, not in 16-mixed"):
        SIDES["plain"](BenchmarkTask(config.with_values({"trainer.precision": "16-mixed"})))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_side_learns_from_every_row_once(name: str, task: BenchmarkTask) -> None:
    skip_without_package(name)
    split = task.data.encoded.splits["train"]
    timing = SIDES[name](task)
    assert (timing.rows, timing.tokens) == (timing.copies * len(split), timing.copies * int(split.lengths.sum()))
    assert timing.steps == task.data.facts.steps_per_epoch and timing.seconds > 0
    network = untrained(name, task)
    prefix = "bert." if name.startswith("hf_trainer") else ""  # the Trainer trains BERT itself, not its logits alone
    trained = {prefix + key: value for key, value in timing.parameters.items()}
    start = dict(network.named_parameters())
    assert set(trained) == set(start)
    assert mean_loss(network, trained, task) < 0.95 * mean_loss(network, start, task)


def test_padding_grows_from_grouped_batches_to_random_ones_to_a_fixed_length(task: BenchmarkTask) -> None:
    skip_without_package("hf_trainer")
    grouped, random, fixed = (SIDES[name](task) for name in ("hf_bert", "hf_trainer", "hf_trainer_fixed"))
    tuned = SIDES["hf_trainer_tuned"](task)
    assert grouped.positions <= tuned.positions < random.positions
    assert grouped.positions == task.work().positions
    assert fixed.positions == fixed.rows * LENGTH
    padding = [1 - timing.tokens / timing.positions for timing in (grouped, random, fixed)]
    assert padding == sorted(padding) and len(set(padding)) == 3


def test_work_is_counted_by_the_masks_of_the_batches() -> None:
    work = Work()
    work.add(torch.tensor([[True, True, True], [True, False, False]]))
    work.add(torch.tensor([[1, 0], [1, 1]]))
    assert (work.rows, work.tokens, work.positions) == (4, 7, 10)
    timing = SideTiming(seconds=2.0, rows=4, tokens=7, positions=10, steps=2, parameters={})
    assert timing.tokens_per_second == 3.5


@pytest.mark.parametrize("name", ["torch_encoder", "x_transformers"])
def test_a_peer_has_the_arithmetic_of_our_network(name: str, task: BenchmarkTask) -> None:
    skip_without_package(name)
    assert flops_per_token(build_peer(name, task), LENGTH) == flops_per_token(task.network(), LENGTH)


def test_bert_has_our_parameters_and_a_pooler_and_two_segments(task: BenchmarkTask) -> None:
    width = task.config.model.width
    ours, bert = (sum(p.numel() for p in untrained(name, task).parameters()) for name in ("plain", "hf_bert"))
    assert bert - ours == (width * width + width) + 2 * width


@pytest.mark.parametrize("name", ["hf_bert", "x_transformers"])
def test_an_eager_peer_is_the_same_network_with_attention_by_single_products(name: str, task: BenchmarkTask) -> None:
    skip_without_package(name)
    fused, eager = (build_peer(side, task).eval() for side in (name, f"{name}_eager"))
    ids, mask = torch.randint(2, 9, (3, 7)), torch.arange(7) < torch.tensor([[7], [5], [2]])
    kernels = []
    with torch.no_grad():
        for network in (fused, eager):
            with profile() as seen:
                logits = network(ids, mask)
            kernels.append({each.key for each in seen.key_averages() if "scaled_dot_product" in each.key})
            torch.testing.assert_close(logits, fused(ids, mask), atol=1e-5, rtol=1e-4)
    assert kernels[0] and not kernels[1]


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_ignores_padding(name: str, task: BenchmarkTask) -> None:
    skip_without_package(name)
    network = build_peer(name, task).eval()
    ids, mask = torch.tensor([[2, 5, 7, 0, 0]]), torch.tensor([[True, True, True, False, False]])
    with torch.no_grad():
        padded, alone = network(ids, mask), network(ids[:, :3], mask[:, :3])
    assert padded.shape == (1, len(task.data.facts.class_names))
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_named_with_the_file_that_holds_it(
    name: str, task: BenchmarkTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "find_spec", lambda package: None)
    with pytest.raises(ExperimentError, match=rf"{name}.*{PACKAGES[name]}.*requirements-benchmark\.txt") as raised:
        SIDES[name](task)
    assert "\n" not in str(raised.value)


def test_the_file_of_requirements_holds_every_package() -> None:
    text = (Path(__file__).parents[3] / sides.REQUIREMENTS).read_text(encoding="utf-8")
    for package in PACKAGES.values():
        assert f"\n{package.replace('_', '-')}==" in text


def test_processes_side_by_side_each_do_what_one_does_alone(task: BenchmarkTask) -> None:
    timing, alone = train_side("plain", task, 2), SIDES["plain"](task)
    assert timing.copies == 2 and timing.steps == alone.steps
    assert (timing.rows, timing.tokens, timing.positions) == (2 * alone.rows, 2 * alone.tokens, 2 * alone.positions)
    for name, value in alone.parameters.items():
        assert torch.equal(timing.parameters[name], value), name
    wrong = BenchmarkTask(task.config.with_values({"trainer.precision": "16-mixed"}))
    with pytest.raises(ExperimentError, match="not in 16-mixed"):  # not that the others waited in vain
        train_side("plain", wrong, 2)


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name != "lightning"])
def test_a_side_computes_in_the_precision_that_the_roster_says(
    name: str, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the arithmetic itself: the type of what the first linear map of the network gives."""
    skip_without_package(name)
    given: list[torch.dtype] = []
    linear = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: given.append((y := linear(self, x)).dtype) or y)
    SIDES[name](BenchmarkTask(config.with_values({"trainer.precision": "bf16-mixed"})))
    assert given[0] == (torch.float32 if ROSTER[name].usual else torch.bfloat16)
