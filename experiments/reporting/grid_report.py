"""From a grid and its records to the files of its report: a person's own, and published ones."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from experiments.errors import ExperimentError
from experiments.paths import own_tables_folder, runs_folder, tables_folder
from experiments.planning.grid import Grid
from experiments.reporting.console import print_result
from experiments.reporting.frame import Description
from experiments.reporting.report import write_report
from experiments.runs.store import Evidence, read_committed

LARGEST = 2 * 2**20
"""Bytes of the largest file that is published: version control keeps every version for ever."""


def report_grid(
    grid: Grid, results: Path, console: Console, *, everything: bool = False, spreadsheets: bool = False
) -> None:
    """Rewrite a person's own tables from local and committed records, and print the result table.

    ``everything`` and ``spreadsheets`` are those of :func:`write_report`.

    Raises:
        ExperimentError: no run is finished; tuning trials that are alone are kept for ``--keep_committed``.
    """
    runs, published, own = (
        place(results, grid.name, grid.corpus) for place in (runs_folder, tables_folder, own_tables_folder)
    )
    evidence = Evidence.gather(runs, published, own_folder=own)
    for note in evidence.notes:
        console.print(f"[yellow]{note}[/yellow]", soft_wrap=True)
    if not evidence.finals:
        kept = [*read_committed(published), *read_committed(own)]
        if evidence.trials and not any(record.stage == "final" for record in kept):
            evidence.save(own)
        raise ExperimentError(
            f"grid {grid.name} has {len(evidence.trials)} tuning trials and no finished run on {grid.corpus} yet; "
            "`run` makes what is missing"
        )
    description = describe(grid)
    written = write_report(evidence, own, description, everything=everything, spreadsheets=spreadsheets)
    print_result(evidence, description, written, console)


def publish_grid(grid: Grid, results: Path, console: Console) -> None:
    """Put a person's own tables in place of the published ones, which are committed, after checking them.

    The tables are made anew from the records beside a person's own ones. Of figures those are drawn again that are
    published already, for pages that show them.

    Raises:
        ExperimentError: there are no tables of one's own, scores and predictions disagree, or a file is too large.
    """
    own, published = (place(results, grid.name, grid.corpus) for place in (own_tables_folder, tables_folder))
    evidence = Evidence.gather(results / "no runs", own)
    if not evidence.finals:
        raise ExperimentError(f"{own} holds no finished run; `report` writes tables there, `publish` copies them")
    shown = {path.name for path in published.glob("figures/*")}
    with TemporaryDirectory(dir=results) as folder:
        made = write_report(evidence, Path(folder) / "tables", describe(grid), figures=shown)
        large = [path.name for path in made if path.stat().st_size > LARGEST]
        lost = sorted(shown - {path.name for path in made})
    if large or lost:
        reason = f"{large[0]} has more than {LARGEST / 2**20:g} MiB" if large else f"{lost[0]} is not drawn any more"
        raise ExperimentError(f"nothing is published: {reason}")
    written = write_report(evidence, published, describe(grid), figures=shown)
    console.print(
        f"published {len(evidence.records)} runs in {len(written)} files: {written[0]}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def describe(grid: Grid) -> Description:
    """Return what the report says of the grid apart from its runs."""
    conditions = grid.all_conditions
    return Description(
        arguments=grid.arguments,
        title=grid.title,
        purpose=grid.purpose,
        data_note=grid.note,
        conditions=tuple(dict.fromkeys(condition.name for condition in conditions)),
        titles={condition.name: condition.title for condition in conditions if condition.title},
        listed_trials={condition.name: condition.trials for condition in conditions} if grid.is_widened else {},
        planned=tuple((condition.name, condition.swept) for condition in conditions),
        seeds=grid.seeds,
    )
