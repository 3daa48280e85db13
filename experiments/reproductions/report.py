"""The report of reproductions, a pure function of measurements and claim files.

::

    results/reproductions/<id>/measurements.jsonl.gz   table.csv   table.md   conditions.csv   figure.png
    results/reproductions/report.md   verdicts.csv
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.reporting.render import escape_markdown, to_csv, to_markdown
from experiments.reproductions.claim import Claim, load_claims
from experiments.reproductions.evidence import Result, gather_result
from experiments.reproductions.measurements import MEASUREMENTS_FILE, committed_bytes, result_folder
from experiments.reproductions.tables import (
    conditions_table,
    measured_table,
    reading_table,
    verdicts_table,
)
from experiments.reproductions.verdicts import Verdict
from experiments.runs.files import one_at_a_time, write_atomically

REPORT_FILE, VERDICTS_FILE, FIGURE_FILE = "report.md", "verdicts.csv", "figure.png"
INTRODUCTION = (
    "Published results on residual connections and normalisation, measured again at sizes that one core carries and "
    "judged by the rule that stands in each claim file. A condition is met where the whole 95 % t-interval of its "
    "quantity over seeds lies within the bounds, violated where the whole interval lies outside, and open otherwise "
    "(of a positive ratio the interval is that of the geometric mean, taken on logarithms); a "
    "quantity of one seed has no interval, and its value stands for itself. "
    "*Reproduced*: all conditions are met. *Not reproduced*: what the rule names for it is met or, where it names "
    "nothing, a condition is violated. *Inconclusive*: anything else. What stands beside a rule decides nothing."
)


def write_report(results: Path, ids: Sequence[str] = ()) -> list[Result]:
    """Rewrite the files of the named claims, all by default, and the report of all; return every result.

    Raises:
        ExperimentError: where a claim file or a measurement is wrong, or a file cannot be written.
    """
    wanted = {claim.id for claim in load_claims(ids)}
    found = [gather_result(claim, results) for claim in load_claims()]
    with one_at_a_time(results):
        for result in found:
            if result.claim.id in wanted and result.judgement.verdict is not Verdict.NOT_RUN:
                write_result(result, result_folder(results, result.claim))
        folder = results / "reproductions"
        write_atomically(folder / VERDICTS_FILE, to_csv(verdicts_table(found)).encode())
        write_atomically(folder / REPORT_FILE, compose(found).encode())
    return found


def write_result(result: Result, folder: Path) -> None:
    """Write the evidence, tables and figure of one result."""
    from experiments.reproductions.figures import draw_figure

    contents = {
        "table.csv": to_csv(measured_table(result)).encode(),
        "table.md": f"{result.claim.title}: mean ± standard deviation over seeds.\n\n"
        f"{to_markdown(reading_table(result))}".encode(),
        "conditions.csv": to_csv(conditions_table(result)).encode(),
    }
    if result.measurements:
        contents[MEASUREMENTS_FILE] = committed_bytes(result.measurements)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    draw_figure(result, folder / FIGURE_FILE)


def compose(results: Sequence[Result]) -> str:
    """Return the text of ``report.md``."""
    table = verdicts_table(results)
    overview = [[*row[:2], row[3], row[-1]] for row in table.rows]
    sections = [
        "# Published results, measured again",
        INTRODUCTION,
        to_markdown(type(table)(["id", "result", "paper", "verdict"], overview)),
        *(section(result) for result in results),
        "Rebuilt by `python -m experiments.reproduce report`; measured by `python -m experiments.reproduce run`. The "
        "claim files are `experiments/claims/published/`.",
    ]
    return "\n\n".join(part.strip() for part in sections) + "\n"


def section(result: Result) -> str:
    """Return the part of the report about one claim."""
    claim = result.claim
    parts = [
        f"## {claim.id} · {escape_markdown(claim.title)}: {result.judgement.verdict}",
        f"{escape_markdown(claim.claim.en)}\n\n{claim.claim.zh}",
        f"*{escape_markdown(claim.paper.citation)}, arXiv:{claim.paper.arxiv}, {escape_markdown(claim.paper.place)}.*",
        f"**Setup.** {setup_sentence(claim)} {' '.join(claim.differs.split())}",
        f"**What would refute it.** {escape_markdown(claim.refuted_by)}",
    ]
    if result.judgement.verdict is Verdict.NOT_RUN:
        bounds = "; ".join(condition.bounds for condition in claim.rule.reproduced)
        return "\n\n".join([*parts, f"**Not run:** {result.missing}. Rule: {escape_markdown(bounds)}."])
    return "\n\n".join(
        [
            *parts,
            to_markdown(conditions_table(result)).strip(),
            f"![{escape_markdown(claim.title)}]({claim.id}/{FIGURE_FILE})",
            f"Every measured number: [`table.csv`]({claim.id}/table.csv), [`table.md`]({claim.id}/table.md).",
        ]
    )


def setup_sentence(claim: Claim) -> str:
    """Return the sizes of a setup as one line of ``name value`` pairs."""
    from dataclasses import asdict

    return escape_markdown("; ".join(f"{name} {_spelled(value)}" for name, value in asdict(claim.setup).items()) + ".")


def _spelled(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_spelled(item)}" for name, item in value.items() if name != "name")
    if isinstance(value, list):
        return (
            " and ".join(map(_spelled, value))
            if any(isinstance(v, dict) for v in value)
            else ", ".join(map(str, value))
        )
    return str(value)


def print_verdicts(results: Sequence[Result], console: Console) -> None:
    """Print one line per claim."""
    table = Table("claim", "result", "verdict", box=None)
    for result in results:
        table.add_row(result.claim.id, escape(result.claim.title), result.judgement.verdict)
    console.print(table)
