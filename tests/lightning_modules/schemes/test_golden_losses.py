"""The first 20 losses of variants with results, against a file: a change of the numbers must be meant.

Rewrite it, new variants included, with ``PYTHONPATH=.:tests/lightning_modules python
tests/lightning_modules/schemes/test_golden_losses.py``. Processors differ in the
last bits of what they draw and compute, and ``article_layer_norm_dim1`` multiplies such a difference ten-thousandfold
within a few steps. So the weights start at values that all draw alike, and the arithmetic is float64.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from synthetic_batches import make_batch, make_network

from lightning_modules.config import ModelConfig
from lightning_modules.network.network import Network
from lightning_modules.schemes.variants import VARIANTS
from lightning_modules.training.optimization import build_optimizer, build_schedule

GOLDEN = Path(__file__).parent / "golden" / "losses.json"
STEPS = 20


def with_portable_weights(network: Network) -> Network:
    """Round the weights to bfloat16, which drops the bits that differ between processors, and compute in float64."""
    return network.bfloat16().double()


def losses_of(variant: str) -> list[float]:
    network = with_portable_weights(make_network(variant=variant, layers=4, width=16)).train()
    optimizer = build_optimizer(ModelConfig(learning_rate=3e-3), network)
    schedule = build_schedule(ModelConfig(), optimizer, STEPS)
    losses = []
    for step in range(STEPS):
        batch = make_batch(16, seed=step)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(batch["input_ids"], batch["attention_mask"]), batch["labels"])
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(round(loss.item(), 8))
    return losses


@pytest.mark.parametrize("variant", json.loads(GOLDEN.read_text()))
def test_the_first_losses_are_those_of_the_golden_file(variant):
    assert losses_of(variant) == pytest.approx(json.loads(GOLDEN.read_text())[variant], rel=1e-6)


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({variant: losses_of(variant) for variant in VARIANTS}, indent=1) + "\n")
