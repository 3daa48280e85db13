"""What ``torch.compile`` needs on a device."""

from __future__ import annotations

from importlib.util import find_spec

import torch


def missing_compiler(device: torch.device) -> str:
    """Return what is missing here to compile for a device, as part of a sentence; nothing if all is there."""
    if device.type == "cuda":
        return "" if find_spec("triton") else "Triton, which compiles for the GPU, is not installed"
    from torch._inductor.cpp_builder import get_cpp_compiler  # as torch itself looks for it; slow to import

    try:
        return "" if get_cpp_compiler() else "no C++ compiler is found"
    except RuntimeError:  # torch's InvalidCxxCompiler
        return "no C++ compiler is found"
