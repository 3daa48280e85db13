from __future__ import annotations

import gzip
import json
import random
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.cleaning.prepared import prepare
from data_modules.config import DataConfig, ListOpsOptions
from data_modules.errors import DataError
from data_modules.sources.listops import build, expression, source
from data_modules.sources.source import SPLITS

RECORDS = Path(__file__).resolve().parents[3] / "results" / "article" / "listops" / "records.jsonl.gz"
OPTIONS = ListOpsOptions(train_rows=500, evaluation_rows=100)


@pytest.mark.slow
def test_it_is_the_text_of_the_committed_records() -> None:
    corpus = prepare(DataConfig(corpus="listops"))
    with gzip.open(RECORDS, "rt", encoding="utf-8") as lines:
        data = json.loads(next(lines))["data"]
    assert (corpus.fingerprint, corpus.split_hash) == (data["fingerprint"], data["split_hash"])


def value_and_depth(words: list[str]) -> tuple[int, int]:
    """Evaluate with a stack, in one pass, unlike the generator, which recurses."""
    stack: list[list] = [[]]
    depth = 0
    for word in words:
        if word == "]":
            operator, *values = stack.pop()
            operations = {
                "MAX": max,
                "MIN": min,
                "MED": lambda v: int(statistics.median(v)),
                "SM": lambda v: sum(v) % 10,
            }
            stack[-1].append(operations[operator](values))
        elif word.isdigit():
            stack[-1].append(int(word))
        else:
            stack.append([word])
            depth = max(depth, len(stack) - 1)
    (value,) = stack.pop()
    return value, depth


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_the_label_is_the_value_of_the_expression(seed, levels, minimum, more) -> None:
    options = ListOpsOptions(
        levels=levels,
        minimum_arguments=minimum,
        maximum_arguments=minimum + more,
        operators=("MAX", "MIN", "MED", "SM"),
    )
    words: list[str] = []
    value = expression(random.Random(seed), options, levels, words)
    assert value_and_depth(words) == (value, levels)


def test_splits_are_disjoint_as_texts_and_have_the_asked_sizes() -> None:
    corpus = prepare(DataConfig(corpus="listops", listops=OPTIONS))
    texts = [corpus.splits[name]["text"][:] for name in SPLITS]
    assert [len(rows) for rows in texts] == [500, 100, 100]
    assert len(set().union(*texts)) == 700
    assert all(len(set(corpus.splits[name]["label"][:])) == 10 for name in SPLITS)


def test_asking_for_more_expressions_than_there_are_is_an_error() -> None:
    with pytest.raises(DataError, match="different expressions"):
        build(ListOpsOptions(train_rows=1_000, levels=1, maximum_arguments=2, operators=("MAX",)))


def test_an_unknown_operator_names_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'MAX'"):
        source(ListOpsOptions(operators=("MAXX",)))
