"""Who takes part: every side of the benchmark with all that tables and measurements must know of it. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

CLASSIFICATION, CAUSAL_LM, MASKED_LM = "classification", "causal_lm", "masked_lm"
EVERY_TASK = frozenset({CLASSIFICATION, CAUSAL_LM, MASKED_LM})
FLOAT32 = "32-true"
OWN_PLACES, ALIKE, NO_DROPOUT = "own", "alike", "none"
DROPOUTS = (ALIKE, OWN_PLACES, NO_DROPOUT)
"""Where dropout falls: on the embeddings and on every sublayer's output of all sides, as ours has it (``alike``); where
each side has it by itself, such as on attention probabilities (``own``); nowhere (``none``)."""


@dataclass(frozen=True)
class Participant:
    """One way to train a task."""

    tasks: frozenset[str] = EVERY_TASK
    """Tasks that it can train."""
    ours: bool = False
    """Whether it is code of this repository."""
    grouped: bool = True
    """Whether it trains on our length-grouped batches; otherwise it draws batches of its own."""
    usual: bool = False
    """Whether it is run as people's scripts usually are: in float32, with its own dropout, whatever is configured."""
    package: str | None = None
    """The package, by its import name, that it needs beyond ``requirements.txt``."""


ROSTER: dict[str, Participant] = {
    "lightning": Participant(ours=True),
    "plain": Participant(ours=True),
    "torch_encoder": Participant(frozenset({CLASSIFICATION})),
    "hf_bert": Participant(frozenset({CLASSIFICATION, MASKED_LM})),
    "hf_bert_eager": Participant(frozenset({CLASSIFICATION, MASKED_LM})),
    "hf_gpt2": Participant(frozenset({CAUSAL_LM})),
    "hf_gpt2_eager": Participant(frozenset({CAUSAL_LM})),
    "x_transformers": Participant(frozenset({CLASSIFICATION, CAUSAL_LM}), package="x_transformers"),
    "x_transformers_eager": Participant(frozenset({CLASSIFICATION, CAUSAL_LM}), package="x_transformers"),
    "hf_trainer": Participant(frozenset({CLASSIFICATION}), grouped=False, usual=True, package="accelerate"),
    "hf_trainer_fixed": Participant(frozenset({CLASSIFICATION}), grouped=False, usual=True, package="accelerate"),
    "hf_trainer_tuned": Participant(frozenset({CLASSIFICATION}), grouped=False, package="accelerate"),
}
"""Every side by its name. An ``eager`` one computes attention by single products: on a CPU in bfloat16, PyTorch's fused
kernel, which the packages take by default, has a slow backward pass."""

WORKERS = "workers"
"""A side of earlier tables: as many one-thread runs of ours at once as the other sides had threads. Its rows are read
and no longer measured; ``--processes`` does so for every side."""

KNOWN = {**ROSTER, WORKERS: Participant(ours=True)}
REFERENCES = (WORKERS, "lightning")
"""Sides that the others are compared with: the first of them that was measured."""
OWN_SIDES = tuple(name for name, side in KNOWN.items() if side.ours)
USUAL_SIDES = tuple(name for name, side in KNOWN.items() if side.usual)
OTHER_BATCHES = tuple(name for name, side in KNOWN.items() if not side.grouped)


def precision_of(side: str, configured: str) -> str:
    """Return the precision that a side trains in."""
    return FLOAT32 if KNOWN[side].usual else configured


def dropout_of(side: str, chosen: str) -> str:
    """Return where a side drops out: one of ``DROPOUTS``. A usual script keeps its places; ``none`` holds for all."""
    return OWN_PLACES if KNOWN[side].usual and chosen == ALIKE else chosen
