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
        """Answer texts, cleaned and tokenised as the run's corpus was, as one batch.

        A text in which the run knows no word has a fault in place of an answer: the network would answer it like an
        empty text.

        Raises:
            ExperimentError: the network's numbers are not finite.
        """
        data, module = self.model.data, self.model.module
        rows = data.encode_texts(texts)
        tokenizer = data.encoded.tokenizer
        faults = [fault_of(row, self.special, tokenizer.unknown_id) for row in rows]
        batch = BatchDataset(pack(rows, None), tokenizer.padding_id)[np.arange(len(rows))]
        ids, mask = (batch[name].to(module.device) for name in ("input_ids", "attention_mask"))
        with torch.autocast(module.device.type, torch.bfloat16) if self.bfloat16 else nullcontext():
            logits = module.network(ids, mask)
        probabilities = logits.float().softmax(dim=-1)
        if not bool(probabilities.isfinite().all()):
            raise ExperimentError(f"the run {self.name} has no answer: its numbers are not finite")
        longest = data.config.max_length
        return [
            TextAnswer((), fault=fault) if fault else TextAnswer(tuple(values), is_full=len(row) >= longest)
            for row, values, fault in zip(rows, probabilities.tolist(), faults, strict=True)
        ]

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


def fault_of(row: Sequence[int], special: frozenset[int], unknown: int | None) -> str | None:
    """Say why a row of token ids has no answer; None if it has one."""
    words = [token for token in row if token == unknown or token not in special]
    if not words:
        return EMPTY
    return UNKNOWN if all(token == unknown for token in words) else None
