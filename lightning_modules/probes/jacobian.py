"""Singular values of the Jacobian of a sublayer or block: by how much it stretches a small change of its input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightning_modules.network.block import unchanged
from lightning_modules.network.context import Context, NothingShared
from lightning_modules.network.sublayer import Sublayer


def jacobian_singular_values(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the singular values of ``∂ function(x) / ∂ x``, both flattened, largest first.

    The Jacobian is exact: as many vector-Jacobian products as ``function(x)`` has elements, in one vectorised backward
    pass. Take a small ``x``: the decomposition is cubic in its elements.

    Returns:
        ``(min(outputs, inputs),)``, NaN where the Jacobian is not finite.
    """
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels cannot be vectorised
        jacobian = torch.func.jacrev(lambda flat: function(flat.view_as(x)).flatten())(x.detach().flatten())
    jacobian = jacobian.detach().to(torch.promote_types(jacobian.dtype, torch.float32))
    if not jacobian.isfinite().all():
        return torch.full((min(jacobian.shape),), torch.nan, dtype=jacobian.dtype, device=jacobian.device)
    return torch.linalg.svdvals(jacobian)


def block_singular_values(block: nn.Module, x: Tensor) -> Tensor:
    """Return the singular values of the Jacobian of a block or sublayer at the stream ``x`` ``(T, D)`` of one row.

    The map is ``close ∘ block ∘ open``, from stream to stream, with every token real; a scheme whose state is more than
    the stream starts it anew here. With all T·D values at 1 the block is an isometry, as ReZero's at the start is
    (Bachlechner et al. 2020, arXiv:2003.04887, section 3).

    All values are NaN if the block needs what an earlier one shares.
    """
    sublayers = [module for module in block.modules() if isinstance(module, Sublayer)]
    opening, closing = sublayers[0].residual, sublayers[-1].residual
    context = Context(torch.ones(1, len(x), dtype=torch.bool, device=x.device))

    def stream_to_stream(x: Tensor) -> Tensor:
        return closing.close(block(opening.open(x[None]), context), unchanged)[0]

    try:
        return jacobian_singular_values(stream_to_stream, x)
    except NothingShared:
        return torch.full((x.numel(),), torch.nan, dtype=x.dtype, device=x.device)
