"""Processes that share a batch see all of its rows where a scheme looks at the first one, and so start alike."""

from __future__ import annotations

from pathlib import Path

import torch
from synthetic_batches import make_batch, make_network
from torch import distributed, multiprocessing

from lightning_modules.training.processes import rows_of_all

SHARDS = ((3, 7), (2, 9))
"""Rows and length of each process's part."""


def shards() -> list[dict[str, torch.Tensor]]:
    return [make_batch(rows, seed, length) for seed, (rows, length) in enumerate(SHARDS)]


def prepare_in_one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    batch = shards()[rank]
    ids, mask = rows_of_all(batch["input_ids"], batch["attention_mask"], 2)
    network = make_network(torch.float64, variant="admin")
    network.prepare(ids, mask)
    torch.save({"ids": ids, "mask": mask, "state": network.state_dict()}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_gather_the_same_rows_and_profile_the_same_weights(tmp_path: Path) -> None:
    multiprocessing.spawn(prepare_in_one_of_two, (str(tmp_path),), nprocs=2)
    seen = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert torch.equal(seen[0]["ids"], seen[1]["ids"]) and torch.equal(seen[0]["mask"], seen[1]["mask"])
    rows = [ids[mask] for ids, mask in zip(seen[0]["ids"], seen[0]["mask"], strict=True)]
    expected = [i[m] for part in shards() for i, m in zip(part["input_ids"], part["attention_mask"], strict=True)]
    assert len(rows) == 5 and all(torch.equal(one, other) for one, other in zip(rows, expected, strict=True))
    for name, value in seen[0]["state"].items():
        assert torch.equal(value, seen[1]["state"][name]), name
    assert seen[0]["state"]["backbone.blocks.1.attention.skip.0.gain"].unique().item() != 1.0


def test_a_process_alone_has_all_rows() -> None:
    batch = make_batch(3)
    ids, mask = rows_of_all(batch["input_ids"], batch["attention_mask"], 1)
    assert ids is batch["input_ids"] and mask is batch["attention_mask"]
