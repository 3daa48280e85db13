"""Language models against transformers' GPT-2 and BERT at copied weights, causality, padding, and the chunked loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.facts import TaskFacts
from lightning_modules.network import heads
from lightning_modules.network.heads import IGNORED, token_losses
from lightning_modules.network.network import Network
from lightning_modules.schemes.variants import TIME, VARIANTS
from lightning_modules.tasks.causal_lm import BitsPerByte, CausalLanguageModel, Perplexity, TokenShare
from lightning_modules.tasks.masked_lm import MaskedLanguageModel

VOCABULARY, LENGTH, WIDTH, HEADS, LAYERS = 30, 10, 16, 2, 2
FACTS = TaskFacts(vocabulary_size=VOCABULARY, padding_id=0, max_length=LENGTH, steps_per_epoch=4, byte_complete=True)
CAUSAL = [name for name, variant in VARIANTS.items() if TIME not in variant.mixes]


def language_model(kind: Any = CausalLanguageModel, facts: TaskFacts = FACTS, **settings: Any) -> Any:
    usual = {"layers": LAYERS, "width": WIDTH, "heads": HEADS, "dropout": 0.0, "embedding_std": 0.5}
    return kind.from_config(ModelConfig(**{**usual, **settings}), facts).eval()


def tokens(rows: int = 3, length: int = LENGTH, seed: int = 0) -> Tensor:
    return torch.randint(5, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def batch_of(ids: Tensor, targets: Tensor | None = None) -> dict[str, Tensor]:
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids, dtype=torch.bool),
        "targets": ids.roll(-1, dims=1) if targets is None else targets,
        "rows": torch.arange(len(ids)),
    }


@pytest.mark.parametrize("variant", CAUSAL)
def test_no_logit_depends_on_a_later_token_by_gradient_and_by_perturbation(variant: str) -> None:
    network: Network = language_model(variant=variant).network.double()
    ids, mask = tokens(rows=1), torch.ones(1, LENGTH, dtype=torch.bool)
    vectors = network.backbone.embeddings.table(ids).detach().requires_grad_()
    out = network.backbone(vectors, mask, causal=True)
    for place in (0, 4, LENGTH - 2):
        (gradient,) = torch.autograd.grad(out[0, place].square().sum(), vectors, retain_graph=True)
        assert (gradient[0, place + 1 :] == 0).all()
        changed = ids.clone()
        changed[0, place + 1 :] = tokens(rows=1, seed=1)[0, place + 1 :]
        assert torch.equal(network(changed, mask)[0, : place + 1], network(ids, mask)[0, : place + 1])


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - set(CAUSAL)))
def test_a_variant_that_mixes_time_is_refused(variant: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be causal"):
        language_model(variant=variant)


@pytest.mark.parametrize("kind", [CausalLanguageModel, MaskedLanguageModel])
def test_padding_changes_no_loss(kind: Any) -> None:
    model, ids = language_model(kind), tokens(length=7)
    short = batch_of(ids)
    padded = {
        name: F.pad(short[name], (0, 3), value=value)
        for name, value in (("input_ids", 0), ("attention_mask", False), ("targets", IGNORED))
    }
    assert torch.allclose(model(padded).losses, model(short).losses, atol=1e-6)


def test_a_document_sees_nothing_of_another_in_its_window() -> None:
    model, ids = language_model(), tokens()
    segments = torch.tensor([[0] * 4 + [1] * 6]).expand(3, LENGTH)
    other = ids.clone()
    other[:, :4] = tokens(seed=1)[:, :4]
    first, second = (
        model({**batch_of(each, ids.roll(-1, 1)), "segments": segments}).losses.view(3, LENGTH) for each in (ids, other)
    )
    assert torch.equal(first[:, 4:], second[:, 4:]) and not torch.equal(first[:, :4], second[:, :4])
    free = [model(batch_of(each, ids.roll(-1, 1))).losses.view(3, LENGTH) for each in (ids, other)]
    assert not torch.allclose(free[0][:, 4:], free[1][:, 4:])


def copy_linear(ours: Any, weight: Tensor, bias: Tensor) -> None:
    ours.weight.data.copy_(weight)
    ours.bias.data.copy_(bias)


def copy_norm(site: Any, theirs: Any) -> None:
    site[0].gain.data.copy_(theirs.weight)
    site[0].bias.data.copy_(theirs.bias)


def test_a_pre_ln_model_is_gpt2_at_copied_weights() -> None:
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        activation_function="gelu", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    theirs = GPT2LMHeadModel(config).double().eval()
    model = language_model(activation="gelu").double()
    backbone, body = model.network.backbone, theirs.transformer
    for parameter in theirs.parameters():
        parameter.data.normal_(std=0.3)
    backbone.embeddings.table.weight.data.copy_(body.wte.weight)
    backbone.embeddings.positions.embedding.weight.data.copy_(body.wpe.weight)
    copy_norm(backbone.final, body.ln_f)
    for ours, block in zip(backbone.blocks, body.h, strict=True):
        copy_norm(ours.attention.input, block.ln_1)
        copy_norm(ours.feed_forward.input, block.ln_2)
        copy_linear(ours.attention.function.query_key_value, block.attn.c_attn.weight.T, block.attn.c_attn.bias)
        copy_linear(ours.attention.function.output, block.attn.c_proj.weight.T, block.attn.c_proj.bias)
        copy_linear(ours.feed_forward.function.hidden, block.mlp.c_fc.weight.T, block.mlp.c_fc.bias)
        copy_linear(ours.feed_forward.function.output, block.mlp.c_proj.weight.T, block.mlp.c_proj.bias)
    ids = tokens()
    logits = theirs(ids).logits
    assert torch.allclose(model.network(ids, torch.ones_like(ids, dtype=torch.bool)), logits, atol=1e-10)
    expected = theirs(ids, labels=ids).loss
    targets = F.pad(ids[:, 1:], (0, 1), value=IGNORED)
    loss = model.loss(model(batch_of(ids, targets)), batch_of(ids, targets))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)  # the loss is float32
    expected.backward()
    loss.backward()
    assert torch.allclose(backbone.embeddings.table.weight.grad, body.wte.weight.grad, atol=1e-6)
    assert torch.allclose(
        backbone.blocks[0].feed_forward.function.hidden.weight.grad, body.h[0].mlp.c_fc.weight.grad.T, atol=1e-6
    )


def test_a_post_ln_model_is_bert_at_copied_weights() -> None:
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH, max_position_embeddings=LENGTH, type_vocab_size=1, layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0,
    )  # fmt: skip
    theirs = BertModel(config, add_pooling_layer=False).double().eval()
    for parameter in theirs.parameters():
        parameter.data.normal_(std=0.3)
    theirs.embeddings.token_type_embeddings.weight.data.zero_()
    # BERT has a norm after the embeddings, which Post-LN lacks: both start from what follows it.
    model = language_model(MaskedLanguageModel, variant="post_ln", activation="gelu", positions="none").double()
    backbone = model.network.backbone
    for ours, layer in zip(backbone.blocks, theirs.encoder.layer, strict=True):
        parts = [getattr(layer.attention.self, name) for name in ("query", "key", "value")]
        copy_linear(
            ours.attention.function.query_key_value,
            torch.cat([part.weight for part in parts]),
            torch.cat([part.bias for part in parts]),
        )
        copy_linear(ours.attention.function.output, *layer.attention.output.dense.parameters())
        copy_norm(ours.attention.post, layer.attention.output.LayerNorm)
        copy_linear(ours.feed_forward.function.hidden, *layer.intermediate.dense.parameters())
        copy_linear(ours.feed_forward.function.output, *layer.output.dense.parameters())
        copy_norm(ours.feed_forward.post, layer.output.LayerNorm)
    ids = tokens()
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 6:] = False
    vectors = theirs.embeddings(input_ids=ids).detach()
    first, second = vectors.clone().requires_grad_(), vectors.clone().requires_grad_()
    expected = theirs.encoder(second, attention_mask=(~mask[:, None, None, :]).double() * -1e30)[0]
    found = backbone(first, mask)
    assert torch.allclose(found[mask], expected[mask], atol=1e-10)
    table, targets = backbone.embeddings.table.weight, torch.where(mask & (ids % 3 == 0), ids, IGNORED)
    losses, hits = token_losses(model.network.head, found, targets, VOCABULARY)
    reference = F.cross_entropy((expected @ table.T).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    assert losses.mean().item() == pytest.approx(reference.item(), rel=1e-5)
    chosen = targets != IGNORED
    assert torch.equal(hits, (expected @ table.T)[chosen].argmax(-1) == ids[chosen])
    losses.mean().backward()
    reference.backward()
    assert torch.allclose(first.grad[mask], second.grad[mask], atol=1e-6)


def test_the_loss_of_pieces_is_that_of_the_whole_with_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(VOCABULARY, WIDTH, requires_grad=True)
    x = torch.randn(3, LENGTH, WIDTH, requires_grad=True)
    targets = tokens()
    targets[0, 3:7] = IGNORED
    most = []

    def read(part: Tensor) -> Tensor:
        most.append(len(part))
        return part @ weight.T

    def run() -> tuple[Tensor, ...]:
        losses, hits = token_losses(read, x, targets, VOCABULARY)
        return losses.detach(), hits, *torch.autograd.grad(losses.mean(), (x, weight))

    whole = run()
    assert max(most) == 26
    most.clear()
    monkeypatch.setattr(heads, "MOST_LOGITS", 4 * VOCABULARY)
    for first, second in zip(whole, run(), strict=True):
        assert torch.allclose(first, second, atol=1e-6)
    assert max(most) == 4 and len(most) == 2 * 7, "each piece is read once more in the backward pass"
    expected = F.cross_entropy((x @ weight.T).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    assert whole[0].mean().item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_tied_head_shares_the_table_and_a_free_one_does_not() -> None:
    tied, free = language_model(), language_model(language_head="free")
    assert tied.network.head.tokens.weight is tied.network.backbone.embeddings.table.weight
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (tied, free)]
    assert sizes[1] - sizes[0] == VOCABULARY * WIDTH


def test_metrics_are_sums_over_all_targets_of_all_batches() -> None:
    draw = torch.Generator().manual_seed(0)
    losses = [torch.rand(count, generator=draw) for count in (3, 11)]
    perplexity, bits, share = Perplexity(), BitsPerByte(), TokenShare("hits")
    for number, each in enumerate(losses):
        perplexity.update(each.mean(), len(each))
        bits.update(each.mean(), len(each), torch.tensor(5 + number))
        share.update(hits=torch.tensor(number), rows=len(each))
    together = torch.cat(losses)
    assert perplexity.compute().item() == pytest.approx(together.mean().exp().item(), rel=1e-6)
    assert bits.compute().item() == pytest.approx(together.sum().item() / 11 / 0.6931471805599453, rel=1e-6)
    assert share.compute().item() == pytest.approx(1 / 14)
    perplexity.update(torch.tensor(1e6), 1)
    assert perplexity.compute().isfinite()


def test_shares_are_kept_apart_although_their_first_batches_agree() -> None:
    facts = TaskFacts(**{**FACTS.as_dict(), "byte_complete": False, "unknown_id": 1})
    model = language_model(facts=facts)
    collection = model.validation_metrics
    for hits, unknown in ((0, 0), (4, 1)):
        collection.update(loss=torch.tensor(1.0), rows=10, hits=torch.tensor(hits), unknown=torch.tensor(unknown))
    found = {name: float(value) for name, value in collection.compute().items()}
    assert found["validation/token_accuracy"] == pytest.approx(0.2)
    assert found["validation/unknown_share"] == pytest.approx(0.05)


def test_the_loss_of_pairs_is_that_of_tokens_and_of_the_second_output() -> None:
    facts = TaskFacts(**{**FACTS.as_dict(), "next_sentence": True})
    model = language_model(MaskedLanguageModel, facts=facts)
    batch = batch_of(tokens()) | {"follows": torch.tensor([0, 1, 1])}
    answers = model(batch)
    expected = answers.losses.mean() + F.cross_entropy(answers.rows, batch["follows"])
    assert model.loss(answers, batch).item() == pytest.approx(expected.item())
    observed = model.observe(answers, batch)
    assert observed["pairs"] == 3 and "sentence_accuracy" in model.metrics()
