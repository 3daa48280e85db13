"""Verdicts and effects in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.judging.judge import Judgement
from experiments.reporting.render import EMPTY, interval, rounded
from experiments.statistics.seeds import Spread


def print_verdicts(judgements: Sequence[Judgement], console: Console) -> None:
    """Print one line per claim."""
    table = Table("no.", "claim", "verdict", box=None)
    for judgement in judgements:
        table.add_row(judgement.label, escape(judgement.claim.claim["en"]), judgement.verdict.name)
    console.print(table)


def print_effects(judgements: Sequence[Judgement], corpora: Sequence[str], console: Console) -> None:
    """Print every effect of some claims, on some corpora or all."""
    print_verdicts(judgements, console)
    table = Table("claim", "part", "corpus", "effect", "interval", "δ", "runs", "verdict", box=None)
    for judgement in judgements:
        for effect in judgement.effects:
            measurement, found = effect.measurement, effect.interval
            if corpora and measurement.corpus not in corpora:
                continue
            bounds = interval(Spread(measurement.pairs, low=found.low, high=found.high)) if found else EMPTY
            table.add_row(
                judgement.claim.id,
                measurement.part.id,
                measurement.corpus,
                rounded(found.mean if found else None),
                escape(bounds),
                rounded(measurement.part.delta),
                f"{measurement.found}/{measurement.planned}",
                effect.verdict.name,
            )
    if table.row_count:
        console.print(table)
