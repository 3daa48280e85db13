"""Compiled blocks compute what the blocks compute, one translation serves all, and nothing else of a model changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from synthetic_batches import SyntheticText, make_batch, make_classifier, make_network, make_trainer

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.network import Network
from lightning_modules.tasks import base
from lightning_modules.training import compilers
from lightning_modules.training.compilers import missing_compiler

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()  # graphs of another test would be found again


class CountingBackend:
    """Counts the graphs that it is given to translate, and runs them as they are."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, example_inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward


@pytest.mark.parametrize("variant", ["pre_ln", "post_ln", "plain", "rezero"])
def test_compiled_blocks_compute_the_same(variant: str) -> None:
    plain, compiled = (make_network(variant=variant, layers=2, dropout=0.0) for _ in range(2))
    compiled.compile_blocks("eager")
    for rows, length in ((4, 6), (3, 5), (4, 3)):
        batch = make_batch(rows, length=length)
        logits = [network(batch["input_ids"], batch["attention_mask"]) for network in (plain, compiled)]
        torch.testing.assert_close(*logits)
        for output in logits:
            output.square().sum().backward()
    for ours, theirs in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_one_translation_serves_all_blocks_and_all_lengths() -> None:
    graphs = {}
    for layers in (1, 5):
        torch._dynamo.reset()
        network, backend = make_network(layers=layers, dropout=0.1), CountingBackend()
        network.compile_blocks(backend)
        for rows, length in ((4, 6), (3, 5), (5, 4), (6, 3)):
            batch = make_batch(rows, length=length)
            network(batch["input_ids"], batch["attention_mask"])
        graphs[layers] = backend.graphs
    assert graphs[1] >= 1
    assert graphs[5] == graphs[1]


def test_blocks_are_compiled_for_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(base, "missing_compiler", lambda device: "")
    monkeypatch.setattr(Network, "compile_blocks", lambda network: asked.append(len(network.blocks)))
    module = make_classifier(layers=2, compile=True)
    make_trainer(max_epochs=1).fit(module, datamodule=SyntheticText())
    assert asked == [2]
    module.from_config(module.config, module.facts)
    make_trainer().test(module, datamodule=SyntheticText(), verbose=False)
    make_trainer(max_epochs=1).fit(make_classifier(layers=2), datamodule=SyntheticText())
    assert asked == [2]


def test_a_missing_compiler_is_said_before_training_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "missing_compiler", lambda device: "no C++ compiler is found")
    with pytest.raises(ConfigurationError, match=r"model\.compile is true, but no C\+\+ compiler is found"):
        make_trainer(max_epochs=1).fit(make_classifier(compile=True), datamodule=SyntheticText())


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def refuse() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", lambda: "g++")
    assert missing_compiler(CPU) == ""
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", refuse)
    assert missing_compiler(CPU) == "no C++ compiler is found"
    monkeypatch.setattr(compilers, "find_spec", lambda name: None)
    assert "Triton" in missing_compiler(torch.device("cuda"))
