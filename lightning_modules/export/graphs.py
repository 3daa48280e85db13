"""A network as a graph that needs none of our source: PyTorch's ``ExportedProgram``, or ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.network import Network

INPUTS = ("input_ids", "attention_mask")
LOGITS = "logits"
OPSET = 20
"""Version of ONNX's operators; 20 has what every runtime since 2024 knows."""


def exported_program(network: Network, max_length: int) -> ExportedProgram:
    """Return a network as a graph from ids and mask ``(B, T)``, int64 both, to logits; B and T are free.

    Args:
        network: it is traced on the CPU, in evaluation mode.
        max_length: most tokens of a row, which T may reach.

    Raises:
        ConfigurationError: the network computes something that depends on values, so that no graph holds it.
    """
    network = network.cpu().eval()
    rows, length = Dim("batch", min=1, max=1 << 20), Dim("length", min=2, max=max(2, max_length))
    shapes = {name: {0: rows, 1: length} for name in INPUTS}
    try:
        with quiet():
            return torch.export.export(network, example(max_length), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch.export raises errors of many kinds
        raise ConfigurationError(
            f"variant {network.backbone.variant.name} cannot be a graph with free batch and length: {reason(error)}"
        ) from error


def example(max_length: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask of two rows for tracing, whose sizes no other size equals."""
    length = max(2, min(7, max_length))
    mask = torch.ones(3, length, dtype=torch.int64)
    mask[1, length - 1] = 0
    return torch.ones(3, length, dtype=torch.int64), mask


def save_program(network: Network, max_length: int, path: Path) -> None:
    """Write a network as a file of ``torch.export``.

    Raises:
        ConfigurationError: no graph holds it.
    """
    torch.export.save(exported_program(network, max_length), path)


def save_onnx(network: Network, max_length: int, path: Path) -> None:
    """Write a network as one file of ONNX, weights included, with free batch and length.

    Raises:
        ConfigurationError: no graph holds it, or ``onnx`` or ``onnxscript`` is missing.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"{missing[0]} is not installed: pip install -r requirements-export.txt")
    program = exported_program(network, max_length)
    try:
        with quiet():
            written = torch.onnx.export(
                program,
                input_names=list(INPUTS),
                output_names=[LOGITS],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        assert written is not None, "the exporter of torch.export returns a program"
        written.save(str(path), external_data=False)
    except Exception as error:  # the exporter raises errors of many kinds
        raise ConfigurationError(
            f"variant {network.backbone.variant.name} cannot be written as ONNX: {reason(error)}"
        ) from error


def reason(error: BaseException) -> str:
    """Return the first line of an error that says anything."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's notes on its own progress to itself."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
