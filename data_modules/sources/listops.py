"""The generated corpus ``listops``: nested list operations, whose value (0 to 9) is the class.

After Nangia & Bowman 2018 (arXiv:1804.06028), in prefix notation: an operator's name opens it and ``]`` closes it, as
in ``MAX 2 9 MIN 4 7 ] 0 ]``, so that every token is one word. Order decides the value. No class is balanced by
force: with MAX and MIN alone the extreme digits are commoner (``describe`` shows the shares).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pandas as pd

from data_modules.cache import digest
from data_modules.config import ListOpsOptions
from data_modules.errors import DataError, reject_unknown
from data_modules.sources.source import RawCorpus, Source

DIGITS = tuple(str(digit) for digit in range(10))
CLOSE = "]"
NESTED_SHARE = 0.5  # chance that an argument is an expression, where the nesting depth allows one
DRAWS_PER_ROW = 20  # draws without success that show the space of expressions to be exhausted
SEED = 0


def _median(values: Sequence[int]) -> int:
    """Return the median; for an even number of values, the mean of the middle two, rounded down."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


OPERATORS: dict[str, Callable[[Sequence[int]], int]] = {
    "MAX": max,
    "MIN": min,
    "MED": _median,
    "SM": lambda values: sum(values) % 10,
}


def expression(generator: random.Random, options: ListOpsOptions, levels: int, words: list[str]) -> int:
    """Append a random expression of exactly ``levels`` nested operators to ``words`` and return its value.

    An argument is an expression with probability 1/2, else a digit; above the deepest level, at least one is.
    """
    operator = options.operators[int(generator.random() * len(options.operators))]
    span = options.maximum_arguments - options.minimum_arguments + 1
    count = options.minimum_arguments + int(generator.random() * span)
    nested = [levels > 1 and generator.random() < NESTED_SHARE for _ in range(count)]
    if levels > 1 and not any(nested):
        nested[int(generator.random() * count)] = True
    words.append(operator)
    values = []
    for is_expression in nested:
        if is_expression:
            values.append(expression(generator, options, levels - 1, words))
        else:
            digit = int(generator.random() * 10)
            words.append(DIGITS[digit])
            values.append(digit)
    words.append(CLOSE)
    return OPERATORS[operator](values)


def build(options: ListOpsOptions) -> RawCorpus:
    """Draw distinct expressions and deal them out to the three splits at random.

    Raises:
        DataError: there are not that many different expressions.
    """
    generator = random.Random(SEED)
    wanted = options.train_rows + 2 * options.evaluation_rows
    values: dict[str, int] = {}
    for _ in range(DRAWS_PER_ROW * wanted):
        words: list[str] = []
        value = expression(generator, options, options.levels, words)
        values[" ".join(words)] = value
        if len(values) == wanted:
            break
    else:
        raise DataError(
            f"data.listops asks for {wanted} different expressions, but {options.levels} levels of "
            f"{'/'.join(options.operators)} over {options.minimum_arguments} to {options.maximum_arguments} arguments "
            f"gave only {len(values)}; ask for fewer rows or for more levels"
        )
    rows = list(values.items())
    generator.shuffle(rows)
    ends = {"validation": options.evaluation_rows, "test": 2 * options.evaluation_rows, "train": wanted}
    splits, start = {}, 0
    for name, end in ends.items():
        splits[name] = pd.DataFrame(rows[start:end], columns=["text", "label"])
        start = end
    shares = Counter(values.values())
    report = {"class_shares": {digit: round(shares[int(digit)] / wanted, 4) for digit in DIGITS}}
    return RawCorpus(splits=splits, class_names=DIGITS, report=report)


def source(options: ListOpsOptions) -> Source:
    """Return the corpus as a source.

    Raises:
        DataError: an operator is not known, or there is none.
    """
    for operator in options.operators:
        reject_unknown("data.listops.operators", operator, OPERATORS)
    if not options.operators:
        raise DataError(f"data.listops.operators is empty; choose from: {', '.join(OPERATORS)}")
    return Source(
        slug="listops",
        description="embedded",
        key=digest("listops", vars(options)),
        load=lambda: build(options),
        near_duplicates=False,
    )
