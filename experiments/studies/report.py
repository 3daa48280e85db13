"""The report of published results, a pure function of measurements and claim files.

::

    reproductions/<id>/measurements.jsonl.gz   table.csv   conditions.csv   figure.png
    reproductions/report.md   verdicts.csv

A person's own report goes to ``results/local``, the published one, which is committed, to ``results``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from experiments.errors import ExperimentError
from experiments.escaping import for_markdown, for_terminal
from experiments.paths import below
from experiments.reporting.render import EMPTY, TextTable, to_csv, to_markdown
from experiments.reporting.style import Picture, save_picture, settings
from experiments.runs.run_folder import one_at_a_time, write_atomically
from experiments.statistics.seeds import Spread, spread
from experiments.studies.measurements import (
    MEASUREMENTS_FILE,
    SeedMeasurement,
    committed_bytes,
    gather,
    published_folder,
)
from experiments.studies.published import (
    Assessment,
    CheckedCriterion,
    PublishedResult,
    Reproduction,
    assess,
    load_results,
)
from experiments.studies.study import Means, Quantities, Row, StudyOfRuns

if TYPE_CHECKING:
    from pandas import DataFrame

REPORT_FILE, VERDICTS_FILE, FIGURE_FILE = "report.md", "verdicts.csv", "figure.png"
SPREAD = ("", "_sd", "_smallest", "_largest")
INTRODUCTION = (
    "Published results on residual connections and normalisation, measured again at sizes that one core carries. Each "
    "is judged by the rule in its claim file. A condition is met if the whole 95 % t-interval of its quantity over "
    "seeds lies within the bounds. It is violated if the whole interval lies outside, and open otherwise. The interval "
    "of a positive ratio is that of the geometric mean, taken on logarithms. A quantity of one seed has no interval; "
    "its value counts as it is.\n\n"
    "*Reproduced*: all conditions are met. *Not reproduced*: all that the rule names for it is met or, if it names "
    "nothing, a condition is violated. *Inconclusive*: anything else. A finding outside the rule decides nothing."
)
REBUILT = (
    "Rebuilt by `python -m experiments.studies report`; measured by `python -m experiments.studies run`. The claim "
    "files are `experiments/claims/published/`."
)


@dataclass(frozen=True)
class AssessedResult:
    """A published result with its measured rows and its assessment."""

    published: PublishedResult
    rows: DataFrame
    """The study's columns after ``seed``; empty if a seed or a run of the grid is missing."""

    assessment: Assessment
    missing: str
    """What is missing, for a person; empty if all is there."""

    measurements: tuple[SeedMeasurement, ...] = ()
    """Where the rows come from; empty for a study of a grid's records."""

    @property
    def is_run(self) -> bool:
        """Whether everything is there to judge."""
        return self.assessment.verdict is not Reproduction.NOT_RUN

    def means(self) -> Means:
        """Average every quantity of the rule over seeds; None for a quantity that some seed does not have."""
        by_seed = quantities_by_seed(self.published, self.rows)
        columns = {name: [of_seed[name] for of_seed in by_seed] for name in by_seed[0]}
        return {
            name: None if None in values else spread([value for value in values if value is not None]).mean
            for name, values in columns.items()
        }

    @cached_property
    def picture(self) -> Picture:
        """The result drawn."""
        import matplotlib

        with matplotlib.rc_context(settings()):
            return self.published.setup.draw(self.rows, self.means())


def gather_result(published: PublishedResult, results: Path) -> AssessedResult:
    """Collect what was measured for a result and judge it.

    Raises:
        ExperimentError: if a file is damaged, or the rule speaks of a quantity that the study does not have.
    """
    from pandas import DataFrame

    study, measurements = published.setup, tuple(gather(results, published))
    rows: list[Row]
    if isinstance(study, StudyOfRuns):
        rows, missing = study.rows_of_runs(results)
    else:
        rows = [{"seed": each.seed, **row} for each in measurements for row in each.rows]
        absent = len(published.seeds) - len(measurements)
        missing = f"{absent} of {len(published.seeds)} seeds are not measured" if absent else ""
    frame = DataFrame([] if missing else rows, columns=["seed", *study.keys, *study.values])
    assessment = assess(published.rule, published.findings, quantities_by_seed(published, frame))
    return AssessedResult(published, frame, assessment, missing, measurements)


def quantities_by_seed(published: PublishedResult, rows: DataFrame) -> list[Quantities]:
    """Compute the quantities of the rule, of each seed that has rows."""
    return [published.setup.quantities(of_seed) for _, of_seed in rows.groupby("seed")]


def own_folder(results: Path) -> Path:
    """Name the folder of the tables that a person's own command writes."""
    return below(results, "local", "reproductions")


def write_report(results: Path, folder: Path, ids: Sequence[str] = ()) -> list[AssessedResult]:
    """Write the files of the named results, all by default, and the report of all; return every result.

    Raises:
        ExperimentError: a claim file or a measurement is wrong; a file cannot be written; or ``folder`` is the
            published one and a result is not wholly measured.
    """
    wanted = {published.id for published in load_results(ids)}
    found = [gather_result(published, results) for published in load_results()]
    missing = [f"{result.published.id} ({result.missing})" for result in found if not result.is_run]
    if missing and folder == published_folder(results):
        raise ExperimentError(f"nothing is published: {', '.join(missing)}; `run` makes what is missing")
    with one_at_a_time(results):
        for result in found:
            if result.published.id in wanted and result.is_run:
                write_result(result, below(folder, result.published.id))
        write_atomically(folder / VERDICTS_FILE, to_csv(verdicts_table(found)).encode())
        write_atomically(folder / REPORT_FILE, compose(found).encode())
    return found


def write_result(result: AssessedResult, folder: Path) -> None:
    """Write the evidence, tables and figure of one result."""
    contents = {
        "table.csv": to_csv(measured_table(result)).encode(),
        "conditions.csv": to_csv(criteria_table(result)).encode(),
    }
    if result.measurements:
        contents[MEASUREMENTS_FILE] = committed_bytes(result.measurements)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    save_picture(result.picture, folder / FIGURE_FILE)


def compose(results: Sequence[AssessedResult]) -> str:
    """Write the text of ``report.md``."""
    overview = [
        [result.published.id, result.published.title, source(result.published), result.assessment.verdict]
        for result in results
    ]
    parts = [
        "# Published results, measured again",
        INTRODUCTION,
        to_markdown(TextTable(["id", "result", "paper", "verdict"], overview)),
        *(section(result) for result in results),
        REBUILT,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def section(result: AssessedResult) -> str:
    """Write the part of the report about one result."""
    of = result.published
    parts = [
        f"## {of.id} · {for_markdown(of.title)}: {result.assessment.verdict}",
        f"{for_markdown(of.claim.en)}\n\n{of.claim.zh}",
        f"*{for_markdown(of.paper.citation)}, arXiv:{of.paper.arxiv}, {for_markdown(of.paper.place)}.*",
        f"**Setup.** {setup_sentence(of)} {of.differs}",
        f"**What would refute it.** {for_markdown(of.refuted_by)}",
    ]
    if not result.is_run:
        bounds = "; ".join(criterion.bounds for criterion in of.rule.reproduced)
        return "\n\n".join([*parts, f"**Not run:** {result.missing}. Rule: {for_markdown(bounds)}."])
    picture = result.picture
    return "\n\n".join(
        [
            *parts,
            to_markdown(criteria_table(result)).strip(),
            f"![{for_markdown(picture.title)}]({of.id}/{FIGURE_FILE})",
            f"*{for_markdown(picture.caption)}*",
            f"Every measured number: [`table.csv`]({of.id}/table.csv).",
        ]
    )


def setup_sentence(published: PublishedResult) -> str:
    """Write the sizes of a setup as one line of ``name value`` pairs."""
    setup = asdict(published.setup)
    return for_markdown("; ".join(f"{name} {_spelled(value)}" for name, value in setup.items()) + ".")


def _spelled(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_spelled(item)}" for name, item in value.items() if name != "name")
    if isinstance(value, list):
        return (" and " if any(isinstance(item, Mapping) for item in value) else ", ").join(map(_spelled, value))
    return str(value)


def source(published: PublishedResult) -> str:
    """Name a result's paper: authors, year and arXiv identifier."""
    return f"{published.paper.citation.partition(',')[0]}, arXiv:{published.paper.arxiv}"


def measured_table(result: AssessedResult) -> TextTable:
    """Tabulate mean, standard deviation, smallest and largest of every measured value over seeds, with six digits."""
    study = result.published.setup
    columns = [*study.keys, "seeds", *(f"{name}{part}" for name in study.values for part in SPREAD)]
    lines = []
    for key, values, count in _groups(result):
        spreads = [(spread(each), min(each, default=None), max(each, default=None)) for each in values]
        parts = [part for found, low, high in spreads for part in (found.mean, found.sd, low, high)]
        lines.append([*key, str(count), *(digits(part) for part in parts)])
    return TextTable(columns, lines)


def criteria_table(result: AssessedResult) -> TextTable:
    """Tabulate every criterion and finding: what it says, its bounds, what was measured, how it turned out."""
    groups = {
        "for reproduced": result.assessment.reproduced,
        "for not reproduced": result.assessment.not_reproduced,
        "finding": result.assessment.findings,
    }
    lines = [
        [part, checked.criterion.says, checked.criterion.bounds, *measured_parts(checked), checked.status]
        for part, criteria in groups.items()
        for checked in criteria
    ]
    return TextTable(["part", "condition", "bounds", "mean ± sd", "95 % interval", "status"], lines)


def verdicts_table(results: Sequence[AssessedResult]) -> TextTable:
    """Tabulate every result: its rule, what was measured with its spread over seeds, and the verdict."""
    columns = ["id", "result", "claim", "paper", "seeds", "rule", "measured", "verdict"]
    return TextTable(columns, [_verdict_row(result) for result in results])


def _verdict_row(result: AssessedResult) -> list[str]:
    of, assessment = result.published, result.assessment
    measured = "; ".join(
        f"{checked.criterion.quantity} = {' '.join(part for part in measured_parts(checked) if part != EMPTY)}"
        for checked in (*assessment.reproduced, *assessment.not_reproduced)
    )
    seeds, rule = str(result.rows.seed.nunique()), "; ".join(criterion.bounds for criterion in of.rule.reproduced)
    return [of.id, of.title, of.claim.en, source(of), seeds, rule, measured or result.missing, assessment.verdict]


def measured_parts(checked: CheckedCriterion) -> tuple[str, str]:
    """Spell mean ± standard deviation, and the interval or how many seeds have the quantity if not all have it."""
    measured = checked.measured
    if measured.count < checked.seeds:
        return mean_and_sd(measured), f"({measured.count} of {checked.seeds} seeds have it)"
    if measured.low is None or measured.high is None:
        return mean_and_sd(measured), EMPTY
    geometric = " (geometric mean)" if checked.is_geometric else ""
    return mean_and_sd(measured), f"[{shown(measured.low)}, {shown(measured.high)}]{geometric}"


def _groups(result: AssessedResult) -> Iterator[tuple[list[str], list[list[float]], int]]:
    """Yield keys, the values of every measured column over seeds, and the number of seeds, in measured order."""
    study = result.published.setup
    for key, group in result.rows.groupby(list(study.keys), sort=False):
        names = [f"{part:g}" if isinstance(part, float) else str(part) for part in key]
        yield names, [[float(value) for value in group[name].dropna()] for name in study.values], len(group)


def digits(value: float | None, precision: int = 6) -> str:
    """Spell a number to ``precision`` significant digits; empty if it is not defined."""
    return "" if value is None else f"{value:.{precision}g}"


def shown(value: float | None, precision: int = 3) -> str:
    """Spell a number for reading, with a real minus sign; a dash for what is not defined."""
    return digits(value, precision).replace("-", "−") or EMPTY


def mean_and_sd(values: Spread) -> str:
    """Spell ``0.771 ± 0.00412``, three significant digits each."""
    if values.mean is None or values.sd is None:
        return shown(values.mean)
    return f"{shown(values.mean)} ± {shown(values.sd)}"


def print_verdicts(results: Sequence[AssessedResult], console: Console) -> None:
    """Print one line per result."""
    table = Table("claim", "result", "verdict", box=None)
    for result in results:
        table.add_row(result.published.id, for_terminal(result.published.title), result.assessment.verdict)
    console.print(table)
