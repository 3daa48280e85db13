"""Verdicts and effects in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.evidence.judge import Effect, Judgement
from experiments.reporting.render import EMPTY, interval, rounded
from experiments.statistics.seeds import Spread


def print_verdicts(judgements: Sequence[Judgement], console: Console) -> None:
    """Print one line per claim."""
    table = Table("no.", "claim", "verdict", box=None)
    for judgement in judgements:
        table.add_row(judgement.label, escape(judgement.claim.claim["en"]), judgement.verdict.name)
    console.print(table)


def print_effects(judgements: Sequence[Judgement], corpora: Sequence[str], console: Console) -> None:
    """Print every effect of some claims, on some corpora or all: a table per claim, its parts as headings."""
    print_verdicts(judgements, console)
    for judgement in judgements:
        table = Table("part and corpus", "effect", "interval", "δ", "runs", "verdict", box=None)
        effects = [each for each in judgement.effects if not corpora or each.measurement.corpus in corpora]
        for heading, group in groupby(effects, key=heading_of):
            table.add_row(heading)
            for effect in group:
                table.add_row(*effect_cells(effect))
        if effects:
            console.print(f"\n{judgement.label} {judgement.claim.id}", highlight=False)
            console.print(table)


def heading_of(effect: Effect) -> str:
    """Return what stands above the corpora of a part."""
    measurement = effect.measurement
    return measurement.part.id + ("" if measurement.is_confirmatory else ", replications")


def effect_cells(effect: Effect) -> list[str]:
    """Return the cells of an effect; its corpus is set off from the part above it."""
    measurement, found = effect.measurement, effect.interval
    return [
        f"  {measurement.corpus}",
        rounded(found.mean if found else None),
        escape(interval(Spread(measurement.pairs, low=found.low, high=found.high)) if found else EMPTY),
        rounded(measurement.part.delta),
        f"{measurement.found}/{measurement.planned}",
        effect.verdict.name,
    ]
