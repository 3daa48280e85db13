"""Initial weights: Xavier, Gaussian, or PyTorch's own, with a gain on the matrices of the blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_modules.transformer.attention import SelfAttention

GAUSSIAN_SD = 0.02


@torch.no_grad()
def initialise(root: nn.Module, kind: str, gain: float = 1.0) -> None:
    """Draw the weights of every ``nn.Linear`` below ``root`` and set its bias to zero.

    - ``xavier``: W ~ U(-a, a), a = gain·√(6 / (inputs + outputs)) (Glorot & Bengio 2010, equation 16);
    - ``gaussian``: W ~ N(0, (gain·0.02)²) (Devlin et al. 2018, arXiv:1810.04805, appendix A.2);
    - ``random``: PyTorch's default, W ~ U(-a, a), a = gain/√inputs; biases keep their default draw.

    Query, key and value stand in one fused matrix; each is drawn as the ``(D, D)`` matrix that it is.
    """
    for module in root.modules():
        if isinstance(module, SelfAttention):
            for matrix in module.query_key_value.weight.chunk(3):
                draw(matrix, kind, gain)
            draw(module.output.weight, kind, gain)
        elif isinstance(module, nn.Linear):
            draw(module.weight, kind, gain)
        if isinstance(module, nn.Linear) and kind != "random":
            nn.init.zeros_(module.bias)
