"""What a training step of every scheme costs in terms of Pre-LN's: the column *time* of ``variants list``.

A step is forward pass, backward pass, AdamW and the scheme's own recipes, on random tokens without padding. Every
round measures Pre-LN and then the scheme, and their ratio counts, so that a busy machine slows both. Seconds are those
that the processor spent on this process.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from torch import Tensor

from experiments.benchmark.table import machine
from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.runs.run_folder import write_atomically
from experiments.runs.training import prepare_process
from experiments.scheme_cards import TIMES_COLUMNS, TIMES_FILE
from lightning_modules.config import ModelConfig
from lightning_modules.network.network import Network, build_network
from lightning_modules.schemes.families import FAMILIES
from lightning_modules.schemes.variants import VARIANTS
from lightning_modules.training.optimization import build_optimizer

BASE = "pre_ln"
LAYERS, WIDTH, ROWS, LENGTH, VOCABULARY, CLASSES = 6, 64, 16, 64, 256, 2
WARMING = 2
"""Steps before the first round, which pay for what is done once."""
STEPS = 3
"""Steps of a measurement."""


@dataclass(frozen=True)
class Stepper:
    """A network with its optimiser, ready to take steps."""

    network: Network
    optimizer: torch.optim.Optimizer
    tokens: Tensor
    """``(B, T)`` ids."""

    @staticmethod
    def of(variant: str) -> Stepper:
        """Build the network of a variant at the size of the comparison, warmed up."""
        config = ModelConfig(variant=variant, layers=LAYERS, width=WIDTH, heads=4, dropout=0.0)
        network = build_network(
            config, vocabulary_size=VOCABULARY, outputs=CLASSES, max_length=LENGTH, padding_id=0
        ).train()
        tokens = torch.randint(1, VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
        network.prepare(tokens, tokens > 0)
        stepper = Stepper(network, build_optimizer(config, network), tokens)
        stepper.seconds(WARMING)
        return stepper

    def seconds(self, steps: int) -> float:
        """Take steps and return the processor's seconds of one."""
        mask, labels = self.tokens > 0, torch.arange(ROWS) % CLASSES
        started = time.process_time()
        for _ in range(steps):
            loss = torch.nn.functional.cross_entropy(self.network(self.tokens, mask), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.network.after_step()
        return (time.process_time() - started) / steps


def measure_schemes(names: Sequence[str], rounds: int, folder: Path, console: Console) -> Path:
    """Measure schemes, all with blocks by default, and write their table, in which others keep their rows.

    Args:
        names: of schemes of the lab.
        rounds: measurements of each.
        folder: where the table goes.
        console: where each is told.

    Raises:
        ExperimentError: a name is unknown, or has no blocks.
    """
    blocks = [name for name, variant in VARIANTS.items() if name in FAMILIES and variant.layers is None]
    for name in names:
        reject_unknown("--schemes: scheme", name, blocks)
    prepare_process(1)
    about = machine()
    conditions = {
        "rounds": str(rounds),
        "task": f"training step: {LAYERS} blocks; width {WIDTH}; {ROWS} rows of {LENGTH} tokens; float32; one thread",
        **{name: about[name] for name in ("date", "cpu", "cores", "load_average", "torch")},
    }
    base, rows = Stepper.of(BASE), read_rows(folder / TIMES_FILE)
    for name in names or blocks:
        stepper = Stepper.of(name)
        ratios = []
        for _ in range(rounds):
            usual = base.seconds(STEPS)
            ratios.append(stepper.seconds(STEPS) / usual)
        low, middle, high = min(ratios), median(ratios), max(ratios)
        numbers = {"relative_time": f"{middle:.3f}", "smallest": f"{low:.3f}", "largest": f"{high:.3f}"}
        rows[name] = {"scheme": name, **numbers, **conditions}
        console.print(f"{name}: {middle:.2f} times {BASE} ({low:.2f} to {high:.2f})", highlight=False)
    write_atomically(folder / TIMES_FILE, as_csv([rows[name] for name in blocks if name in rows]))
    return folder / TIMES_FILE


def read_rows(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of an earlier table by scheme; none without one.

    Raises:
        ExperimentError: it has other columns.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != TIMES_COLUMNS:
            raise ExperimentError(f"{path} has other columns than {', '.join(TIMES_COLUMNS)}; remove it")
        return {row["scheme"]: row for row in reader}


def as_csv(rows: Sequence[dict[str, str]]) -> bytes:
    """Return the table's bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, TIMES_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
