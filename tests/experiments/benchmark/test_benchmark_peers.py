"""Peers of language models do our work, and dropout falls where it is said to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_runs import tiny_run
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from data_modules.config import DataConfig
from experiments.benchmark.peers import PEERS, build_peer
from experiments.benchmark.roster import ROSTER
from experiments.benchmark.sides import SIDES
from experiments.benchmark.task import BenchmarkTask
from experiments.planning.run_config import RunConfig, TrainerConfig
from lightning_modules.config import ModelConfig
from lightning_modules.network.heads import IGNORED

LANGUAGE_PEERS = [(name, task) for name, task in PEERS if task != "classification"]
CLASSIFYING_PEERS = [name for name, task in PEERS if task == "classification"]
LAYERS, WIDTH, HEADS = 2, 16, 2


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BenchmarkTask]:
    """A task of each kind: five batches of a tiny text."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("peers")
    book = folder / "book.txt"
    book.write_text("\n\n".join(f"the heron number {n} waits under bridge {n % 7} of the town." for n in range(400)))
    data = DataConfig(
        corpus="text", train_file=str(book), tokenizer="bpe", vocabulary_size=300, lowercase=False, label_column=None,
        max_length=24, batch_size=8, cache_dir=str(folder), near_duplicate_threshold=None,
    )  # fmt: skip
    model = ModelConfig(layers=LAYERS, width=WIDTH, heads=HEADS, learning_rate=1e-2)
    config = RunConfig(
        model=model,
        data=data,
        trainer=TrainerConfig(max_epochs=1, accelerator="cpu"),
        trainer_flags={"limit_train_batches": 5},
    )
    made = {name: BenchmarkTask(config.with_values({"task": name})) for name in ("causal_lm", "masked_lm")}
    rows = tiny_run(folder, stage="tune").config.with_values({"model.layers": LAYERS})
    return made | {"classification": BenchmarkTask(rows)}


def skip_without_package(name: str) -> None:
    package = ROSTER[name].package
    if package is not None:
        pytest.importorskip(package, reason="needs requirements-benchmark.txt")


@pytest.mark.parametrize("name", ["causal_lm", "masked_lm"])
def test_both_our_sides_do_the_same_work_to_the_bit_on_language_models(
    name: str, tasks: dict[str, BenchmarkTask]
) -> None:
    task = BenchmarkTask(tasks[name].config.with_values({"model.dropout": 0.0}))
    ours, bare = SIDES["lightning"](task), SIDES["plain"](task)
    assert ours.steps == bare.steps == 5 and ours.tokens == bare.tokens > 0
    for parameter, value in bare.parameters.items():
        assert torch.equal(ours.parameters[parameter], value), parameter


@pytest.mark.parametrize(("name", "task"), LANGUAGE_PEERS)
def test_a_language_peer_trains_on_our_tokens_by_the_loss_of_our_targets(
    name: str, task: str, tasks: dict[str, BenchmarkTask]
) -> None:
    """Its own loss is the cross-entropy of its logits with our targets, and training lowers it."""
    skip_without_package(name)
    peer: Any = build_peer(name, tasks[task]).eval()
    batch = next(iter(tasks[task].batches()))
    with torch.no_grad():
        logits, loss = peer(batch["input_ids"], batch["attention_mask"]), peer.loss(batch)
    chosen = batch["targets"] != IGNORED
    assert float(loss) == pytest.approx(float(F.cross_entropy(logits[chosen], batch["targets"][chosen])), rel=1e-5)
    timing, work = SIDES[name](tasks[task]), tasks[task].work()
    assert (timing.steps, timing.rows, timing.tokens) == (5, work.rows, work.tokens)
    trained = peer.load_state_dict(timing.parameters, strict=False)
    assert not trained.unexpected_keys
    with torch.no_grad():
        assert peer.loss(batch) < loss


@pytest.mark.parametrize(("name", "task"), LANGUAGE_PEERS)
def test_a_language_peer_reads_tokens_by_the_table_of_its_embeddings(
    name: str, task: str, tasks: dict[str, BenchmarkTask]
) -> None:
    skip_without_package(name)
    table = (tasks[task].data.facts.vocabulary_size, WIDTH)
    for network in (build_peer(name, tasks[task]), tasks[task].network()):
        assert [tuple(weight.shape) for weight in network.parameters()].count(table) == 1


@pytest.mark.parametrize("name", [name for name, task in LANGUAGE_PEERS if task == "causal_lm"])
def test_a_causal_peer_sees_nothing_that_comes_later(name: str, tasks: dict[str, BenchmarkTask]) -> None:
    skip_without_package(name)
    peer = build_peer(name, tasks["causal_lm"]).eval()
    ids = torch.arange(5, 15)[None]
    other = ids.clone()
    other[0, 6:] = 7
    with torch.no_grad():
        first, second = (peer(each, torch.ones_like(each, dtype=torch.bool)) for each in (ids, other))
    torch.testing.assert_close(first[:, :6], second[:, :6])
    assert not torch.allclose(first[:, 6:], second[:, 6:])


class Drawn(TorchDispatchMode):
    """Notes how many elements every dropout mask that is drawn has."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        match func.name().partition(".")[0]:
            case "aten::bernoulli_" | "aten::bernoulli":
                self.sizes.append(out.numel())
            case "aten::native_dropout":
                self.sizes.append(out[0].numel())
            case "aten::random_":  # ours: one number decides four elements
                self.sizes.append(4 * out.numel())
        return out


def masks_of(network: nn.Module, batch: dict[str, Tensor]) -> list[int]:
    with Drawn() as drawn:
        network.train()(batch["input_ids"], batch["attention_mask"])
    return drawn.sizes


@pytest.mark.parametrize(("name", "task"), list(PEERS))
def test_dropout_placed_alike_draws_the_masks_that_ours_draws(
    name: str, task: str, tasks: dict[str, BenchmarkTask]
) -> None:
    skip_without_package(name)
    config, batch = tasks[task].config, next(iter(tasks[task].batches()))
    ours = masks_of(tasks[task].network(), batch)
    assert ours == [batch["input_ids"].numel() * WIDTH] * (2 * LAYERS + 1)
    assert masks_of(build_peer(name, BenchmarkTask(config, "alike")), batch) == ours
    own = masks_of(build_peer(name, BenchmarkTask(config, "own")), batch)
    assert sum(own) > sum(ours)
    nowhere = BenchmarkTask(config.with_values({"model.dropout": 0.0}), "none")
    assert masks_of(build_peer(name, nowhere), batch) == masks_of(nowhere.network(), batch) == []
