"""Language models without a network: token frequencies, and a trigram with interpolated Kneser-Ney smoothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from data_modules.batches.windows import IGNORED
from data_modules.token_stream import MaskedStream, TokenStream
from experiments.planning.runs import Run
from experiments.runs.conclude import Concluded, describe_data, scores_of
from experiments.runs.provenance import environment
from experiments.runs.record import Outcome, Record
from experiments.tasks import task_named
from lightning_modules.tasks.base import Evaluation
from lightning_modules.tasks.causal_lm import LARGEST_LOSS

Ids = NDArray[np.int64]
Shares = Callable[[Ids, Ids, Ids], NDArray[np.float64]]
"""Probability of words ``(N,)`` after two tokens, ``(N,)`` each; −1 is a token that is not known."""
DEFAULT_DISCOUNT = 0.75
"""Discount of a text too small to estimate it."""


@dataclass(frozen=True)
class Level:
    """Counts of one order: how often a word follows a context, and what is known of each context."""

    vocabulary_size: int
    keys: Ids
    """Context · V + word, in ascending order."""
    counts: Ids
    """How often, for each key."""
    contexts: Ids
    """Contexts that were seen, in ascending order."""
    totals: Ids
    """Sum of the counts after each context."""
    kinds: Ids
    """Different words after each context."""

    @classmethod
    def of(cls, keys: Ids, counts: Ids, vocabulary_size: int) -> Level:
        """Build from unique keys in ascending order and their counts."""
        contexts, first, kinds = np.unique(keys // vocabulary_size, return_index=True, return_counts=True)
        return cls(vocabulary_size, keys, counts, contexts, np.add.reduceat(counts, first), kinds)

    @property
    def discount(self) -> float:
        """``n₁ / (n₁ + 2·n₂)``, of the keys that were seen once and twice (Ney et al. 1994, section 3)."""
        once, twice = (int((self.counts == count).sum()) for count in (1, 2))
        return once / (once + 2 * twice) if once and twice else DEFAULT_DISCOUNT

    def share(self, contexts: Ids, words: Ids, lower: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of words after contexts, ``(N,)``; ``lower`` is that of the lower order.

        ::

            max(c(h, w) − δ, 0) / c(h) + δ · kinds(h) / c(h) · lower(w)      lower(w) after a context never seen
        """
        known, place = found_in(self.contexts, contexts)
        totals, kinds = self.totals[place], self.kinds[place]
        seen, key = found_in(self.keys, np.where(known, contexts * self.vocabulary_size + words, -1))
        counts = np.where(seen, self.counts[key], 0)
        discount = self.discount
        share = (np.maximum(counts - discount, 0) + discount * kinds * lower) / totals
        return np.where(known, share, lower)


def found_in(values: Ids, wanted: Ids) -> tuple[NDArray[np.bool_], Ids]:
    """Return whether each wanted number is among ascending values, and where; the place of others is arbitrary."""
    place = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return values[place] == wanted, place


class Trigram:
    """An interpolated trigram with Kneser-Ney smoothing (Kneser & Ney 1995; Chen & Goodman 1998, section 4.1).

    The trigram counts occurrences. The lower orders count in how many contexts a word was seen: a bigram after how many
    tokens, a word after how many. Below them every token is equally likely, so nothing has probability zero.

    Args:
        tokens: the training stream, ``(N,)``; contexts run across documents' ends, as a network's do.
        vocabulary_size: V.
    """

    def __init__(self, tokens: NDArray[Any], vocabulary_size: int) -> None:
        size = vocabulary_size
        ids = np.asarray(tokens, dtype=np.int64)
        triples, counts = np.unique((ids[:-2] * size + ids[1:-1]) * size + ids[2:], return_counts=True)
        pairs, before_pairs = np.unique(triples % size**2, return_counts=True)
        words, before_words = np.unique(pairs % size, return_counts=True)
        self.size = size
        self.levels = [
            Level.of(keys, of, size) for keys, of in ((words, before_words), (pairs, before_pairs), (triples, counts))
        ]

    def share(self, first: Ids, second: Ids, words: Ids) -> NDArray[np.float64]:
        """Return the probability of words after two tokens, ``(N,)`` each; −1 is a token that is not known."""
        share = np.full(len(words), 1 / self.size)
        nothing = np.zeros(len(words), dtype=np.int64)
        both = np.where((first >= 0) & (second >= 0), first * self.size + second, -1)
        for level, contexts in zip(self.levels, (nothing, second, both), strict=True):
            share = level.share(contexts, words, share)
        return share


def fit_unigram(run: Run) -> Concluded:
    """Fit token frequencies to the training stream and score them; one is added to each count."""
    data = stream_of(run)
    shares = data.unigram_shares
    return concluded(run, data, lambda first, second, words: shares[words], len(shares), int(shares.argmax()))


def fit_trigram(run: Run) -> Concluded:
    """Fit the trigram to the training stream and score it."""
    data = stream_of(run)
    model = Trigram(data.encoded.splits["train"].tokens, data.facts.vocabulary_size)
    return concluded(run, data, model.share, sum(len(level.keys) for level in model.levels))


def stream_of(run: Run) -> TokenStream:
    """Return the run's text."""
    data: TokenStream = task_named(run.config.task).load("data").from_config(run.config.text)
    return data


def concluded(run: Run, data: TokenStream, share: Shares, parameters: int, likeliest: int | None = None) -> Concluded:
    """Score a model on a run's splits and make its record; it has no seed and no history.

    Args:
        run: which.
        data: its text.
        share: the model.
        parameters: numbers that it holds.
        likeliest: the token that the model always finds most likely; without one its accuracy is not measured.
    """
    loaders = {"train": data.train_sample_dataloader, "validation": data.val_dataloader}
    if run.stage == "final":
        loaders["test"] = data.test_dataloader
    lag = 1 if isinstance(data, MaskedStream) else 0
    task = task_named(run.config.task)
    scores = {
        split: scores_of(evaluated(run, share, loader(), lag, likeliest), task) for split, loader in loaders.items()
    }
    record = Record(
        **run.record_fields(),
        data=describe_data(data),
        model={"parameters": parameters, "norms": 0, "skips": 0, "flops_per_token": None},
        environment=environment(device="cpu", precision="64-true", threads=run.config.threads),
        progress={"steps": 0, "epochs": 0, "tokens_seen": 0, "best_step": None, "best_epoch": None},
        history={},
        outcome=Outcome(status="trained", step=0),
        scores=scores | ({"test_last": scores["test"]} if "test" in scores else {}),
    )
    return Concluded(record=record)


def evaluated(
    run: Run, share: Shares, batches: Iterable[dict[str, Tensor]], lag: int, likeliest: int | None
) -> Evaluation:
    """Score a model on what is predicted of batches, from two inputs before it; ``lag`` is 1 if its own is shown."""
    losses, words, spelt = [], [], 0
    for batch in batches:
        inputs, targets = batch["input_ids"].numpy(), batch["targets"].numpy()
        padded = np.pad(inputs, ((0, 0), (2, 0)), constant_values=-1)
        first, second = (padded[:, start : start + inputs.shape[1]] for start in (1 - lag, 2 - lag))
        chosen = targets != IGNORED
        losses.append(-np.log(share(first[chosen], second[chosen], targets[chosen])))
        words.append(targets[chosen])
        spelt += int(batch["bytes"].sum()) if "bytes" in batch else 0
    loss, targets = np.concatenate(losses), np.concatenate(words)
    mean = float(loss.mean())
    metrics = {"loss": mean, task_named(run.config.task).primary: math.exp(min(mean, LARGEST_LOSS))}
    if likeliest is not None:
        metrics["token_accuracy"] = float((targets == likeliest).mean())
    if spelt and not lag:
        metrics["bits_per_byte"] = float(loss.sum()) / (math.log(2) * spelt)
    return Evaluation(metrics=metrics)
