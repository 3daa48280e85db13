"""What a training step of every scheme costs in terms of Pre-LN's: *time* and *memory* of ``variants list``.

A step is forward pass, backward pass, AdamW and the scheme's own recipes, on random tokens without padding. Every
round measures Pre-LN and then the scheme, and their ratio counts, so that a busy machine slows both. Seconds are those
that the processor spent on this process.

Memory is counted when the forward pass ends, which is near the peak of a step: weights, the gradients of the step
before, AdamW's moments, and what autograd saved for the backward pass. A storage counts once. The count is exact, so it
needs no quiet machine. What an operator allocates and frees within itself is no part of it.
"""

from __future__ import annotations

import csv
import io
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from torch import Tensor

from experiments.benchmark.table import installed_version, machine
from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.runs.run_folder import write_atomically
from experiments.runs.training import prepare_process
from experiments.scheme_cards import MEMORY_COLUMNS, MEMORY_FILE, TIMES_COLUMNS, TIMES_FILE
from lightning_modules.config import ModelConfig
from lightning_modules.network.network import Network, build_network
from lightning_modules.schemes.families import FAMILIES
from lightning_modules.schemes.variants import VARIANTS
from lightning_modules.training.optimization import build_optimizer

BASE = "pre_ln"
LAYERS, WIDTH, ROWS, LENGTH, VOCABULARY, CLASSES = 6, 64, 16, 64, 256, 2
TASK = f"training step: {LAYERS} blocks; width {WIDTH}; {ROWS} rows of {LENGTH} tokens; float32"
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

    def loss(self) -> Tensor:
        """Return the loss of the rows."""
        labels = torch.arange(ROWS) % CLASSES
        return torch.nn.functional.cross_entropy(self.network(self.tokens, self.tokens > 0), labels)

    def seconds(self, steps: int) -> float:
        """Take steps and return the processor's seconds of one."""
        started = time.process_time()
        for _ in range(steps):
            loss = self.loss()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.network.after_step()
        return (time.process_time() - started) / steps

    def held(self) -> int:
        """Return the bytes that a step holds when its forward pass ends."""
        tensors = [*self.network.parameters(), *self.network.buffers()]
        tensors += [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        for state in self.optimizer.state.values():
            tensors += [value for value in state.values() if isinstance(value, Tensor)]
        return held_bytes(self.loss, tensors)


def held_bytes(compute: Callable[[], Tensor], others: Iterable[Tensor] = ()) -> int:
    """Return the bytes of a result, of what autograd holds for its gradient, and of other tensors.

    Every storage counts once and as a whole, since a view keeps all of it. What was saved for a part that the result
    does not depend on is gone by then, and does not count.
    """
    saved: list[weakref.ref[Tensor]] = []

    def pack(tensor: Tensor) -> Tensor:
        kept = tensor.detach()  # shares the storage; PyTorch forbids to keep the tensor itself, which makes a circle
        saved.append(weakref.ref(kept))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        result = compute()
    alive = [kept for each in saved if (kept := each()) is not None]
    storages = [tensor.untyped_storage() for tensor in (result, *alive, *others)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def schemes_named(option: str, names: Sequence[str]) -> list[str]:
    """Return the schemes that an option names; without any all that have blocks.

    Raises:
        ExperimentError: a name is unknown, or has no blocks.
    """
    blocks = [name for name, variant in VARIANTS.items() if name in FAMILIES and variant.layers is None]
    for name in names:
        reject_unknown(f"{option}: scheme", name, blocks)
    return list(names) or blocks


def measure_schemes(names: Sequence[str], rounds: int, folder: Path, console: Console) -> Path:
    """Time schemes, all with blocks by default, and write their table, in which others keep their rows.

    Args:
        names: of schemes of the lab.
        rounds: measurements of each.
        folder: where the table goes.
        console: where each is told.

    Raises:
        ExperimentError: a name is unknown, or has no blocks.
    """
    wanted = schemes_named("--schemes", names)
    prepare_process(1)
    about = machine()
    conditions = {
        "rounds": str(rounds),
        "task": f"{TASK}; one thread",
        **{name: about[name] for name in ("date", "cpu", "cores", "load_average", "torch")},
    }
    base, rows = Stepper.of(BASE), read_rows(folder / TIMES_FILE, TIMES_COLUMNS)
    for name in wanted:
        stepper = Stepper.of(name)
        ratios = []
        for _ in range(rounds):
            usual = base.seconds(STEPS)
            ratios.append(stepper.seconds(STEPS) / usual)
        low, middle, high = min(ratios), median(ratios), max(ratios)
        numbers = {"relative_time": f"{middle:.3f}", "smallest": f"{low:.3f}", "largest": f"{high:.3f}"}
        rows[name] = {"scheme": name, **numbers, **conditions}
        console.print(f"{name}: {middle:.2f} times {BASE} ({low:.2f} to {high:.2f})", highlight=False)
    write_atomically(folder / TIMES_FILE, as_csv(rows, TIMES_COLUMNS))
    return folder / TIMES_FILE


def weigh_schemes(names: Sequence[str], folder: Path, console: Console) -> Path:
    """Count the memory of schemes, all with blocks by default; write their table, in which others keep their rows.

    Args:
        names: of schemes of the lab.
        folder: where the table goes.
        console: where each is told.

    Raises:
        ExperimentError: a name is unknown, or has no blocks.
    """
    wanted = schemes_named("--scheme_memory", names)
    prepare_process(1)
    base, rows = Stepper.of(BASE).held(), read_rows(folder / MEMORY_FILE, MEMORY_COLUMNS)
    for name in wanted:
        held = Stepper.of(name).held()
        numbers = {"relative_memory": f"{held / base:.3f}", "held_bytes": str(held)}
        rows[name] = {"scheme": name, **numbers, "task": TASK, "torch": installed_version("torch")}
        console.print(f"{name}: {held / base:.2f} times {BASE} ({held / 2**20:.1f} MiB)", highlight=False)
    write_atomically(folder / MEMORY_FILE, as_csv(rows, MEMORY_COLUMNS))
    return folder / MEMORY_FILE


def read_rows(path: Path, columns: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Return the rows of an earlier table by scheme; none without one.

    Raises:
        ExperimentError: it has other columns.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != columns:
            raise ExperimentError(f"{path} has other columns than {', '.join(columns)}; remove it")
        return {row["scheme"]: row for row in reader}


def as_csv(rows: Mapping[str, dict[str, str]], columns: tuple[str, ...]) -> bytes:
    """Return the bytes of a table, in the order of the lab's schemes; those that it has no more are left out."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[name] for name in schemes_named("", ()) if name in rows)
    return text.getvalue().encode()
