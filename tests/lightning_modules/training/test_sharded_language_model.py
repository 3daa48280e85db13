"""A language model whose weights are spread over two processes takes the steps of a whole one."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from lightning_modules.config import ModelConfig
from lightning_modules.network.heads import LanguageHead
from lightning_modules.network.network import Network, build_network


def language_network() -> Network:
    config = ModelConfig(layers=1, width=16, heads=2, dropout=0.0, causal=True)
    sizes = {"vocabulary_size": 30, "outputs": 30, "max_length": 8, "padding_id": None}
    return build_network(config, head=LanguageHead, causal=True, **sizes)


def take_steps(rank: int, place: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("data_parallel",))
    whole, spread = language_network(), language_network()
    for module in (*spread.blocks.children(), spread):
        fully_shard(module, mesh=mesh["data_parallel"])
    register_fsdp_forward_method(spread, "answers")
    ids = torch.randint(1, 30, (4, 8), generator=torch.Generator().manual_seed(0))
    mask, own = torch.ones_like(ids, dtype=torch.bool), slice(2 * rank, 2 * rank + 2)
    for network, rows in ((whole, slice(None)), (spread, own)):
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
        for _ in range(3):
            network.answers(ids[rows], mask[rows], ids[rows]).losses.mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    with torch.no_grad():
        losses = [network.answers(ids, mask, ids).losses for network in (whole, spread)]
    if rank == 0:
        torch.save(losses, Path(place) / "losses.pt")
    dist.destroy_process_group()


def test_a_spread_language_model_takes_the_steps_of_a_whole_one(tmp_path: Path) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    multiprocessing.spawn(take_steps, args=(str(tmp_path),), nprocs=2)
    whole, spread = torch.load(tmp_path / "losses.pt", weights_only=True)
    before = language_network().answers(
        *(torch.ones(1, 8, dtype=kind) for kind in (torch.long, torch.bool, torch.long))
    )
    torch.testing.assert_close(whole, spread)
    assert whole.mean() < before.losses.mean() - 0.1
