"""Language models of finished runs: writing on after a prompt, and filling a gap."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from tokenizers import Tokenizer

from data_modules.cleaning.text import clean_text
from data_modules.tokens.encoding import TOKENIZER_FILE
from data_modules.tokens.tokenization import MASK, TextTokenizer
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from experiments.planning.saved_runs import load_run_config
from experiments.runs.inference import checkpoint_of, device, train_again
from experiments.runs.run_folder import RECORD_FILE, check_file, read_record
from experiments.runs.training import prepare_process
from experiments.tasks import task_named
from lightning_modules.errors import ConfigurationError
from lightning_modules.facts import TaskFacts
from lightning_modules.network.generation import Sampling, continued, why_uncached
from lightning_modules.tasks.causal_lm import LanguageModel

LOGGER = logging.getLogger(__name__)
LIKELIEST = 5
"""Words that are proposed for a gap."""


@dataclass(frozen=True)
class Written:
    """What a model wrote."""

    text: str
    """The prompt, as the tokenizer gives it back, and what follows it."""
    notes: tuple[str, ...]
    """What a person should know about how the text was written."""


@dataclass(frozen=True)
class TrainedLanguageModel:
    """The chosen weights of a run and the tokenizer next to them."""

    folder: Path
    config: RunConfig
    module: LanguageModel
    tokenizer: TextTokenizer

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a run folder, on a GPU if there is one; the run's text is not needed.

        Raises:
            ExperimentError: the run left no network or no tokenizer, is of another task, or its checkpoint is not the
            one that the record names.
        """
        config = load_run_config(folder)
        kind = task_named(config.task).load("module")
        if not issubclass(kind, LanguageModel):
            raise ExperimentError(f"{folder} is of the task {config.task}, and only a language model writes")
        record = read_record(folder) if (folder / RECORD_FILE).is_file() else None
        checkpoint = checkpoint_of(folder, record)
        if not check_file(checkpoint, record, train_again(folder)):
            LOGGER.warning("%s is unchecked: no record names its SHA-256", checkpoint)
        prepare_process(config.threads)
        try:
            module = kind.load_from_checkpoint(checkpoint)
        except ConfigurationError:
            raise ExperimentError(f"{checkpoint} is damaged or is no checkpoint; {train_again(folder)}") from None
        assert module.facts is not None, "load_from_checkpoint builds the network from facts"
        return cls(folder, config, module.to(device()).eval(), tokenizer_of(folder, module.facts))

    def write(self, prompt: str, count: int, sampling: Sampling, *, cached: bool = True) -> Written:
        """Write ``count`` tokens after a prompt, or as many as the model has positions for, up to a document's end.

        Raises:
            ExperimentError: the model is not causal, or the prompt has more tokens than it reads.
        """
        if not self.module.is_causal:
            raise ExperimentError(
                f"{self.folder} is of the task {self.config.task}, which fills gaps: give --text with one {MASK}"
            )
        facts, notes = self.facts, []
        assert facts.end_id is not None, "a language model has a token that ends a document"
        ids = [facts.end_id, *self.encode(prompt)]
        room = self.room_for(ids, "prompt")
        if count > room:
            notes.append(f"the model reads {facts.max_length} tokens, so {room} are written instead of {count}")
        reason = why_uncached(self.module.network)
        if cached and reason:
            notes.append(reason)
        written: list[int] = []
        for token in continued(
            self.module.network,
            ids,
            min(count, room),
            sampling,
            forbidden=set(facts.special_ids) - {facts.end_id},
            cached=cached,
        ):
            if token == facts.end_id:
                break
            written.append(token)
        return Written(self.tokenizer.decode([*ids[1:], *written]), tuple(notes))

    def fill(self, text: str) -> list[tuple[str, float]]:
        """Return the likeliest pieces for the single ``<mask>`` of a text, and their probabilities.

        Raises:
            ExperimentError: the model writes on instead, or the text has no gap, several, or too many tokens.
        """
        if self.module.is_causal:
            raise ExperimentError(f"{self.folder} is of the task {self.config.task}, which writes on: give --prompt")
        facts = self.facts
        ids = self.encode(text)
        gaps = ids.count(facts.mask_id) if facts.mask_id is not None else 0
        if gaps != 1:
            found = "no" if gaps == 0 else str(gaps)
            raise ExperimentError(f"the text has {found} {MASK}; it must have one, such as 'The {MASK} of a matrix'")
        ids = ids if facts.class_id is None else [facts.class_id, *ids]
        self.room_for(ids, "text")
        inputs = torch.tensor([ids], device=self.module.device)
        with torch.inference_mode():
            logits = self.module.network(inputs, torch.ones_like(inputs, dtype=torch.bool))[0]
            scores = logits[ids.index(facts.mask_id or 0)].double()
            scores[list(facts.special_ids)] = -torch.inf
            shares, places = scores.softmax(dim=-1).topk(min(LIKELIEST, len(scores) - len(facts.special_ids)))
        pieces = [self.tokenizer.decode([int(place)]).strip() for place in places]
        return list(zip(pieces, shares.tolist(), strict=True))

    @property
    def facts(self) -> TaskFacts:
        """What the model knows of its text."""
        assert self.module.facts is not None, "it was loaded with them"
        return self.module.facts

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, cleaned as the corpus was; ``<mask>`` is the token."""
        cleaned = clean_text(text) if self.config.data.clean else text
        return self.tokenizer.backend.encode(cleaned, add_special_tokens=False).ids

    def room_for(self, ids: list[int], what: str) -> int:
        """Return how many tokens fit behind these.

        Raises:
            ExperimentError: these tokens alone are too many.
        """
        room = self.facts.max_length - len(ids)
        if room < 0:
            raise ExperimentError(
                f"the {what} has {len(ids)} tokens, and the model reads {self.facts.max_length}; shorten it"
            )
        return room


def tokenizer_of(folder: Path, facts: TaskFacts) -> TextTokenizer:
    """Return the tokenizer in a run's folder.

    Raises:
        ExperimentError: there is none, or it is not the one that the run was trained with.
    """
    path = folder / TOKENIZER_FILE
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception:  # tokenizers raises plain exceptions
        raise ExperimentError(f"{path} is missing or damaged; {train_again(folder)}") from None
    backend.no_padding()
    backend.no_truncation()
    if backend.get_vocab_size() != facts.vocabulary_size:
        raise ExperimentError(
            f"{path} has {backend.get_vocab_size()} tokens, and the model was trained with {facts.vocabulary_size}; "
            f"{train_again(folder)}"
        )
    ids = (facts.padding_id, facts.unknown_id, facts.end_id, facts.mask_id, facts.class_id)
    return TextTokenizer(backend, *ids)
