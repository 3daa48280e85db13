"""A trained run as the service answers with it: the same answers as ``experiments.predict``, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from data_modules.batches.batching import BatchDataset
from data_modules.tokens.encoding import pack
from experiments.errors import ExperimentError
from experiments.runs.inference import TrainedModel, device
from experiments.serving.options import ServiceOptions
from lightning_modules.network.counting import norms_in, parameters_in, skips_in
from lightning_modules.schemes.variants import ROWS

PASS_COST = 90
"""Tokens that take as long as one more pass: about 2 ms, measured for four blocks of width 128 on one core of a CPU.
For wider networks it is fewer, so they would gain from more parts."""
EMPTY = "is empty"
UNKNOWN = "has no word that the run knows"


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """What a run says of one text."""

    probabilities: tuple[float, ...]
    """Of each class, in label order; empty if there is no answer."""

    is_full: bool = False
    """Whether the text has as many tokens as the run reads; whatever follows was not read."""

    fault: str | None = None
    """Why there is no answer, as a phrase about the text."""


@dataclass(frozen=True)
class ServedRun:
    """A trained run that answers texts.

    Args:
        name: how requests call it.
        model: the chosen weights and the tokenizer.
        bfloat16: whether matrix products are computed in bfloat16.
    """

    name: str
    model: TrainedModel
    bfloat16: bool = False

    @classmethod
    def load(cls, name: str, folder: Path, options: ServiceOptions) -> Self:
        """Load a run folder onto the device of the options.

        Raises:
            ExperimentError, ConfigurationError, DataError: the run cannot be used, or the device is missing.
        """
        place = device() if options.device == "auto" else torch.device(options.device)
        if place.type == "cuda" and not torch.cuda.is_available():
            raise ExperimentError("--device cuda, and this machine has no such GPU; choose cpu")
        model = TrainedModel.load(folder)
        torch.set_num_threads(options.threads)
        model.module.to(place)
        served = cls(name, model, options.precision == "bfloat16")
        served.answer(["a first text, which sets up what later ones use"])
        return served

    @torch.inference_mode()
    def answer(self, texts: Sequence[str]) -> list[TextAnswer]:
        """Answer texts, cleaned and tokenised as the run's corpus was, as one batch, or in parts of similar length.

        A text in which the run knows no word has a fault in place of an answer: the network would answer it like an
        empty text.

        Raises:
            ExperimentError: the network's numbers are not finite.
        """
        data, module = self.model.data, self.model.module
        rows = data.encode_texts(texts)
        tokenizer = data.encoded.tokenizer
        faults = [fault_of(row, self.special, tokenizer.unknown_id) for row in rows]
        lengths = [len(row) for row in rows]
        probabilities = torch.empty(len(rows), len(self.class_names))
        for part in parts_by_length(lengths) if self.can_split else [list(range(len(rows)))]:
            packed = pack([rows[place] for place in part], None)
            batch = BatchDataset(packed, tokenizer.padding_id)[np.arange(len(part))]
            ids, mask = (batch[name].to(module.device) for name in ("input_ids", "attention_mask"))
            with torch.autocast(module.device.type, torch.bfloat16) if self.bfloat16 else nullcontext():
                logits = module.network(ids, mask)
            probabilities[part] = logits.float().softmax(dim=-1).cpu()
        if not bool(probabilities.isfinite().all()):
            raise ExperimentError(f"the run {self.name} has no answer: its numbers are not finite")
        longest = data.config.max_length
        return [
            TextAnswer((), fault=fault) if fault else TextAnswer(tuple(values), is_full=len(row) >= longest)
            for row, values, fault in zip(rows, probabilities.tolist(), faults, strict=True)
        ]

    @cached_property
    def can_split(self) -> bool:
        """Whether texts may be answered in parts: the scheme sees each row alone, and a CPU pays for padding."""
        return self.model.module.device.type == "cpu" and ROWS not in self.model.module.config.scheme.mixes

    @cached_property
    def special(self) -> frozenset[int]:
        """Ids of tokens that no text has."""
        return frozenset(self.model.data.encoded.tokenizer.special_ids)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self.model.data.facts.class_names

    def info(self) -> dict[str, Any]:
        """Return what a client may know about the run: no path, and nothing about its training texts."""
        config, scheme = self.model.module.config, self.model.module.config.scheme
        network = self.model.module.network
        return {
            "name": self.name,
            "variant": config.variant,
            "title": scheme.title,
            "formula": scheme.formula,
            "source": scheme.source,
            "corpus": self.model.data.corpus.slug,
            "classes": list(self.class_names),
            "layers": config.depth,
            "width": config.width,
            "heads": config.heads,
            "parameters": parameters_in(network),
            "norms": norms_in(network),
            "skips": skips_in(network),
            "most_tokens": self.model.data.config.max_length,
            "device": str(self.model.module.device),
            "precision": "bfloat16" if self.bfloat16 else "float32",
        }


def parts_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Cut rows, ordered by length, into the parts that cost least; a part is padded to its longest row.

    A part of n rows costs ``PASS_COST + n · longest`` tokens. The best cuts of the first rows are known when the next
    one comes (dynamic programming), and only between rows of different length is a cut of use.

    Args:
        lengths: tokens of each row.

    Returns:
        The positions of each part's rows, short rows first; every row is in one part.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ends = [
        end for end in range(1, len(order) + 1) if end == len(order) or lengths[order[end]] > lengths[order[end - 1]]
    ]
    cheapest = {0: (0, 0)}  # by end: what the rows before it cost at least, and where their last part begins
    for end in ends:
        longest = lengths[order[end - 1]]
        cost, begin = min((before + (end - begin) * longest, begin) for begin, (before, _) in cheapest.items())
        cheapest[end] = (cost + PASS_COST, begin)
    parts, end = [], len(order)
    while end:
        begin = cheapest[end][1]
        parts.append(order[begin:end])
        end = begin
    return parts[::-1]


def fault_of(row: Sequence[int], special: frozenset[int], unknown: int | None) -> str | None:
    """Say why a row of token ids has no answer; None if it has one."""
    words = [token for token in row if token == unknown or token not in special]
    if not words:
        return EMPTY
    return UNKNOWN if all(token == unknown for token in words) else None
