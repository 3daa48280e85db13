"""The run that another one starts from: found, checked, and its weights and tokenizer handed over."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from data_modules.config import DataConfig, slug_of
from data_modules.tokens.encoding import TOKENIZER_FILE
from experiments.errors import ExperimentError, RecordError
from experiments.planning.run_config import RunConfig, StartConfig
from experiments.planning.saved_runs import is_run_folder, load_run_config
from experiments.runs.naming import run_name
from experiments.runs.record import Record
from experiments.runs.run_folder import read_record
from experiments.runs.training import BEST
from experiments.tasks import task_named
from lightning_modules.training.starting import WeightStart

NETWORK = "network."
"""Prefix of the network's weights in a checkpoint."""
SHAPE = (
    *("variant", "scheme_sha256", "scheme_options", "layers", "width", "heads"),
    *("feed_forward_width", "activation", "positions", "norm", "only_block", "elsewhere", "pretrained_sha256"),
    *("embedding_norm", "norm_epsilon"),
)
"""Settings of the model that the backbone of a parent must share."""


class ParentMissing(ExperimentError):
    """The run to start from is missing, is another one by now, or did not train: in a grid this is an outcome."""


@dataclass(frozen=True)
class Parent:
    """A finished run to start from."""

    folder: Path
    record: Record
    config: RunConfig
    weights: Mapping[str, Tensor]
    """Weights of the run's network, by name."""
    facts: Mapping[str, Any]
    """What the run's network knew of its text."""

    def start(self, config: StartConfig) -> WeightStart:
        """Return what a task module needs of it."""
        return WeightStart(
            weights=self.weights,
            whole=config.part == "all",
            top_blocks=config.top_blocks,
            rate_per_block=config.rate_per_block,
        )

    def text(self, data: DataConfig) -> DataConfig:
        """Return a text's configuration with this run's tokenizer."""
        return replace(data, tokenizer=str(self.tokenizer_file()))

    def tokenizer_file(self) -> Path:
        """Return the file of its tokenizer: in its folder, or learned again from its text.

        Raises:
            ParentMissing: its text is another one by now, and so would be its tokenizer.
        """
        path = self.folder / TOKENIZER_FILE
        if path.is_file():
            return path
        data = task_named(self.config.task).load("data").from_config(self.config.data)
        if data.corpus.fingerprint != self.record.data.get("fingerprint"):
            raise ParentMissing(f"the text of {self.folder} has changed, so its tokenizer cannot be learned again")
        _ = data.encoded
        return data.encoded.folder / TOKENIZER_FILE

    def as_record(self) -> dict[str, Any]:
        """Return what a child's record says of it."""
        place = f"{self.record.grid}/{self.record.corpus}/{run_name(self.record)}"
        return {
            "run": place,
            "config_hash": self.record.config_hash,
            "weights_sha256": weights_digest(self.weights),
        }


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a network's weights: names, shapes and values, in the order of the names."""
    found = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.ndim else str(tensor.item()).encode())
    return found.hexdigest()


def network_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's weights of a checkpoint's state."""
    return {name.removeprefix(NETWORK): tensor for name, tensor in state.items() if name.startswith(NETWORK)}


def parent_record(folder: Path) -> Record:
    """Return the record of a run to start from.

    Raises:
        ParentMissing: there is none, or the run did not train.
    """
    if not folder.is_dir() or not is_run_folder(folder):
        raise ParentMissing(f"there is no run to start from at {folder}")
    try:
        record = read_record(folder)
    except RecordError:
        raise ParentMissing(f"the run to start from, {folder}, is not finished") from None
    if record.outcome.status != "trained":
        reason = f" ({record.outcome.reason})" if record.outcome.reason else ""
        raise ParentMissing(
            f"the run to start from {ENDINGS.get(record.outcome.status, record.outcome.status)}{reason}"
        )
    return record


ENDINGS = {"no_parent": "had no start itself"}


def with_parent(config: RunConfig) -> RunConfig:
    """Return a configuration whose start names its parent's settings; they are added if it names a run alone.

    Raises:
        ParentMissing: there is no such run.
    """
    if config.start.run is None or "{seed}" in config.start.run:
        return config
    found = parent_record(Path(config.start.run).expanduser()).config_hash
    if config.start.parent not in (None, found):
        raise ParentMissing(
            f"the run to start from, {config.start.run}, was made again with other settings "
            f"({found} instead of {config.start.parent})"
        )
    return replace(config, start=replace(config.start, parent=found))


def find_parent(config: RunConfig) -> Parent | None:
    """Return the run that a run starts from, checked against what it is to be used for; none without a start.

    Raises:
        ParentMissing: it is missing, did not train, or its weights are not those of its record.
        ExperimentError: it is of another scheme, shape or task, or has seen what the run evaluates on.
    """
    if not config.start.is_given:
        return None
    if config.start.run is None:
        raise ParentMissing(f"no run of the grid {config.start.grid} is known to start from")
    folder = Path(config.start.run).expanduser()
    record = parent_record(folder)
    if config.start.parent not in (None, record.config_hash):
        raise ParentMissing(f"the run to start from, {folder}, was made again with other settings")
    path = folder / BEST
    if not path.is_file():
        raise ParentMissing(f"the run to start from, {folder}, has no {BEST}; train it again")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        weights, facts = network_weights(checkpoint["state_dict"]), checkpoint["facts"]
    except Exception as error:  # torch raises nearly anything, depending on where a file was cut
        raise ParentMissing(f"{path} is damaged or is no checkpoint ({type(error).__name__})") from None
    noted = record.model.get("weights_sha256")
    if noted is not None and noted != weights_digest(weights):
        raise ParentMissing(f"{path} does not hold the weights of its record: it was made again or changed")
    parent = Parent(folder, record, load_run_config(folder), weights, facts)
    refuse_unlike(parent, config)
    refuse_seen(parent.config.data, config.data)
    return parent


def refuse_unlike(parent: Parent, config: RunConfig) -> None:
    """Refuse a parent of another scheme or shape, of another task if its head is taken, or with too few positions.

    Raises:
        ExperimentError: naming all settings to repeat.
    """
    ours, theirs = vars(config.model), vars(parent.config.model)
    unlike = {name: theirs[name] for name in SHAPE if ours[name] != theirs[name]}
    if unlike:
        first = next(iter(unlike))
        options = " ".join(
            f"--model.{name} {value}" for name, value in unlike.items() if not name.startswith("scheme_")
        )
        raise ExperimentError(
            f"{parent.folder} was trained with model.{first} {unlike[first]}, and this run asks for {ours[first]}; "
            f"repeat its settings: {options}"
        )
    if config.model.positions == "learned" and config.data.max_length > parent.facts["max_length"]:
        raise ExperimentError(
            f"{parent.folder} has learned {parent.facts['max_length']} positions, and data.max_length is "
            f"{config.data.max_length}; lower it"
        )
    if config.start.part == "all" and config.task != parent.config.task:
        raise ExperimentError(
            f"start.part is all, which takes the head too, and {parent.folder} is of the task {parent.config.task} "
            f"instead of {config.task}; take its backbone"
        )


def refuse_seen(parent: DataConfig, child: DataConfig) -> None:
    """Refuse a start that was pretrained on text in which the child's evaluation rows are, or may be.

    Raises:
        ExperimentError: naming the setting.
    """
    read = {slug_of(PurePath(name).name) for name in parent.more_text}
    is_prose = child.corpus == "docstrings" and parent.corpus == "prose"
    if not is_prose and child.slug not in read:
        return
    if is_prose and not parent.prose.withhold_docstrings:
        raise ExperimentError(
            "the run to start from has read the files that docstrings evaluates on; pretrain with "
            "data.prose.withhold_docstrings true"
        )
    usual = DataConfig(split_seed=parent.split_seed)
    names = ("split_seed", "validation_fraction", "test_fraction", "near_duplicate_threshold", "deduplicate", "clean")
    unlike = [name for name in names if getattr(child, name) != getattr(usual, name)]
    if unlike or child.docstrings.split_by != "file" or child.docstrings.mask_identifiers:
        name = unlike[0] if unlike else "docstrings"
        raise ExperimentError(
            f"the run to start from was kept from the usual evaluation rows of {child.slug}, and data.{name} makes "
            "others"
        )


def refuse_other_classes(parent: Parent, data: Any) -> None:
    """Refuse to go on with a head whose outputs mean something else.

    Raises:
        ExperimentError: the classes are others.
    """
    theirs, ours = tuple(parent.facts.get("class_names", ())), tuple(data.facts.class_names)
    if theirs != ours:
        raise ExperimentError(
            f"start.part is all, and {parent.folder} tells {', '.join(theirs) or 'no classes'} apart instead of "
            f"{', '.join(ours) or 'none'}; take its backbone"
        )
