"""A network of ONNX with its weights in eight bits, and how it answers on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_modules.errors import ConfigurationError

MISSING = "onnxruntime is not installed: pip install -r requirements-export.txt"


def save_int8(source: Path, target: Path) -> None:
    """Write an ONNX network with the matrices of its products and embeddings in eight bits.

    Weights are ``round(w/s)`` with one scale s for each column of a matrix. Inputs of a product get their own scale at
    each product (dynamic quantisation, Jacob et al. 2017, arXiv:1712.05877, section 2.1).

    Args:
        source: network in float32.
        target: file to write.

    Raises:
        ConfigurationError: ONNX Runtime is missing or cannot quantise the network.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise ConfigurationError(MISSING) from None
    try:
        with without_notes():
            quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True)
    except Exception as error:  # the library raises errors of many kinds
        raise ConfigurationError(f"ONNX Runtime cannot quantise the network: {str(error).splitlines()[0]}") from error


@contextmanager
def without_notes() -> Iterator[None]:
    """Keep the library's advice, which asks for another step of its own, to itself."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)


class OnnxNetwork:
    """A network of ONNX on the CPU, called as ours is.

    Args:
        path: the file.
        threads: that compute.

    Raises:
        ConfigurationError: ONNX Runtime is missing, or the file is none of its own.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ConfigurationError(MISSING) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self.session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # as above
            raise ConfigurationError(f"{path} is no network of ONNX: {str(error).splitlines()[0]}") from error

    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of ids and mask ``(B, T)``."""
        given = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.long().numpy()}
        (logits,) = self.session.run(None, given)
        return torch.from_numpy(logits)
