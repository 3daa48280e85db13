"""The block and the whole encoder equal PyTorch's and Hugging Face's, forward and backward, with copied weights."""

from __future__ import annotations

import pytest
import torch
from synthetic_batches import make_batch, make_network
from torch import nn

from lightning_modules.network.block import Block
from lightning_modules.network.context import Context
from lightning_modules.schemes.placements import POST_LN
from lightning_modules.schemes.variants import EMBEDDING, NORM, POST, VARIANTS


def copy_attention(source: nn.Module, target: nn.MultiheadAttention) -> None:
    target.in_proj_weight.copy_(source.query_key_value.weight)
    target.in_proj_bias.copy_(source.query_key_value.bias)
    target.out_proj.load_state_dict(source.output.state_dict())


@torch.no_grad()
def copy_norm(source: nn.Module, target: nn.LayerNorm) -> None:
    target.weight.copy_(source.gain)
    target.bias.copy_(source.bias)


@torch.no_grad()
def as_pytorch_layer(block: Block, norm_first: bool) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(16, 4, 64, dropout=0.0, batch_first=True, norm_first=norm_first).double()
    copy_attention(block.attention.function, layer.self_attn)
    layer.linear1.load_state_dict(block.feed_forward.function.hidden.state_dict())
    layer.linear2.load_state_dict(block.feed_forward.function.output.state_dict())
    for sublayer, norm in ((block.attention, layer.norm1), (block.feed_forward, layer.norm2)):
        copy_norm((sublayer.input if norm_first else sublayer.post)[0], norm)
    return layer


def randomise(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


@pytest.mark.parametrize(("variant", "norm_first"), [("post_ln", False), ("pre_ln", True)])
def test_block_equals_pytorchs_layer_forward_and_backward(variant, norm_first):
    block = make_network(torch.float64, variant=variant).blocks[0]
    randomise(block)
    layer = as_pytorch_layer(block, norm_first).train()  # in evaluation mode it has fast paths of its own
    mask = make_batch(5)["attention_mask"]
    x = torch.randn(5, 12, 16, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 12, 16, dtype=torch.float64) * mask[..., None]  # padding may hold anything

    ours, theirs = block(x, Context(mask)), layer(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(ours * mask[..., None], theirs * mask[..., None])

    our_gradient = torch.autograd.grad((ours * weight).sum(), x)[0]
    their_gradient = torch.autograd.grad((theirs * weight).sum(), x, retain_graph=True)[0]
    torch.testing.assert_close(our_gradient, their_gradient)

    (block(x.detach(), Context(mask)) * weight).sum().backward()
    (theirs * weight).sum().backward()
    function = block.attention.function
    pairs = [
        (function.query_key_value.weight, layer.self_attn.in_proj_weight),
        (function.output.weight, layer.self_attn.out_proj.weight),
        (block.feed_forward.function.hidden.bias, layer.linear1.bias),
        (block.feed_forward.function.output.weight, layer.linear2.weight),
    ]
    for sublayer, norm in ((block.attention, layer.norm1), (block.feed_forward, layer.norm2)):
        our_norm = (sublayer.input if norm_first else sublayer.post)[0]
        pairs += [(our_norm.gain, norm.weight), (our_norm.bias, norm.bias)]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours.grad, theirs.grad)


@torch.no_grad()
def copy_into_bert(network: nn.Module, bert: nn.Module) -> None:
    embeddings = bert.embeddings
    embeddings.word_embeddings.weight.copy_(network.backbone.embeddings.table.weight)
    embeddings.position_embeddings.weight.copy_(network.backbone.embeddings.positions.embedding.weight)
    embeddings.token_type_embeddings.weight.zero_()
    copy_norm(network.backbone.embeddings.embedding[0], embeddings.LayerNorm)
    for block, layer in zip(network.blocks, bert.encoder.layer, strict=True):
        function = block.attention.function
        for index, target in enumerate(
            (layer.attention.self.query, layer.attention.self.key, layer.attention.self.value)
        ):
            target.weight.copy_(function.query_key_value.weight.chunk(3)[index])
            target.bias.copy_(function.query_key_value.bias.chunk(3)[index])
        layer.attention.output.dense.load_state_dict(function.output.state_dict())
        copy_norm(block.attention.post[0], layer.attention.output.LayerNorm)
        layer.intermediate.dense.load_state_dict(block.feed_forward.function.hidden.state_dict())
        layer.output.dense.load_state_dict(block.feed_forward.function.output.state_dict())
        copy_norm(block.feed_forward.post[0], layer.output.LayerNorm)


def test_post_norm_encoder_equals_hugging_faces_bert(monkeypatch):
    from transformers import BertConfig, BertModel

    variant = POST_LN.derive("bert", sites={POST: NORM, EMBEDDING: NORM})
    monkeypatch.setitem(VARIANTS, "bert", variant)
    network = make_network(torch.float64, variant="bert", activation="gelu", layers=3)
    randomise(network)
    settings = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(
        vocab_size=40, max_position_embeddings=12, type_vocab_size=1, hidden_act="gelu", layer_norm_eps=1e-5, **settings
    )
    bert = BertModel(config, add_pooling_layer=False).double().eval()
    copy_into_bert(network, bert)
    batch = make_batch(6)
    mask = batch["attention_mask"]
    ours = network.blocks(network.backbone.embeddings(batch["input_ids"]), Context(mask))
    theirs = bert(batch["input_ids"], attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(ours[mask], theirs[mask])
