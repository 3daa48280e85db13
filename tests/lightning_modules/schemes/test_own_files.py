"""A scheme of one's own is one file: it runs as any scheme, and is known by the digest of what was executed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from own_schemes import documented_scheme, registry_restored
from scheme_weights import Weights, disturb
from synthetic_batches import make_batch, make_network

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.context import Context
from lightning_modules.schemes.own_files import SchemeFile, load_scheme_file, read_scheme_file
from lightning_modules.schemes.variants import VARIANTS
from lightning_modules.training.optimization import build_optimizer

SOURCE = documented_scheme()
SHA256 = hashlib.sha256(SOURCE.encode()).hexdigest()


@pytest.fixture(autouse=True)
def forgotten_afterwards() -> Iterator[None]:
    with registry_restored():
        yield


@pytest.fixture
def loaded(tmp_path: Path) -> None:
    path = tmp_path / "my_scheme.py"
    path.write_text(SOURCE, encoding="utf-8")
    load_scheme_file(read_scheme_file(path))


def test_the_documented_scheme_is_short() -> None:
    assert len(SOURCE.splitlines()) < 40


def test_the_documented_scheme_is_its_formula(loaded: None) -> None:
    network = disturb(make_network(torch.float64, variant="depth_gate", layers=3))
    mask = make_batch(5)["attention_mask"]
    x = torch.randn(5, 12, 16, dtype=torch.float64)
    expected = x
    for sublayer in network.blocks.sublayers():
        weights = Weights(sublayer, mask)
        normed = expected / (expected.abs().sum(-1, keepdim=True) / 16 + 1e-5)
        expected = expected + torch.sigmoid(weights["residual.gate"]) * weights.f(normed)
    torch.testing.assert_close(network.blocks(x, Context(mask)), expected)
    sublayers = make_network(variant="depth_gate", layers=2).blocks.sublayers()
    assert [sublayer.residual.gate.item() for sublayer in sublayers] == pytest.approx([-2, -2 / 3, 2 / 3, 2])


def test_its_recipe_slows_the_gates_alone(loaded: None) -> None:
    config = ModelConfig(variant="depth_gate", layers=2, width=16, learning_rate=0.2)
    network = make_network(variant="depth_gate")
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for group in build_optimizer(config, network).param_groups:
        gates = {names[id(parameter)].endswith("gate") for parameter in group["params"]}
        assert group["lr"] == pytest.approx(0.02 if gates == {True} else 0.2) and len(gates) == 1


def test_a_configuration_holds_the_digest_of_the_file(loaded: None) -> None:
    config = ModelConfig(variant="depth_gate")
    assert config.scheme_sha256 == SHA256
    assert ModelConfig(variant="depth_gate", scheme_sha256=SHA256) == config
    assert replace(config, variant="pre_ln").scheme_sha256 is None
    assert ModelConfig().scheme_sha256 is None


def test_another_file_is_refused(loaded: None) -> None:
    with pytest.raises(ConfigurationError, match=f"SHA-256 {'0' * 16}…, and --schemes names one with {SHA256[:16]}…"):
        ModelConfig(variant="depth_gate", scheme_sha256="0" * 64)


def test_without_the_file_a_configuration_asks_for_it() -> None:
    with pytest.raises(ConfigurationError, match=f"SHA-256 {SHA256[:16]}…; name it with --schemes FILE.py"):
        ModelConfig(variant="depth_gate", scheme_sha256=SHA256)
    with pytest.raises(ConfigurationError, match=r"model\.variant is 'depth_gate', which is not known"):
        ModelConfig(variant="depth_gate")


def test_a_file_is_executed_once() -> None:
    counting = f"{SOURCE}\nimport torch\ntorch.counted = getattr(torch, 'counted', 0) + 1"
    counted = SchemeFile("counted.py", counting.encode())
    try:
        load_scheme_file(counted)
        load_scheme_file(counted)
        assert torch.counted == 1
    finally:
        del torch.counted


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "mine.py registers no variant"),
        ("x = 1 /", "mine.py does not load: SyntaxError"),
        ("import no_such_module", "mine.py does not load: ModuleNotFoundError: No module named 'no_such_module'"),
        (SOURCE.replace('"depth_gate"', '"post_ln"'), "the name of variant post_ln is taken"),
        (SOURCE.replace('"Depth gate"', '"Pre-LN"'), "variant depth_gate has the title of pre_ln"),
    ],
)
def test_a_file_that_does_not_load_is_refused_with_its_reason(source: str, said: str) -> None:
    before = dict(VARIANTS)
    with pytest.raises(ConfigurationError, match=said) as refused:
        load_scheme_file(SchemeFile("mine.py", source.encode()))
    assert "\n" not in str(refused.value)
    assert before == VARIANTS


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.py cannot be read: No such file"):
        read_scheme_file(tmp_path / "gone.py")
