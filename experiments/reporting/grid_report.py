"""The report of a grid on a corpus: evidence, tables, figures and ``report.md``, a pure function of the evidence.

A person's own report goes to ``results/local``; a checked and published one replaces the committed one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markup import escape

from experiments.errors import ExperimentError, RecordError
from experiments.escaping import for_spreadsheet
from experiments.paths import below, own_tables_folder, runs_folder, tables_folder
from experiments.planning.grid import Grid
from experiments.reporting.console import print_result
from experiments.reporting.frame import Description, make_rows
from experiments.reporting.page import compose
from experiments.reporting.render import to_csv, to_latex, to_markdown
from experiments.reporting.report_tables import ReportTable, effects_table, per_class_table, summary_table
from experiments.reporting.style import Picture, save_picture
from experiments.reporting.tuned import survival_table, tuning_table
from experiments.runs.run_folder import write_atomically
from experiments.runs.store import RECORDS_FILE, Evidence, read_committed

REPORT_FILE = "report.md"
ANSWER_FILE = "answer.md"
"""A page that :mod:`experiments.reporting.answer` writes next to a report; a report leaves it alone."""
SUFFIXES = {".csv", ".md", ".tex", ".png", ".gz", ".parquet", ".partial"}
"""Endings of the files that a report writes."""
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
    evidence, description = gathered(grid, results, console), describe(grid)
    folder = own_tables_folder(results, grid.name, grid.corpus)
    written = write_report(evidence, folder, description, everything=everything, spreadsheets=spreadsheets)
    print_result(evidence, description, written, console)


def gathered(grid: Grid, results: Path, console: Console) -> Evidence:
    """Return what is recorded of a grid's runs, and print what was left out.

    Raises:
        ExperimentError: no run is finished; tuning trials that are alone are kept for ``--keep_committed``.
    """
    runs, published, own = (
        folder(results, grid.name, grid.corpus) for folder in (runs_folder, tables_folder, own_tables_folder)
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
    return evidence


def publish_grid(grid: Grid, results: Path, console: Console) -> None:
    """Put a person's own tables in place of the published ones, which are committed, after checking them.

    The tables are made anew from the records with a person's own ones. Figures that are published already are drawn
    again, for the pages that show them.

    Raises:
        ExperimentError: the person has no own tables, scores and predictions disagree, or a file is too large.
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


def across_grid(grid: Grid, results: Path, console: Console, *, everything: bool = False) -> None:
    """Write what the grid says over all its corpora, local and committed ones, into a person's own tables.

    Raises:
        ExperimentError: no run is finished on any corpus.
    """
    from experiments.reporting.across import write_across

    evidence = {}
    for corpus in corpora_of(grid, results):
        places = (place(results, grid.name, corpus) for place in (runs_folder, tables_folder, own_tables_folder))
        runs, published, own = places
        found = Evidence.gather(runs, published, own_folder=own)
        for note in found.notes:
            console.print(f"[yellow]{escape(note)}[/yellow]", soft_wrap=True)
        if found.finals:
            evidence[corpus] = found
    folder = below(results, "local", grid.name)
    written = write_across(evidence, folder, describe(grid), everything=everything)
    console.print(f"wrote {written[0]} from {', '.join(evidence)}", markup=False, highlight=False, soft_wrap=True)


def publish_across(grid: Grid, results: Path, console: Console) -> None:
    """Rewrite the committed page over all corpora from the committed tables.

    A page exists if a person asked for it once: it is published, or among their own tables.
    """
    from experiments.reporting.across import PAGE, write_across

    folder = below(results, grid.name)
    if not any((place / PAGE).is_file() for place in (folder, below(results, "local", grid.name))):
        return
    evidence = {
        corpus: found
        for corpus in corpora_of(grid, results)
        if (found := Evidence.gather(results / "no runs", tables_folder(results, grid.name, corpus))).finals
    }
    written = write_across(evidence, folder, describe(grid))
    console.print(f"published {written[0]}", markup=False, highlight=False, soft_wrap=True)


def corpora_of(grid: Grid, results: Path) -> list[str]:
    """Return the corpora that have runs or tables of a grid, sorted."""
    roots = [below(results, *parts, grid.name) for parts in (("runs",), (), ("local",))]
    found = {path.name for root in roots if root.is_dir() for path in root.iterdir() if path.is_dir()}
    return sorted(found - {"figures"})


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
        delta=grid.delta,
    )


def write_report(
    evidence: Evidence,
    folder: Path,
    description: Description,
    *,
    everything: bool = False,
    spreadsheets: bool = False,
    figures: Collection[str] = (),
) -> list[Path]:
    """Rewrite a results folder and return what was written, ``report.md`` first.

    Without ``everything`` these are the evidence, the tables as CSV and ``report.md``; with it also every figure, which
    ``report.md`` then shows, and the tables as Markdown and LaTeX. ``figures`` names those to draw for other pages.
    With ``spreadsheets`` each table has a copy, ``<table>.spreadsheet.csv``, in which no cell is run as a formula.

    Every file is replaced atomically, and left-overs of an earlier report are removed last, so that committed evidence
    is never lost half-way.

    Raises:
        RecordError: there is no final run, the folder holds something else than a report, or a file cannot be
            written.
    """
    rows = make_rows(evidence, description)
    if not rows:
        raise RecordError(f"there is no finished final run to report in {folder}")
    _refuse_foreign(folder)
    tables = [summary_table(rows), effects_table(rows, description.delta)]
    if "per_class" in rows[0].task.parts:
        tables.append(per_class_table(rows))
    if evidence.trials:
        tables += [tuning_table(evidence, description), survival_table(evidence, description)]
    tables = [table for table in tables if len(table.frame)]
    written = evidence.save(folder)
    for table in tables:
        written += _write_table(folder, table, everything, spreadsheets)
    pictures: dict[str, Picture] = {}
    if everything or figures:
        from experiments.reporting.figures import draw_pictures

        for stem, picture in draw_pictures(rows, evidence, description):
            name = f"{stem}.png"
            if everything or name in figures:
                pictures[name] = picture
                written.append(save_picture(picture, folder / "figures" / name))
    report = folder / REPORT_FILE
    text = compose(evidence, rows, tables, pictures if everything else {}, description)
    write_atomically(report, text.encode())
    written = [report, *written]
    _remove_leftovers(folder, written)
    return written


def _write_table(folder: Path, table: ReportTable, everything: bool, spreadsheets: bool) -> list[Path]:
    contents = {f"{table.name}.csv": to_csv(table.data)}
    if spreadsheets:
        contents[f"{table.name}.spreadsheet.csv"] = to_csv(table.data, for_spreadsheet)
    if everything:
        contents[f"{table.name}.md"] = f"{table.caption}\n\n{to_markdown(table.reading)}"
        contents[f"{table.name}.tex"] = to_latex(table.reading, table.name, table.caption)
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in contents]


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that no report wrote, since its files would be removed."""
    if folder.exists() and any(folder.iterdir()):
        known = [folder / name for name in (REPORT_FILE, RECORDS_FILE)]
        if not any(path.exists() for path in known):
            raise RecordError(
                f"{folder} holds files that no report wrote; move them, because a report rewrites its folder"
            )


def _remove_leftovers(folder: Path, written: Sequence[Path]) -> None:
    """Remove what an earlier report wrote and this one did not; other files stay."""
    figures = folder / "figures"
    inside = [] if figures.is_symlink() else list(figures.glob("*.png"))
    for path in [*inside, *folder.iterdir()]:
        known = path in written or path.name == ANSWER_FILE
        if not known and path.suffix in SUFFIXES and (path.is_symlink() or path.is_file()):
            path.unlink()
    if figures.is_dir() and not figures.is_symlink() and not any(figures.iterdir()):
        figures.rmdir()
