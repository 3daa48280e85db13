"""Our classes in a plain Trainer of somebody's script, with several processes: the numbers of one, or a refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.network.dropout import batch_seed

REPOSITORY = Path(__file__).parent.parent.parent
SCRIPT = """
import json, sys, torch
from pathlib import Path
from lightning.pytorch import Trainer
from data_modules.config import ListOpsOptions
from data_modules.labelled_text import TextDataModule
from lightning_modules.errors import ConfigurationError
from lightning_modules.tasks.classification import TextClassifier

if __name__ == "__main__":
    strategy, cache, target = sys.argv[1:]
    torch.set_num_threads(1)
    options = ListOpsOptions(train_rows=297, evaluation_rows=97, levels=1)
    data = TextDataModule(corpus="listops", listops=options, max_length=24, batch_size=32, evaluation_batch_size=32,
                          cache_dir=cache, stage="final")
    module = TextClassifier(layers=1, width=16, heads=2, dropout=0.0, learning_rate=1e-2)
    quiet = dict(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                 enable_model_summary=False)
    flags = {} if strategy == "alone" else {"strategy": strategy, "devices": 2}
    trainer = Trainer(max_epochs=2, **quiet, **flags)
    trainer.fit(module, datamodule=data)
    said = ""
    if strategy != "alone":
        try:
            trainer.predict(module, datamodule=data)
        except Exception as error:
            said = str(error)
    if trainer.global_rank == 0:
        alone = Trainer(**quiet)
        scores = alone.test(module, datamodule=data, verbose=False)[0]
        Path(target).write_text(json.dumps({"scores": scores, "said": said}))
"""


def trained(strategy: str, folder: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "script.py", strategy, str(folder / "cache"), str(folder / f"{strategy}.json")],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (folder / f"{strategy}.json").is_file(), done.stderr[-3_000:]
    return json.loads((folder / f"{strategy}.json").read_text())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows cannot fork")
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork"])
def test_two_processes_of_a_script_leave_the_weights_of_one(strategy: str, tmp_path: Path) -> None:
    assert batch_seed(0, 0, 0) != batch_seed(0, 0, 0, 1), "dropout is off here: its masks differ by process"
    (tmp_path / "script.py").write_text(SCRIPT)
    alone, together = trained("alone", tmp_path), trained(strategy, tmp_path)
    assert alone["scores"]["test/macro_f1"] > 0.2
    assert together["scores"] == pytest.approx(alone["scores"], rel=1e-3)
    assert "predict on one" in together["said"]
