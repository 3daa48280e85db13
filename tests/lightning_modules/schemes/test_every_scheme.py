"""What every scheme must pass by being registered; nothing here knows a scheme but by what its variant says."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from representative import REPRESENTATIVE, all_others_later
from scheme_weights import disturb
from synthetic_batches import make_batch, make_network
from torch import Tensor, nn

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.context import Context, KeyValueCache, NothingShared
from lightning_modules.network.counting import count, count_configuration, skips_in
from lightning_modules.network.generation import why_uncached
from lightning_modules.network.network import Network
from lightning_modules.network.sites import Norm, Site
from lightning_modules.probes.jacobian import block_singular_values
from lightning_modules.probes.measuring import measure
from lightning_modules.schemes.families import TABLE_ORDER
from lightning_modules.schemes.variants import PADDING, ROWS, TIME, VARIANTS
from lightning_modules.training.optimization import build_optimizer, parameter_groups

WITH_BLOCKS = [name for name, variant in VARIANTS.items() if variant.layers != 0]
BLIND_TO_PADDING = [name for name, variant in VARIANTS.items() if PADDING not in variant.mixes]
ISOLATED = [name for name, variant in VARIANTS.items() if not variant.mixes & {PADDING, ROWS}]
CACHED = [name for name in WITH_BLOCKS if TIME not in VARIANTS[name].mixes]
USUAL_START = [name for name in WITH_BLOCKS if not VARIANTS[name].recipes and VARIANTS[name].attention == "softmax"]


def answer(network: Network, batch: dict[str, Tensor]) -> Tensor:
    return network(batch["input_ids"], batch["attention_mask"])


def loss_of(network: Network, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(answer(network, batch), batch["labels"])


def prepared(network: Network, batch: dict[str, Tensor]) -> Network:
    network.prepare(batch["input_ids"], batch["attention_mask"])
    return network.train()


# What a token's answer may depend on.


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("variant", BLIND_TO_PADDING)
def test_padding_changes_nothing(variant: str, training: bool) -> None:
    network = disturb(make_network(torch.float64, variant=variant, layers=3)).train(training)
    batch = make_batch(6, length=8)
    padded = {
        "input_ids": F.pad(batch["input_ids"], (0, 4), value=7),
        "attention_mask": F.pad(batch["attention_mask"], (0, 4)),
    }
    torch.manual_seed(0)
    expected = answer(copy.deepcopy(network), batch)
    torch.manual_seed(0)
    torch.testing.assert_close(answer(network, padded), expected)


@pytest.mark.parametrize(
    ("variant", "pooling"), [*((name, "mean") for name in ISOLATED), ("pre_ln", "first"), ("mhc", "first")]
)
def test_a_row_does_not_depend_on_the_others(variant: str, pooling: str) -> None:
    network = disturb(make_network(torch.float64, variant=variant, layers=3, pooling=pooling))
    batch = make_batch(6, length=8)
    pairs = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    alone = torch.cat([network(ids[mask][None], mask[mask][None]) for ids, mask in pairs])
    torch.testing.assert_close(alone, answer(network, batch))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_order_of_rows_does_not_matter(variant: str) -> None:
    network, batch = disturb(make_network(torch.float64, variant=variant)), make_batch(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    reordered = {name: values[order] for name, values in batch.items()}
    torch.testing.assert_close(answer(network, reordered), answer(network, batch)[order])


@pytest.mark.parametrize("variant", WITH_BLOCKS)
def test_a_causal_mask_keeps_the_future_out_unless_the_variant_says_otherwise(variant: str) -> None:
    network = disturb(make_network(torch.float64, variant=variant, layers=4))
    network.train(ROWS in VARIANTS[variant].mixes)  # statistics of the batch are taken in training alone
    x = torch.randn(2, 7, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other_future = torch.cat([x[:, :4], -x[:, 4:]], dim=1)
    earlier = []
    for inputs in (x, other_future):
        context = Context(torch.ones(2, 7, dtype=torch.bool), causal=True, step=network.backbone.step)
        earlier.append(copy.deepcopy(network).blocks(inputs, context)[:, :4])
    assert torch.allclose(*earlier, rtol=1e-9, atol=1e-9) == (TIME not in VARIANTS[variant].mixes)
    if TIME in VARIANTS[variant].mixes:
        with pytest.raises(ConfigurationError, match="cannot be causal"):
            network.backbone(x, causal=True)
    else:
        assert network.backbone(x, causal=True).shape == x.shape


@pytest.mark.parametrize("variant", CACHED)
def test_a_text_read_token_by_token_is_the_text_read_at_once(variant: str) -> None:
    network = disturb(make_network(torch.float64, variant=variant, layers=3))
    if why_uncached(network):  # then nobody reads it so
        return
    ids, past = make_batch(1, length=6)["input_ids"], KeyValueCache()
    with torch.no_grad():
        pieces = [network.backbone(ids[:, [i]], causal=True, past=past) for i in range(6)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), network.backbone(ids, causal=True))


# Where it starts, and what decays.


@pytest.mark.parametrize("variant", USUAL_START)
def test_attention_and_feed_forward_start_alike_under_every_scheme(variant: str) -> None:
    """Seeds pair runs only where a scheme's own draws do not shift those of its functions."""
    ours, theirs = (make_network(variant=name, layers=3) for name in (variant, "pre_ln"))
    for (_, name, one), (_, other, two) in zip(ours.backbone.matrices(), theirs.backbone.matrices(), strict=True):
        assert name == other and torch.equal(one, two)
    assert torch.equal(ours.head.linear.weight, theirs.head.linear.weight)
    assert torch.equal(ours.backbone.embeddings.table.weight, theirs.backbone.embeddings.table.weight)


@pytest.mark.parametrize("variant", WITH_BLOCKS)
def test_what_a_scheme_owns_starts_as_its_constructor_says(variant: str) -> None:
    one, other = (make_network(variant=variant, layers=3, initialisation=kind) for kind in ("xavier", "gaussian"))
    functions = {id(parameter) for _, function in one.backbone.functions() for parameter in function.parameters()}
    for (name, mine), (_, theirs) in zip(one.blocks.named_parameters(), other.blocks.named_parameters(), strict=True):
        assert id(mine) in functions or torch.equal(mine, theirs), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_weights_of_linear_maps_decay(variant: str) -> None:
    network = make_network(variant=variant, layers=3)
    linear = {id(part.weight) for part in network.modules() if isinstance(part, nn.Linear)}
    for group in parameter_groups(ModelConfig(weight_decay=0.1), network):
        assert group["weight_decay"] == 0 or {id(parameter) for parameter in group["params"]} <= linear


# What is built.


@pytest.mark.parametrize("variant", REPRESENTATIVE)
def test_counting_a_configuration_equals_counting_what_is_built(variant: str) -> None:
    config = ModelConfig(variant=variant, layers=3, width=16)
    assert count_configuration(config, vocabulary_size=40, outputs=3, max_length=12) == count(
        make_network(variant=variant, layers=3), 12
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_norm_of_pytorchs_hides_from_the_count(variant: str) -> None:
    hidden = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    modules = list(make_network(variant=variant).modules())
    assert not [module for module in modules if isinstance(module, hidden) and not isinstance(module, Norm)]


@pytest.mark.parametrize("variant", WITH_BLOCKS)
def test_no_op_stands_where_the_scheme_never_looks(variant: str) -> None:
    """A residual that ignores ``post`` or ``skip`` must not be put together with a placement that has a norm there."""
    network, visited = make_network(variant=variant, layers=3), set()
    sites = {name: part for name, part in network.named_modules() if isinstance(part, Site) and len(part)}
    for name, part in sites.items():
        part.register_forward_hook(lambda module, arguments, output, name=name: visited.add(name))
    answer(network, make_batch(4))
    assert visited == set(sites)


@pytest.mark.parametrize("variant", WITH_BLOCKS)
def test_silent_functions_pass_nothing_on_exactly_where_a_sublayer_has_no_skip(variant: str) -> None:
    network = make_network(torch.float64, variant=variant, layers=3)
    sublayers = list(network.blocks.sublayers())
    for sublayer in sublayers:
        sublayer.function.register_forward_hook(lambda module, inputs, output: output * 0.0)
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(1, 3, 16, dtype=torch.float64, generator=generator) for _ in range(2))
    x.requires_grad_()
    context = Context(torch.ones(1, 3, dtype=torch.bool), step=network.backbone.step)
    (gradient,) = torch.autograd.grad((network.blocks(x, context) * weight).sum(), x)
    assert (torch.count_nonzero(gradient) == 0) == any(skips_in(sublayer) == 0 for sublayer in sublayers)


@pytest.mark.parametrize("variant", WITH_BLOCKS)
def test_every_block_can_be_looked_at_alone(variant: str) -> None:
    network = make_network(torch.float64, variant=variant, layers=4, width=8)
    for block in (network.blocks[0], network.blocks[2]):
        values = block_singular_values(block, torch.randn(2, 8, dtype=torch.float64))
        if values.isnan().any():  # allowed where it cannot do without what an earlier block shares
            state = block.attention.residual.open(torch.randn(1, 2, 8, dtype=torch.float64))
            with pytest.raises(NothingShared):
                block(state, Context(torch.ones(1, 2, dtype=torch.bool)))
        assert values.isfinite().all() or values.isnan().all()


@pytest.mark.parametrize("variant", WITH_BLOCKS)
def test_probes_see_every_scheme(variant: str) -> None:
    network, batch = make_network(variant=variant, layers=2, width=8), make_batch(6)
    found = measure(network, batch["input_ids"], batch["attention_mask"], lambda y: F.cross_entropy(y, batch["labels"]))
    assert {len(values) for values in found.values()} == {2, 3}
    assert torch.tensor(found["stream_rms"]).isfinite().all()


# How it trains.


@pytest.mark.parametrize("variant", all_others_later(VARIANTS))
def test_loss_and_gradients_are_finite_at_24_layers(variant: str) -> None:
    batch = make_batch(4)
    network = prepared(make_network(variant=variant, layers=24), batch)
    loss = loss_of(network, batch)
    loss.backward()
    assert loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_learns(variant: str) -> None:
    """A parameter without a gradient is counted for nothing, and hangs distributed training."""
    batch = make_batch(16)
    network = disturb(prepared(make_network(torch.float64, variant=variant, layers=4, heads=2), batch))
    loss_of(network, batch).backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


def steps(network: Network, optimizer: torch.optim.Optimizer, seeds: range) -> list[float]:
    losses = []
    for seed in seeds:
        torch.manual_seed(seed)
        optimizer.zero_grad()
        loss = loss_of(network, make_batch(12, seed))
        loss.backward()
        optimizer.step()
        network.after_step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_and_loaded_run_goes_on_as_if_nothing_had_happened(variant: str) -> None:
    config = ModelConfig(variant=variant, layers=2, width=16, learning_rate=3e-3)
    network = prepared(make_network(variant=variant, dropout=0.1), make_batch(12))
    optimizer = build_optimizer(config, network)
    steps(network, optimizer, range(3))
    saved = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, saved)
    expected = steps(network, optimizer, range(3, 5))
    saved.seek(0)
    state = torch.load(saved, weights_only=True)
    resumed = make_network(variant=variant, dropout=0.1, seed=9).train()
    resumed.load_state_dict(state["network"])
    again = build_optimizer(config, resumed)
    again.load_state_dict(state["optimizer"])
    assert steps(resumed, again, range(3, 5)) == expected
    assert resumed.backbone.step == 5


@pytest.mark.parametrize("variant", all_others_later(VARIANTS, TABLE_ORDER))
def test_two_layers_learn_one_batch_by_heart(variant: str) -> None:
    """Without norms and skips two layers still train; depth is what stops them, and that is for the experiments."""
    batch = make_batch(12) | {"labels": torch.arange(12) % 3}  # unrelated to the text, so only memory helps
    network = prepared(make_network(variant=variant, width=32, seed=1), batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = loss_of(network, batch)
        loss.backward()
        optimizer.step()
        network.after_step()
    assert loss.item() < 0.05


# Other ways to run it.


class CountingBackend:
    """Counts the graphs that it is given to translate, and runs them as they are."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward


@pytest.mark.parametrize("variant", all_others_later(WITH_BLOCKS))
def test_compiled_blocks_compute_the_same_and_few_translations_serve_all(variant: str) -> None:
    torch._dynamo.reset()
    plain, compiled = (disturb(make_network(torch.float64, variant=variant, layers=6)) for _ in range(2))
    backend = CountingBackend()
    compiled.compile_blocks(backend)
    for rows, length in ((4, 6), (3, 5)):
        batch = make_batch(rows, length=length)
        torch.testing.assert_close(answer(compiled, batch), answer(plain, batch))
    grows = any(sublayer.residual.state_grows for sublayer in plain.blocks.sublayers())
    assert 1 <= backend.graphs <= (8 if grows else 4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_stays_close(variant: str) -> None:
    network, batch = make_network(variant=variant, layers=2).train(), make_batch(8)
    torch.manual_seed(0)
    exact = answer(network, batch)
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = answer(network, batch).float()
    rough.sum().backward()
    assert (rough - exact).norm() < 0.15 * exact.norm() + 0.05
