"""The engine of ``compress``: a trained run made smaller in several ways, and what each costs in score and time."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from data_modules.batches.batching import BatchDataset
from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.planning.run_config import TrainerConfig
from experiments.reporting.render import TextTable, rounded
from experiments.runs.inference import TrainedModel
from experiments.runs.training import build_bare_trainer
from experiments.statistics.rows import METRICS, Answers, bootstrap_interval, difference
from lightning_modules.compression import pruning
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.network import Network
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.callbacks.step_budget import StepBudget

AS_IT_IS = ("float32", "bfloat16", "onnx", "int8")
PRUNED = ("weights", "heads", "units", "blocks")
WHOLE = "float32"
"""The method with which every other row is compared."""
SEED = 0
"""Seed of the bootstrap."""
ROWS_TOGETHER = 32
SAMPLE_ROWS = 512
"""Training rows on which the importance of blocks is measured."""
Forward = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """One way to make a network smaller, such as ``int8`` or ``blocks:0.5+int8``.

    Raises:
        ExperimentError, ConfigurationError: it is unknown, or its share is out of range.
    """

    name: str
    pruned: str | None
    share: float
    form: str
    """How the network is held: one of ``AS_IT_IS``."""

    @classmethod
    def of(cls, name: str) -> Method:
        """Read the name of a method."""
        first, _, second = name.partition("+")
        kind, colon, share = first.partition(":")
        if not colon:
            if second:
                raise ExperimentError(f"method {name!r} joins two forms; only pruning can come before a form")
            reject_unknown("method", kind, AS_IT_IS + PRUNED)
            if kind in PRUNED:
                raise ExperimentError(f"method {name!r} needs a share, as in {kind}:0.5")
            return cls(name, None, 0.0, kind)
        reject_unknown("method", kind, PRUNED)
        form = second or WHOLE
        reject_unknown("form", form, AS_IT_IS)
        try:
            value = float(share)
        except ValueError:
            raise ExperimentError(f"method {name!r} needs a share between 0 and 1, as in {kind}:0.5") from None
        pruning.check_share(value)
        return cls(name, kind, value, form)


@dataclass(frozen=True)
class Compressed:
    """A network as one method leaves it."""

    method: Method
    forward: Callable[[int], Forward]
    """The network that computes with a number of threads."""
    bytes: int
    """Bytes of the file that holds the weights: safetensors, or ONNX."""
    zipped: int
    """Bytes of that file after gzip, which shows the gain from zeros."""


@dataclass(frozen=True)
class Speed:
    """Times of one method with one number of threads."""

    p50: float
    """Median milliseconds for one text."""
    p99: float
    throughput: float
    """Texts a second, in batches."""


def compress(trained: TrainedModel, method: Method, folder: Path, tune: TrainerConfig | None) -> Compressed:
    """Make a run's network smaller.

    Args:
        trained: it is left alone.
        method: the way.
        folder: for files of ONNX, which are named after the method.
        tune: how a pruned network is trained further, if it is.

    Raises:
        ConfigurationError: the scheme or the machine does not allow it.
    """
    module = trained.module
    if method.pruned is not None:
        module = pruned(trained, method, tune)
    network = module.network.cpu().eval()
    if method.form in ("onnx", "int8"):
        from lightning_modules.export.graphs import save_onnx

        path = folder / f"{method.name.replace(':', '_')}.onnx"
        save_onnx(deepcopy(network), trained.data.config.max_length, path)
        if method.form == "int8":
            from lightning_modules.compression.quantising import save_int8

            whole = path.rename(path.with_suffix(".float32.onnx"))
            save_int8(whole, path)
            whole.unlink()
        return Compressed(method, lambda threads: onnx_forward(path, threads), *sizes(path.read_bytes()))
    dtype = torch.bfloat16 if method.form == "bfloat16" else torch.float32
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights_of(network)}
    return Compressed(method, lambda threads: torch_forward(network, threads, dtype), *sizes(safetensors_bytes(state)))


def weights_of(network: Network) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of a network by name, each in memory of its own."""
    for name, value in network.state_dict().items():
        yield name, value.detach().clone().contiguous()


def sizes(content: bytes) -> tuple[int, int]:
    """Return the bytes of a file, and of the same after gzip."""
    return len(content), len(gzip.compress(content, compresslevel=6, mtime=0))


def torch_forward(network: Network, threads: int, dtype: torch.dtype) -> Forward:
    """Return a network of PyTorch that computes with this many threads; below float32, matrix products are cast."""

    @torch.inference_mode()
    def forward(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return network(input_ids, attention_mask).float()

    return forward


def onnx_forward(path: Path, threads: int) -> Forward:
    """Return a network of ONNX that computes with this many threads."""
    from lightning_modules.compression.quantising import OnnxNetwork

    return OnnxNetwork(path, threads)


def pruned(trained: TrainedModel, method: Method, tune: TrainerConfig | None) -> TextClassifier:
    """Return a copy of a run's module without a share of its weights, heads, units or blocks, trained further if asked.

    Blocks go in the order of their importance on training rows, the least important ones first.

    Raises:
        ConfigurationError: the scheme does not allow it.
    """
    module = deepcopy(trained.module)
    masks: pruning.Masks = {}
    match method.pruned:
        case "weights":
            masks = pruning.prune_weights(module.network, method.share)
        case "heads":
            pruning.prune_heads(module.network, method.share)
        case "units":
            pruning.prune_units(module.network, method.share)
        case _:
            sample = trained.data.train_sample(SAMPLE_ROWS)
            rises = importance(module.network, sample, "the removal of a block")
            going = sorted(range(len(rises)), key=lambda index: rises[index])[: int(method.share * len(rises))]
            module.network = pruning.without_blocks(module.network, going)
    if tune is not None:
        train_further(module, trained.data, tune, masks)
    return module.eval()


def importance(network: Network, batch: dict[str, Tensor], what: str) -> list[float]:
    """Return by how much the cross-entropy of a batch rises when each block alone is removed.

    Raises:
        ConfigurationError: the scheme needs all of its blocks.
    """

    @torch.inference_mode()
    def loss(network: Network) -> float:
        logits = network.eval()(batch["input_ids"], batch["attention_mask"]).float()
        return float(torch.nn.functional.cross_entropy(logits, batch["labels"]))

    try:
        return pruning.importance_of_blocks(network, loss)
    except (LookupError, RuntimeError) as error:
        name = network.backbone.variant.name
        raise ConfigurationError(f"variant {name} does not allow {what}: {str(error).splitlines()[0]}") from error


def train_further(module: TextClassifier, data: TextDataModule, tune: TrainerConfig, masks: pruning.Masks) -> None:
    """Train a pruned network for some steps at a tenth of its rate; pruned weights stay zero."""
    rate = module.config.learning_rate / 10
    module.config = replace(module.config, learning_rate=rate, schedule_epochs=None)
    module.hparams["learning_rate"] = rate
    assert tune.max_steps is not None
    settings = asdict(tune) | {"max_steps": -1, "max_epochs": -1, "limit_val_batches": 0, "enable_progress_bar": False}
    extra = [StepBudget(tune.max_steps), pruning.KeptZeros(masks)]
    build_bare_trainer(settings, extra).fit(module.train(), datamodule=data)


@dataclass(frozen=True)
class Rows:
    """The rows that are answered, as batches, and what is known of them."""

    batches: list[dict[str, Tensor]]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None


def rows_of(data: TextDataModule, most: int | None = None, size: int = ROWS_TOGETHER) -> Rows:
    """Return the rows that the run was scored on, at most ``most``, in batches of similar length.

    They are the test rows of a final run, and the validation rows of a tuning run.
    """
    split = "test" if data.config.stage == "final" else "validation"
    encoded = data.split(split)
    assert encoded.labels is not None, "a classifier's rows have labels"
    chosen = np.argsort(encoded.lengths[:most], kind="stable")
    dataset = BatchDataset(encoded, data.encoded.tokenizer.padding_id)
    batches = [dataset[chosen[start : start + size]] for start in range(0, len(chosen), size)]
    named = data.groups(split)
    groups = None if named is None else np.unique(np.array(named)[chosen], return_inverse=True)[1]
    return Rows(batches, np.array(encoded.labels[chosen]), groups)


def answers_of(forward: Forward, rows: Rows) -> NDArray[np.int64]:
    """Return the class that a network gives every row.

    Raises:
        ExperimentError: its numbers are not finite.
    """
    logits = torch.cat([forward(batch["input_ids"], batch["attention_mask"]) for batch in rows.batches])
    if not bool(logits.isfinite().all()):
        raise ExperimentError("the numbers of the compressed network are not finite, so that it has no answers")
    found: NDArray[np.int64] = logits.argmax(dim=1).numpy()
    return found


def losses(first: NDArray[np.int64], second: NDArray[np.int64], rows: Rows) -> dict[str, tuple[float, float, float]]:
    """Return accuracy and macro F1 of ``second`` minus those of ``first``, each with its paired 95 % interval."""
    answers = Answers(rows.labels, second, first, rows.groups)
    counts = answers.class_counts().sum(axis=0)
    return {
        name: (
            float(difference(counts, METRICS[name])),
            *bootstrap_interval(answers, METRICS[name], np.random.default_rng(SEED)),
        )
        for name in ("accuracy", "macro_f1")
    }


def measured(compressed: Sequence[Compressed], rows: Rows, threads: int, rounds: int) -> list[Speed]:
    """Time every method in turn, round after round, so that a busy machine slows all of them alike.

    One text at a time first, then batches; cleaning and tokens are not counted.
    """
    singles = [{name: value[:1] for name, value in batch.items()} for batch in rows.batches]
    forwards = [each.forward(threads) for each in compressed]
    for forward in forwards:
        _ = [forward(batch["input_ids"], batch["attention_mask"]) for batch in rows.batches[:2]]
    alone: list[list[float]] = [[] for _ in compressed]
    together: list[list[float]] = [[] for _ in compressed]
    for _ in range(rounds):
        for index, forward in enumerate(forwards):
            alone[index] += [timed(forward, [single]) for single in singles]
            together[index].append(timed(forward, rows.batches))
    return [
        Speed(1e3 * float(np.quantile(one, 0.5)), 1e3 * float(np.quantile(one, 0.99)), len(rows.labels) / min(all_rows))
        for one, all_rows in zip(alone, together, strict=True)
    ]


def timed(forward: Forward, batches: Sequence[dict[str, Tensor]]) -> float:
    """Return the seconds that a network needs for batches."""
    started = time.perf_counter()
    for batch in batches:
        forward(batch["input_ids"], batch["attention_mask"])
    return time.perf_counter() - started


def table_of(
    compressed: Sequence[Compressed],
    losses_by_name: dict[str, dict[str, tuple[float, float, float]]],
    speeds: dict[int, list[Speed]],
) -> TextTable:
    """Return the table: size, times with each number of threads, and what was lost."""
    columns = ["method", "MB", "MB zipped"]
    for threads in speeds:
        suffix = f"{threads} thread" + "s" * (threads > 1)
        columns += [f"p50 ms, {suffix}", f"p99 ms, {suffix}", f"texts/s, {suffix}"]
    columns += ["accuracy", "macro F1"]
    rows = []
    for index, each in enumerate(compressed):
        row = [each.method.name, rounded(each.bytes / 1e6, 2), rounded(each.zipped / 1e6, 2)]
        for found in speeds.values():
            speed = found[index]
            row += [rounded(speed.p50, 2), rounded(speed.p99, 2), f"{speed.throughput:.0f}"]
        lost = losses_by_name[each.method.name]
        row += [spoken_loss(lost[name]) if each.method.name != WHOLE else "" for name in ("accuracy", "macro_f1")]
        rows.append(row)
    return TextTable(columns, rows)


def spoken_loss(values: tuple[float, float, float]) -> str:
    """Spell a difference with its interval."""
    mean, low, high = (rounded(value) for value in values)
    return f"{mean} [{low}, {high}]"


def rows_as_numbers(
    compressed: Sequence[Compressed],
    losses_by_name: dict[str, dict[str, tuple[float, float, float]]],
    speeds: dict[int, list[Speed]],
) -> list[dict[str, Any]]:
    """Return the table's rows as plain numbers, for a file."""
    rows = []
    for index, each in enumerate(compressed):
        row: dict[str, Any] = {"method": each.method.name, "bytes": each.bytes, "zipped": each.zipped}
        for threads, found in speeds.items():
            row |= {f"{name}_{threads}": value for name, value in asdict(found[index]).items()}
        for name, values in losses_by_name[each.method.name].items():
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
        rows.append(row)
    return rows
