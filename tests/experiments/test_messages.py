"""Messages of runs reach a process that has loaded no library for training, and leave it so."""

import pickle
import subprocess
import sys
from pathlib import Path

from experiments.making.messages import Failed, Finished, Progress, Skipped
from experiments.runs.record import Outcome

REPOSITORY = Path(__file__).parent.parent.parent
READER = """
import pickle, sys
import experiments.ablation, experiments.making.grid_runner, experiments.making.engines
messages = pickle.load(sys.stdin.buffer)
print(*sorted({"torch", "lightning", "scipy", "sklearn"} & set(sys.modules)))
print(*(type(message).__name__ for message in messages))
"""


def test_reading_messages_imports_neither_torch_nor_lightning() -> None:
    sent = [
        Progress(1, 2, 3, 0.5),
        Finished(Outcome(status="trained", step=1), 0.5),
        Skipped(),
        Failed("reason", mistake=False),
    ]
    command = [sys.executable, "-c", READER]
    read = subprocess.run(command, cwd=REPOSITORY, input=pickle.dumps(sent), capture_output=True, check=True)
    assert read.stdout.decode() == "\nProgress Finished Skipped Failed\n"
