"""Schemes against an independent library, x-transformers of ``requirements-benchmark.txt``, where it is installed.

Where it departs from a paper, and so from us, the test says in what.
"""

from __future__ import annotations

import pytest
import torch
from scheme_weights import disturb
from synthetic_batches import make_batch, make_network
from torch import Tensor

from lightning_modules.network.context import Context
from lightning_modules.network.parts import op
from lightning_modules.network.sublayer import Branch
from lightning_modules.schemes.place import Place

theirs = pytest.importorskip("x_transformers.x_transformers", reason="needs requirements-benchmark.txt")
WIDTH = 16
MASK = make_batch(5)["attention_mask"]


def drawn(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*MASK.shape, WIDTH, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(
    ("ours", "other", "options"),
    [
        ("layer_norm_without_bias", "LayerNorm", {}),
        ("scale_norm", "ScaleNorm", {}),
        ("simple_rms_norm", "SimpleRMSNorm", {}),
        ("dynamic_tanh", "DynamicTanh", {"init_alpha": 0.5}),
        ("point_wise", "Derf", {"init_alpha": 0.5}),
    ],
)
def test_norms_are_those_of_the_library(ours: str, other: str, options: dict[str, float]) -> None:
    norm = op.find(ours)(WIDTH, Place(width=WIDTH)).double()
    torch.testing.assert_close(norm(drawn(1)), getattr(theirs, other)(WIDTH, **options).double()(drawn(1)))


def test_rms_norm_is_the_librarys_but_for_its_epsilon() -> None:
    norm = op.find("rms_norm")(WIDTH, Place(width=WIDTH)).double()
    norm.epsilon = 0.0  # theirs divides by the length itself
    torch.testing.assert_close(norm(drawn(1)), theirs.RMSNorm(WIDTH).double()(drawn(1)))


def updated(variant: str, stream: Tensor) -> tuple[Tensor, Tensor]:
    """What a sublayer's F puts out, and what the residual makes of it."""
    network = disturb(make_network(torch.float64, variant=variant, layers=1))
    sublayer = next(network.blocks.sublayers())
    context = Context(MASK)
    return Branch(sublayer, context)(stream), sublayer(stream, context)


def test_mv_split_is_the_librarys() -> None:
    update, after = updated("mv_split", drawn(1))
    network = disturb(make_network(torch.float64, variant="mv_split", layers=1))
    residual = next(network.blocks.sublayers()).residual
    library = theirs.MVSplitResidualUpdate(WIDTH).double()
    library.load_state_dict({"alpha": residual.alpha.detach(), "beta": residual.beta.detach()})
    torch.testing.assert_close(after, library(update, drawn(1), mask=MASK))


def test_the_orthogonal_update_is_the_librarys_for_a_row_of_one_token_alone() -> None:
    """Theirs projects over all tokens and features of a row together, the paper over each token's features."""
    update, after = updated("orthogonal", drawn(1))
    library = theirs.OrthogonalResidualUpdate(WIDTH)
    one = library(update.flatten(0, 1)[:, None], drawn(1).flatten(0, 1)[:, None])[:, 0].view_as(update)
    torch.testing.assert_close(after, one, atol=1e-5, rtol=1e-5)
    assert (after - library(update, drawn(1))).abs().max() > 0.05
