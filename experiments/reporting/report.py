"""The report of a grid on a corpus: evidence, tables, figures and ``report.md``, a pure function of the evidence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from experiments.escaping import for_spreadsheet
from experiments.reporting.frame import Description, make_rows
from experiments.reporting.page import compose
from experiments.reporting.render import to_csv, to_latex, to_markdown
from experiments.reporting.style import Picture, save_picture
from experiments.reporting.tables import ReportTable, effects_table, per_class_table, summary_table, tuning_table
from experiments.runs.errors import RecordError
from experiments.runs.files import write_atomically
from experiments.runs.store import RECORDS_FILE, Evidence

REPORT_FILE = "report.md"


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

    Every file is replaced atomically and what is left over from an earlier report is removed last, so that committed
    evidence is never lost half-way.

    Raises:
        RecordError: there is no final run, the folder holds something else than a report, or a file cannot be
            written.
    """
    rows = make_rows(evidence, description)
    if not rows:
        raise RecordError(f"there is no finished final run to report in {folder}")
    _refuse_foreign(folder)
    tables = [summary_table(rows), effects_table(rows)]
    if "per_class" in rows[0].task.parts:
        tables.append(per_class_table(rows))
    if evidence.trials:
        tables.append(tuning_table(evidence, description))
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


SUFFIXES = {".csv", ".md", ".tex", ".png", ".gz", ".parquet", ".partial"}
"""Endings of the files that a report writes."""


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that no report wrote: what it holds would be removed."""
    if folder.exists() and any(folder.iterdir()):
        known = [folder / name for name in (REPORT_FILE, RECORDS_FILE)]
        if not any(path.exists() for path in known):
            raise RecordError(
                f"{folder} holds files that no report wrote; move them, because a report rewrites its folder"
            )


def _remove_leftovers(folder: Path, written: Sequence[Path]) -> None:
    """Remove what an earlier report wrote and this one did not; of files that no report writes, none."""
    figures = folder / "figures"
    inside = [] if figures.is_symlink() else list(figures.glob("*.png"))
    for path in [*inside, *folder.iterdir()]:
        if path not in written and path.suffix in SUFFIXES and (path.is_symlink() or path.is_file()):
            path.unlink()
    if figures.is_dir() and not figures.is_symlink() and not any(figures.iterdir()):
        figures.rmdir()
