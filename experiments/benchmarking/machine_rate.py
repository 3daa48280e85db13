"""How fast this machine multiplies matrices: the yardstick of model FLOP utilisation."""

from __future__ import annotations

import time

import torch

SIZE = 1024
"""Side of the square matrices: large enough that the product, not its overhead, is timed."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def matrix_product_rates(seconds: float = 0.25) -> dict[str, float]:
    """Return the rate of every number format, by its name."""
    return {name: matrix_product_rate(dtype, seconds=seconds) for name, dtype in DTYPES.items()}


def matrix_product_rate(dtype: torch.dtype, *, size: int = SIZE, seconds: float = 0.25) -> float:
    """Return the floating-point operations per second of ``(size, size) × (size, size)``: ``2·size³ / time``.

    The products run on as many threads as the process has; the first one, which prepares the kernel, is not timed.

    Args:
        dtype: number format of both matrices and of the product.
        size: side of the matrices.
        seconds: least time to measure for.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator).to(dtype) for _ in range(2))
    product = left @ right
    products = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or not products:
        torch.mm(left, right, out=product)
        products += 1
    return products * 2 * size**3 / elapsed
