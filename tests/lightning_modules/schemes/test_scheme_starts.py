"""What papers say about starts, constants and equivalences, and what schemes do while they train."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from scheme_weights import Weights, disturb
from synthetic_batches import make_batch, make_network
from torch import Tensor, nn

from lightning_modules.config import ModelConfig
from lightning_modules.network.context import Context
from lightning_modules.network.network import Network
from lightning_modules.network.parts import op
from lightning_modules.network.sites import Norm
from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.placements import PRE_LN, mix_ln
from lightning_modules.schemes.saturating import FUNCTIONS
from lightning_modules.schemes.signal_preserving import TailoredRelu, first_weights, tailored_slope
from lightning_modules.schemes.streams import sinkhorn
from lightning_modules.schemes.variants import VARIANTS
from lightning_modules.training.optimization import build_optimizer

BATCH = make_batch(5)
IDS, MASK = BATCH["input_ids"], BATCH["attention_mask"]
LAYERS = 4


def answer(network: Network) -> Tensor:
    return network(IDS, MASK)


def matrices(variant: str, layers: int = LAYERS, **settings: object) -> dict[tuple[int, str], Tensor]:
    network = make_network(torch.float64, variant=variant, layers=layers, **settings)
    return {(place.index, name): matrix for place, name, matrix in network.backbone.matrices()}


# Schemes that start as another one, or are another one.


@pytest.mark.parametrize(
    ("variant", "base"),
    [
        *((name, "pre_ln") for name in ("dense_former", "frac_connections", "gpas", "laurel_rw", "laurel_lr")),
        *(("mudd", "rms_norm"), ("rms_norm_unit_offset", "rms_norm"), ("rms_norm", "rms_norm_plain")),
        *(("stochastic_depth", "pre_ln"), ("layer_drop", "pre_ln"), ("detach_norm", "layer_norm_simple")),
        *(("layer_norm_simple", "pre_ln"), ("layer_norm_no_bias", "pre_ln"), ("pre_affine_rms_norm", "rms_norm")),
        ("seed_norm", "rms_norm"),
    ],
)
def test_some_schemes_start_as_another_exactly(variant: str, base: str) -> None:
    ours, theirs = (make_network(torch.float64, variant=name, layers=LAYERS) for name in (variant, base))
    torch.testing.assert_close(answer(ours), answer(theirs), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", ["hyper_connections", "dynamic_hyper_connections"])
def test_hyper_connections_start_as_pre_ln_up_to_the_final_norms_epsilon(variant: str) -> None:
    ours, theirs = (make_network(torch.float64, variant=name, layers=LAYERS) for name in (variant, "pre_ln"))
    for network in (ours, theirs):
        network.backbone.final[0].epsilon = 0.0
    torch.testing.assert_close(answer(ours), answer(theirs), rtol=1e-9, atol=1e-9)


def test_one_fraction_is_the_plain_sum_whatever_its_weights_were() -> None:
    ours = make_network(torch.float64, variant="frac_connections", layers=LAYERS, scheme_options={"parts": 1})
    torch.testing.assert_close(answer(ours), answer(make_network(torch.float64, layers=LAYERS)))
    assert ours.blocks[0].attention.residual.mix.shape == (1, 1)


def test_mix_ln_is_post_ln_and_pre_ln_at_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for share, base in ((0.0, "pre_ln"), (1.0, "post_ln")):
        ends = PRE_LN.derive(
            "ends", by_place=lambda place, share=share: mix_ln(place, share), sites=VARIANTS[base].sites
        )
        monkeypatch.setitem(VARIANTS, "ends", ends)
        ours, theirs = (make_network(torch.float64, variant=name, layers=LAYERS) for name in ("ends", base))
        assert torch.equal(answer(ours), answer(theirs))


def test_pre_rms_norm_is_layer_norm_without_bias_exactly() -> None:
    theirs = disturb(make_network(torch.float64, variant="layer_norm_no_bias", layers=LAYERS))
    ours = make_network(torch.float64, variant="pre_rms_norm", layers=LAYERS)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(answer(ours), answer(theirs), rtol=1e-9, atol=1e-9)
    gradients = [
        torch.autograd.grad(answer(n).square().sum(), n.blocks[0].attention.function.output.weight)[0]
        for n in (ours, theirs)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-9)


def test_centred_rms_norm_is_rms_norm_of_the_whole_vector() -> None:
    x = torch.randn(3, 7, 9, dtype=torch.float64)
    x = x - x.mean(-1, keepdim=True)
    stored = op.find("centred_rms_norm")(8, Place(width=8)).double()
    torch.testing.assert_close(stored(x[..., :-1]), F.rms_norm(x, (9,), eps=1e-5)[..., :-1])


def test_one_group_is_layer_norm_and_all_groups_are_pytorchs() -> None:
    x = torch.randn(3, 7, 8, dtype=torch.float64)
    for groups in (1, 2, 4):
        ours = op.find("group_norm")(8, Place(width=8), groups=groups).double()
        expected = F.group_norm(x.flatten(0, 1), groups, eps=1e-5).view_as(x)
        torch.testing.assert_close(ours(x), expected)


def test_all_point_wise_functions_are_odd_bounded_and_rise() -> None:
    """The four properties of arXiv:2512.10938, but for sensitivity at the centre, which each has in its own way."""
    z = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    for name, function in FUNCTIONS.items():
        y = function(z)
        torch.testing.assert_close(y, -y.flip(0), msg=name)
        assert y.abs().max() <= 1 and (y.diff() >= -1e-12).all(), name
    assert len(FUNCTIONS) == 14


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_point_wise_function_can_be_chosen_and_trains(function: str) -> None:
    network = disturb(make_network(torch.float64, variant="point_wise", scheme_options={"function": function}))
    answer(network).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


# Starts.


@pytest.mark.parametrize("variant", ["skip_init", "rezero_shared"])
def test_a_branch_of_weight_zero_leaves_the_embeddings(variant: str) -> None:
    network = make_network(torch.float64, variant=variant, layers=LAYERS)
    x = network.backbone.embeddings(IDS)
    assert torch.equal(network.blocks(x, Context(MASK)), x)


@pytest.mark.parametrize(
    ("variant", "gains"),
    [
        ("gpt2_start", {"output": lambda block: 8**-0.5}),
        ("lingua_start", {"output": lambda block: 10**-0.5}),
        ("layer_start", {"output": lambda block: (2 * block) ** -0.5}),
        ("ds_init", {"": lambda block: block**-0.5}),
        ("post_ln_scaled_start", {"": lambda block: 0.5}),
        ("bottom_to_top_scaled", {"": lambda block: 0.5}),
        ("sub_ln", dict.fromkeys(("value", "output", "hidden"), lambda block: math.log(8) ** 0.5)),
        ("t_fixup", dict.fromkeys(("value", "output", "hidden"), lambda block: 0.67 * 4**-0.25)),
        ("shaped_attention", {"query": lambda block: 0.0}),
    ],
)
def test_recipes_multiply_the_matrices_that_their_paper_names(variant: str, gains: dict) -> None:
    before, after = matrices("pre_ln"), matrices(variant)
    for (index, name), matrix in after.items():
        gain = next((rule(index // 2 + 1) for part, rule in gains.items() if part in name), 1.0)
        torch.testing.assert_close(matrix, gain * before[index, name])


def test_fixup_starts_its_branches_and_its_head_at_zero() -> None:
    network, before = make_network(torch.float64, variant="fixup", layers=LAYERS), matrices("pre_ln")
    assert not answer(network).any()
    for place, name, matrix in network.backbone.matrices():
        power = {"feed_forward_hidden": 1 / 2}.get(name, 1 / 6)
        gain = 0.0 if "output" in name else 8**-power
        torch.testing.assert_close(matrix, gain * before[place.index, name])


def test_t_fixup_and_small_init_draw_from_their_own_deviation() -> None:
    table = make_network(variant="t_fixup", layers=LAYERS, width=64).backbone.embeddings.table.weight
    assert table[1:].std().item() == pytest.approx(64**-0.5 * 36**-0.25, rel=0.05) and not table[0].any()
    drawn = torch.cat([m.flatten() for (_, n), m in matrices("fix_norm", width=32).items() if n.startswith("att")])
    assert drawn.std().item() == pytest.approx((2 / (5 * 32)) ** 0.5, rel=0.05)


def test_value_skip_starts_as_an_orthogonal_map_and_sas_as_the_identity() -> None:
    for (_, name), matrix in matrices("value_skip_init").items():
        if name in ("attention_value", "attention_output"):
            torch.testing.assert_close(matrix @ matrix.T, torch.eye(16, dtype=torch.float64), atol=1e-6, rtol=0)
    sas = matrices("sas")
    assert torch.equal(sas[0, "attention_value"], torch.eye(16, dtype=torch.float64))
    assert (2, "attention_value") not in sas and (0, "attention_output") not in sas


@pytest.mark.parametrize("causal", [False, True])
def test_e_spas_attentions_together_make_tokens_as_alike_as_it_says(causal: bool) -> None:
    length, blocks, together = 9, 5, torch.eye(9, dtype=torch.float64)
    for block in range(1, blocks + 1):
        bias, sizes = first_weights(length, block, blocks, 0.005, causal)
        weights = sizes[:, None] * bias.exp()
        assert (weights >= 0).all() and (not causal or weights.triu(1).max() < 1e-30)
        together = weights @ together
    places = torch.arange(length, dtype=torch.float64)
    expected = torch.exp(-0.005 * (places[:, None] - places).abs())
    torch.testing.assert_close(together @ together.T, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("blocks", "target"), [(1, 1 / math.pi), (24, 0.9)])
def test_tailored_rectifiers_bring_strangers_as_near_as_they_should(blocks: int, target: float) -> None:
    rectifier, cosine = TailoredRelu(tailored_slope(blocks)), 0.0
    one, other = torch.randn(2, 400_000, generator=torch.Generator().manual_seed(0))
    for _ in range(blocks):
        near = cosine * one + math.sqrt(max(0.0, 1 - cosine**2)) * other
        cosine = F.cosine_similarity(rectifier(one), rectifier(near), dim=0).item()
    assert rectifier(one).square().mean().item() == pytest.approx(1, abs=0.01)
    assert cosine == pytest.approx(target, abs=0.01)


def test_tokens_stay_apart_through_24_blocks_of_e_spa_and_not_of_plain() -> None:
    @torch.no_grad()
    def furthest(variant: str) -> float:
        network = make_network(torch.float64, variant=variant, layers=24, embedding_std=1.0, width=64)
        tokens = F.normalize(network.backbone(IDS, MASK)[MASK.sum(-1).argmax()], dim=-1)
        return (1 - tokens @ tokens.T).max().item()

    assert furthest("e_spa") > 0.01
    assert furthest("e_spa_norm") > 0.01
    assert furthest("plain") < 1e-9


@pytest.mark.parametrize("variant", ["e_spa", "e_spa_norm"])
def test_e_spa_sees_a_packed_text_as_it_sees_it_alone(variant: str) -> None:
    network = disturb(make_network(torch.float64, variant=variant, positions="none"))
    lengths = (3, 6)
    ids = torch.arange(1, 10)[None]
    segments = torch.repeat_interleave(torch.arange(2), torch.tensor(lengths))[None]
    for causal in (False, True):
        packed = network.backbone(ids, causal=causal, segments=segments).split(lengths, dim=1)
        for text, alone in zip(ids.split(lengths, dim=1), packed, strict=True):
            torch.testing.assert_close(network.backbone(text, causal=causal), alone)


@pytest.mark.parametrize(("layers", "start"), [(18, 0.1), (19, 1e-5), (24, 1e-5), (25, 1e-6)])
def test_layer_scale_starts_by_depth(layers: int, start: float) -> None:
    scale = op.find("layer_scale")(4, Place(width=4, sublayers=2 * layers))
    assert scale.gain.tolist() == pytest.approx([start] * 4)


def test_keel_dyt_and_complete_p_have_their_papers_constants() -> None:
    alphas = [op.find("keel_alpha")(4, Place(width=4, index=i, sublayers=8)).value for i in range(8)]
    assert alphas == [1, 1, 8, 8, 8, 8, 8, 8]
    roles = [op.find("dynamic_tanh")(4, Place(width=4, role=r), alpha=0.2, alpha_attention=0.8) for r in (*Role, None)]
    assert [norm.alpha.item() for norm in roles] == pytest.approx([0.8, 0.2, 0.2, 0.2])
    network = make_network(variant="complete_p", layers=8, scheme_options={"alpha": 0.5})
    groups = build_optimizer(ModelConfig(variant="complete_p", layers=8, learning_rate=1e-2), network).param_groups
    assert {round(group["eps"] / 1e-8, 6) for group in groups} == {0.5}
    assert {round(group["lr"], 6) for group in groups} == {0.01, 0.005}


@pytest.mark.parametrize(("mult", "share"), [(0.25, 0.889), (1.0, 0.333), (4.0, 0.030)])
def test_the_embeddings_share_under_u_mup_is_as_measured_elsewhere(mult: float, share: float) -> None:
    kept = 1.0
    for index in range(24):
        role = (Role.ATTENTION, Role.FEED_FORWARD)[index % 2]
        kept *= op.find("unit_scaled_skip")(4, Place(width=4, index=index, sublayers=24, role=role), mult=mult).value
    assert kept**2 == pytest.approx(share, abs=5e-4)


def test_admin_profiles_the_running_deviation() -> None:
    network = make_network(torch.float64, variant="admin", layers=LAYERS)
    network.prepare(IDS, MASK)
    x, ratio = network.backbone.embeddings(IDS), 1.0
    for w in (Weights(sublayer, MASK) for sublayer in network.blocks.sublayers()):
        torch.testing.assert_close(w["skip.0.gain"], torch.full((16,), ratio, dtype=torch.float64))
        y = w.f(x)
        total = ((ratio * x)[MASK].var(correction=0) + y[MASK].var(correction=0)).sqrt().item()
        x, ratio = w.ln(ratio * x + y, "post.0"), total


def test_dt_fixup_divides_by_the_largest_input() -> None:
    network, before = make_network(torch.float64, variant="dt_fixup", layers=LAYERS), matrices("no_norm")
    network.prepare(IDS, MASK)
    mu = max(
        row[real].norm(dim=-1).max().item() for row, real in zip(network.backbone.embeddings(IDS), MASK, strict=True)
    )
    for place, name, matrix in network.backbone.matrices():
        gain = 1.0 if name in ("attention_query", "attention_key") else (4 * (4 * mu**2 + 2 * mu + 2)) ** -0.5
        torch.testing.assert_close(matrix, gain * before[place.index, name])


def test_ngpts_weights_stay_on_the_sphere() -> None:
    network = make_network(torch.float64, variant="ngpt", layers=2)
    optimizer = build_optimizer(ModelConfig(variant="ngpt", weight_decay=0.1, learning_rate=0.1), network)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0}
    answer(network).square().sum().backward()
    optimizer.step()
    network.after_step()
    for block in network.blocks:
        rows = block.attention.function.query_key_value.weight.norm(dim=1)
        columns = block.feed_forward.function.output.weight.norm(dim=0)
        torch.testing.assert_close(torch.cat([rows, columns]), torch.ones(48 + 64, dtype=torch.float64))
    table = network.backbone.embeddings.table.weight.norm(dim=1)
    torch.testing.assert_close(table[1:], torch.ones(39, dtype=torch.float64))


def test_mixing_matrices_are_doubly_stochastic_and_can_learn() -> None:
    logits = torch.randn(24, 4, 4, dtype=torch.float64)
    mixed = sinkhorn(logits)
    for dimension in (-1, -2):
        torch.testing.assert_close(mixed.sum(dimension), torch.ones(24, 4, dtype=torch.float64), atol=1e-3, rtol=0)
    assert torch.linalg.multi_dot(list(mixed)).norm(2).item() <= 2.0
    network = make_network(torch.float64, variant="mhc")
    answer(network).square().sum().backward()
    assert network.blocks[1].attention.residual.bias.grad[8:].abs().max() > 1e-9


def test_attention_residuals_start_as_the_mean_of_what_came_before() -> None:
    network = make_network(torch.float64, variant="attention_residuals", layers=1)
    seen: list[Tensor] = []
    network.blocks[0].feed_forward.input.register_forward_hook(lambda m, inputs, y: seen.append(inputs[0]))
    network.blocks[0].attention.dropout.register_forward_hook(lambda m, inputs, y: seen.append(y))
    answer(network)
    update, read = seen
    torch.testing.assert_close(read, (network.backbone.embeddings(IDS) + update) / 2)


# What happens in training alone.


def context(step: int = 0, mask: Tensor = MASK) -> Context:
    return Context(mask, step=torch.tensor(step))


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_masked_batch_norm_is_pytorchs_of_the_real_tokens() -> None:
    ours, theirs = op.find("masked_batch_norm")(8, Place(width=8)).double(), nn.BatchNorm1d(8).double()
    x = drawn(5, 12, 8)
    torch.testing.assert_close(ours(x, context())[MASK], theirs(x[MASK]))
    torch.testing.assert_close(ours.running_variance, theirs.running_var)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.eval()(x, context())[MASK], theirs.eval()(x[MASK]))


@pytest.mark.parametrize("step", [3, 7])
def test_power_norm_trains_by_its_algorithm(step: int) -> None:
    norm = disturb(op.find("power_norm")(8, Place(width=8, heads=2), warmup=5).double())
    with torch.no_grad():
        norm.running_square.copy_(1 + drawn(8) ** 2)
        norm.running_gradient.copy_(drawn(8))
    running, nu = norm.running_square.clone(), norm.running_gradient.clone()
    x, g = drawn(5, 12, 8).requires_grad_(), drawn(5, 12, 8) * MASK[..., None]
    y = norm(x, context(step))
    y.backward(g)
    halves = torch.cat([h / (h.square().mean(-1, keepdim=True) + 1e-5).sqrt() for h in x.chunk(2, -1)], -1)
    square = halves.detach()[MASK].square().mean(0)
    psi = ((square if step < 5 else running) + 1e-5).sqrt()
    z = halves.detach() / psi
    torch.testing.assert_close(y, norm.gain * z + norm.bias)
    torch.testing.assert_close(norm.running_square, 0.9 * running + 0.1 * square)
    approximate = norm.gain.detach() * g - nu * z
    torch.testing.assert_close(norm.running_gradient, nu + 0.1 * (approximate * z)[MASK].mean(0))
    (expected,) = torch.autograd.grad(halves, x, approximate / psi)
    torch.testing.assert_close(x.grad, expected)


def test_unified_norm_trains_as_the_authors_class_does() -> None:
    """Their arithmetic, written out with lists in the place of buffers: window, geometric mean, compensation."""
    warmup, width = 6, 3
    norm = op.find("unified_norm")(width, Place(width=width), warmup=warmup).double()
    gain = nn.Parameter(torch.ones(width, dtype=torch.float64))
    squares: list[Tensor] = []
    means: list[Tensor] = []
    running, ema = torch.ones(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for now in range(1, 1010):
        generator = torch.Generator().manual_seed(now)
        x = (1 + now % 3) * torch.randn(2, 4, width, dtype=torch.float64, generator=generator)
        g = torch.randn(2, 4, width, dtype=torch.float64, generator=generator)
        ours = x.clone().requires_grad_()
        norm.gain.grad = None
        y = norm(ours, Context(torch.ones(2, 4, dtype=torch.bool)))
        y.backward(g)
        squares.append(x.square().mean((0, 1)))
        young = now <= 4 or now < warmup
        variance = squares[-1] if young else torch.stack(squares[-4:]).log().mean(0).exp()
        root = (variance + 1e-5).sqrt()
        ratio = (root / (running + 1e-5).sqrt()).clamp(0.2, 5) if now > 1000 else torch.ones(width, dtype=torch.float64)
        running = 0.9 * running + 0.1 * variance
        z = x / root
        inner = g * gain.detach() * ratio
        means.append((inner * z).mean((0, 1)))
        ema = 0.9 * ema + 0.1 * (means[-1] if young else torch.stack(means[-4:]).mean(0))
        if now in (1, 4, 5, 6, 50, 1001, 1009):
            torch.testing.assert_close(y.detach(), z)
            torch.testing.assert_close(ours.grad, (inner - ema * z) / root)
            torch.testing.assert_close(norm.gain.grad, (g * ratio * z).sum((0, 1)))
    torch.testing.assert_close(norm.running_square, running)


def test_taper_norm_measures_its_scale_before_it_tapers_and_ends_linear() -> None:
    norm = disturb(op.find("taper_norm")(8, Place(width=8), start=5, steps=10, momentum=0.5).double())
    x = drawn(5, 12, 8)
    norm(x, context(0))
    linear = (norm.gain * x)[MASK].square().sum(-1)
    own = torch.stack([(linear / (x[MASK].square().mean(-1) + 1e-5).sqrt()).sum(), linear.sum()])
    torch.testing.assert_close(norm.sums, 0.5 * torch.ones(2, dtype=torch.float64) + 0.5 * own)
    sums = norm.sums.clone()
    torch.testing.assert_close(norm(x, context(15)), sums[0] / sums[1] * norm.gain * x)
    assert torch.equal(norm.sums, sums)


def test_a_ramp_ends_at_the_whole_branch() -> None:
    branch = op.find("progressive_ramp")(8, Place(width=8, index=3, sublayers=8), steps=10)
    x = drawn(2, 3, 8)
    for step, share in ((0, 0.0), (5, 0.25), (20, 1.0), (999, 1.0)):
        torch.testing.assert_close(branch(x, context(step)), share * x)


def test_stochastic_depth_drops_whole_rows_and_keeps_the_mean() -> None:
    drop = op.find("drop_path")(2, Place(width=2, index=3, sublayers=8), rate=0.5)  # block 2 of 4: p = ¼
    torch.manual_seed(0)
    y = drop.train()(torch.ones(4000, 3, 2))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3], abs=1e-4)
    assert (y.flatten(1).amax(1) == y.flatten(1).amin(1)).all()
    assert y.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(y), y)


def test_layer_drop_drops_both_sublayers_of_a_block_or_none() -> None:
    network = make_network(variant="layer_drop", layers=LAYERS, scheme_options={"rate": 0.5}).train()
    outputs: list[Tensor] = []
    for sublayer in network.blocks.sublayers():
        sublayer.output.register_forward_hook(lambda module, inputs, y: outputs.append(y))
    torch.manual_seed(0)
    for _ in range(10):
        answer(network)
    dropped = [not y.any() for y in outputs]
    assert dropped[::2] == dropped[1::2] and 5 < sum(dropped[::2]) < 35
    assert all(isinstance(part, Norm) is False for sublayer in network.blocks.sublayers() for part in sublayer.output)
