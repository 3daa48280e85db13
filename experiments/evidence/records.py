"""The runs that claims rest on: final runs of their grids, local and committed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from experiments.evidence.claim import Claim, Comparison
from experiments.evidence.effects import AnsweredComparison, answer_comparison
from experiments.evidence.measures import MEASURES
from experiments.paths import own_tables_folder, runs_folder, tables_folder
from experiments.planning.grid import Grid
from experiments.planning.names import reject_unknown
from experiments.reporting.frame import Row, make_rows
from experiments.reporting.grid_report import describe
from experiments.runs.naming import TFIDF, run_name
from experiments.runs.predictions import IDENTITY
from experiments.runs.store import Evidence, gather_records

Note = Callable[[str], None]
"""Says to a person what was left out."""


@dataclass(frozen=True)
class AnsweredClaims:
    """Claims, answered from the records."""

    claims: Mapping[str, Sequence[AnsweredComparison]]
    """By the claim's name."""
    rows: Mapping[str, Mapping[str, Sequence[Row]]]
    """Final runs by grid and corpus, of the conditions that any claim names."""


def answer_claims(claims: Sequence[Claim], results: Path, say: Note, *, committed_only: bool = False) -> AnsweredClaims:
    """Answer every comparison of some claims from the records below ``results``.

    Args:
        claims: what to answer.
        results: folder of run folders and tables.
        say: is told what was left out.
        committed_only: leave out run folders and a person's own tables.
    """
    wanted = conditions_by_place([comparison for claim in claims for comparison in claim.comparisons])
    scored = {
        (each.grid, corpus)
        for claim in claims
        for each in claim.comparisons
        for corpus in each.corpora
        if MEASURES[each.metric].kind in ("score", "answers")
    }
    descriptions = {grid: describe(Grid.load(grid)) for grid in dict.fromkeys(grid for grid, _ in wanted)}
    rows: dict[str, dict[str, list[Row]]] = {grid: {} for grid in descriptions}
    for (grid, corpus), conditions in wanted.items():
        found = gather_conditions(results, grid, corpus, conditions, committed_only, (grid, corpus) in scored)
        for note in found.notes:
            say(f"{grid} on {corpus}: {note}")
        if found.finals:
            rows[grid][corpus] = make_rows(found, descriptions[grid])
    answered = {claim.id: [answer_comparison(each, rows[each.grid]) for each in claim.comparisons] for claim in claims}
    return AnsweredClaims(answered, rows)


def conditions_by_place(comparisons: Sequence[Comparison]) -> dict[tuple[str, str], set[str]]:
    """Return the conditions that comparisons need, with the baseline that sets targets, by grid and corpus."""
    found: dict[tuple[str, str], set[str]] = {}
    for each in comparisons:
        for corpus in each.corpora:
            names = {each.treatment.condition, each.control.condition, TFIDF}
            found.setdefault((each.grid, corpus), set()).update(names)
    return found


def gather_conditions(
    results: Path, grid: str, corpus: str, conditions: Collection[str], committed_only: bool, with_answers: bool
) -> Evidence:
    """Return the final runs of some conditions, with their answers to the test rows if they are asked for."""
    published = tables_folder(results, grid, corpus)
    runs, own = results / "no runs", None
    if not committed_only:
        runs, own = runs_folder(results, grid, corpus), own_tables_folder(results, grid, corpus)
    if with_answers:
        found = Evidence.gather(runs, published, own_folder=own)
    else:  # reading and checking answers takes most of the time
        gathered, notes = gather_records(runs, published, own_folder=own)
        found = Evidence([record for record, _ in gathered], pd.DataFrame(), pd.DataFrame(), notes)
    kept = [record for record in found.finals if record.condition in conditions]
    named = {*IDENTITY, *(run_name(record) for record in kept)}
    columns = [name for name in found.predictions.columns if name in named]
    return replace(found, records=kept, predictions=found.predictions[columns])


def needed(claims: Sequence[Claim], corpora: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return every grid and corpus that claims need.

    Raises:
        ExperimentError: for a corpus that no claim names.
    """
    pairs = list(conditions_by_place([each for claim in claims for each in claim.comparisons]))
    for corpus in corpora:
        reject_unknown("corpus of a claim", corpus, sorted({named for _, named in pairs}))
    return [pair for pair in pairs if not corpora or pair[1] in corpora]
