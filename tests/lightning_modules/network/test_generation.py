"""Writing on: with and without a cache, positions, and how tokens are drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb, create_sinusoidal_positions

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.context import Context
from lightning_modules.network.generation import Sampling, continued, why_uncached
from lightning_modules.network.heads import LanguageHead
from lightning_modules.network.network import Network, build_network
from lightning_modules.network.parts import attention
from lightning_modules.schemes.variants import TIME, VARIANTS

VOCABULARY, LENGTH = 23, 14
CAUSAL = [name for name, variant in VARIANTS.items() if TIME not in variant.mixes]


def decoder(**settings: Any) -> Network:
    usual = {"layers": 2, "width": 16, "heads": 2, "dropout": 0.0, "embedding_std": 1.0}
    network = build_network(
        ModelConfig(**{**usual, **settings}),
        vocabulary_size=VOCABULARY,
        outputs=VOCABULARY,
        max_length=LENGTH,
        padding_id=None,
        head=LanguageHead,
        causal=True,
    )
    for parameter in network.parameters():  # so that texts differ from one another
        parameter.data.add_(
            0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
        )
    return network.double().eval()


def by_hand(network: Network, ids: list[int], count: int) -> list[int]:
    """Greedy writing by the whole network, anew for each token."""
    text = list(ids)
    for _ in range(count):
        logits = network(torch.tensor([text]), torch.ones(1, len(text), dtype=torch.bool))
        text.append(int(logits[0, -1].argmax()))
    return text[len(ids) :]


@pytest.mark.parametrize("variant", CAUSAL)
def test_the_text_of_every_variant_is_the_same_with_and_without_a_cache(variant: str) -> None:
    network = decoder(variant=variant)
    cached, anew = (list(continued(network, [3, 1, 4], 9, cached=each)) for each in (True, False))
    assert cached == anew == by_hand(network, [3, 1, 4], 9)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary", "none"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu"])
def test_positions_and_activations_keep_the_cache_exact_and_the_network_causal(positions: str, activation: str) -> None:
    network = decoder(positions=positions, activation=activation)
    assert why_uncached(network) == ""
    assert list(continued(network, [3, 1, 4], 9)) == by_hand(network, [3, 1, 4], 9)
    ids, mask = torch.tensor([[5, 6, 7, 8, 9]]), torch.ones(1, 5, dtype=torch.bool)
    other = ids.clone()
    other[0, 3:] = 1
    assert torch.equal(network(ids, mask)[0, :3], network(other, mask)[0, :3])


def test_a_scheme_that_looks_at_more_than_keys_and_values_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Looking(SelfAttention):
        def mix(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
            return super().mix(query, key, value, context) + query.cumsum(dim=2)

    monkeypatch.setitem(attention, "looking", Looking)
    monkeypatch.setitem(VARIANTS, "looking", replace(VARIANTS["pre_ln"], name="looking", attention="looking"))
    network = decoder(variant="looking")
    assert "every step reads the text anew" in why_uncached(network)
    assert list(continued(network, [3, 1, 4], 9)) == by_hand(network, [3, 1, 4], 9)


def test_rotary_positions_turn_as_gpt_j_does_and_tell_distances_alone() -> None:
    network = decoder(positions="rotary", width=16, heads=2)
    context = Context(torch.ones(1, LENGTH, dtype=torch.bool), causal=True)
    network.backbone.embeddings(torch.zeros(1, LENGTH, dtype=torch.long), context)
    x = torch.randn(1, 2, LENGTH, 8, dtype=torch.float64)
    sine, cosine = create_sinusoidal_positions(LENGTH, 8).double().split(4, dim=-1)
    expected = apply_rotary_pos_emb(x.transpose(1, 2), sine[None], cosine[None]).transpose(1, 2)
    assert torch.allclose(context.turned(x), expected, atol=1e-5)
    same = torch.randn(8, dtype=torch.float64).expand(1, 1, LENGTH, 8)
    turned = context.turned(same)[0, 0]
    products = turned @ turned.T
    for distance in (1, 5):
        assert torch.allclose(products.diagonal(distance), products[0, distance].expand(LENGTH - distance), atol=1e-5)


def test_rotary_positions_need_pairs_of_features() -> None:
    with pytest.raises(ConfigurationError, match="a head has 3"):
        decoder(positions="rotary", width=6, heads=2)


def test_swiglu_is_its_formula_and_weighs_what_two_matrices_do() -> None:
    network = decoder(activation="swiglu", width=24, heads=2)
    function = next(f for place, f in network.backbone.functions() if place.role == "feed_forward")
    gate, other = function.hidden.weight.chunk(2)
    gate_bias, other_bias = function.hidden.bias.chunk(2)
    x = torch.randn(1, 3, 24, dtype=torch.float64)
    first = x @ gate.T + gate_bias
    expected = (first * first.sigmoid() * (x @ other.T + other_bias)) @ function.output.weight.T + function.output.bias
    assert torch.allclose(function(x, Context(torch.ones(1, 3, dtype=torch.bool))), expected)
    assert sum(matrix.numel() for matrix in function.matrices().values()) == 2 * 24 * 4 * 24


def test_a_temperature_of_zero_is_greedy_and_a_seed_repeats_a_text() -> None:
    network = decoder()
    texts = [list(continued(network, [3], 12, Sampling(temperature=2.0, seed=seed))) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    assert list(continued(network, [3], 5, Sampling(temperature=1e-9))) == list(continued(network, [3], 5))


def test_top_k_and_top_p_leave_the_likeliest_tokens() -> None:
    logits = torch.tensor([0.5, 0.1, 0.3, 0.1]).log()
    assert Sampling(temperature=1.0).probabilities(logits).tolist() == pytest.approx([0.5, 0.1, 0.3, 0.1])
    assert Sampling(temperature=1.0, top_k=2).probabilities(logits).tolist() == pytest.approx([0.625, 0, 0.375, 0])
    assert Sampling(temperature=1.0, top_p=0.4).probabilities(logits).tolist() == pytest.approx([1, 0, 0, 0])
    assert Sampling(temperature=1.0, top_p=0.6).probabilities(logits).tolist() == pytest.approx([0.625, 0, 0.375, 0])
    squared = torch.tensor([0.25, 0.01, 0.09, 0.01])
    assert Sampling(temperature=0.5).probabilities(logits).tolist() == pytest.approx((squared / squared.sum()).tolist())


def test_forbidden_tokens_are_never_written() -> None:
    network = decoder()
    usual = list(continued(network, [3], 12))
    assert usual[0] not in list(continued(network, [3], 12, forbidden={usual[0]}))


@pytest.mark.parametrize("settings", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        Sampling(**settings)
