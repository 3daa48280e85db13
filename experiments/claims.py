"""Answer the article's claims from what is recorded, and make the runs that they need.

    python -m experiments.claims report [CLAIM …] [--corpora [docstrings,listops]]
    python -m experiments.claims publish
    python -m experiments.claims run [CLAIM …] [--corpora …] [--data_folder DIR]

``report`` answers all claims from local and committed records and writes a page for each, in English and Chinese, to
``results/local/claims``; with claims or corpora named it only prints their effects. ``publish`` rewrites the committed
pages in ``results/claims`` from committed records. ``run`` makes the missing runs of the claims' grids, as
``experiments.ablation run`` does. CLAIM is the name of a file in ``experiments/claims``; all by default.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.claims")

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from experiments.errors import readable_errors
from experiments.making.engines import add_engine_options, chosen_engine
from experiments.paths import RESULTS, below
from experiments.planning.parser import StrictParser

VERBS = ("report", "publish", "run")
FOLDER = "claims"
"""Of the pages, below ``results`` and ``results/local``; the tables of the grid of that name are folders in it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; mistakes end with one line and status 2, failed runs with status 1."""
    with readable_errors():
        parsed = parse(sys.argv[1:] if arguments is None else arguments)
        results, console = Path(parsed.results), Console(force_jupyter=False)
        corpora = parsed.corpora or []
        if parsed.verb == "run":
            run(parsed, corpora, results, console)
        elif parsed.verb == "publish":
            write(results, console, committed_only=True)
        elif parsed.claims or corpora:
            show(parsed.claims, corpora, results, console)
        else:
            write(results, console)


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.claims", description=__doc__)
    parser.add_argument("verb", choices=VERBS, help="what to do")
    parser.add_argument("claims", type=str, nargs="*", metavar="CLAIM", help="names of claims (default: all)")
    parser.add_argument("--corpora", type=list[str], help="only these corpora, such as [docstrings,listops]")
    parser.add_argument("--data_folder", type=str, help="folder that holds data sets by name, in place of the Hub")
    add_engine_options(parser)
    parser.add_argument("--results", type=str, default=str(RESULTS), help="folder of run folders, tables and reports")
    return parser.parse_args(list(arguments))


def run(parsed: Namespace, corpora: Sequence[str], results: Path, console: Console) -> None:
    """Make the missing runs of every grid and corpus that the claims name, then each grid's own report."""
    from experiments.ablation import run as run_grid
    from experiments.evidence.claim import load_claims
    from experiments.evidence.records import needed
    from experiments.planning.grid import Grid

    failed, engine = 0, chosen_engine(parsed)
    for grid, corpus in needed(load_claims(parsed.claims), corpora):
        folder = Path(parsed.data_folder) / corpus if parsed.data_folder else None
        overrides = {"data": {"corpus": str(folder) if folder and folder.is_dir() else corpus_of(grid, corpus)}}
        console.print(f"grid {grid} on {corpus}", highlight=False)
        try:
            run_grid(Grid.load(grid, overrides), results, engine, parsed.keep_committed, console)
        except SystemExit:  # some runs failed; the other grids go on
            failed += 1
    if failed:
        raise SystemExit(1)


def corpus_of(grid: str, corpus: str) -> str:
    """Return the value of ``data.corpus`` that a grid file gives for a corpus; its short name where it gives none."""
    from experiments.planning.grid import grid_path
    from experiments.planning.yaml_files import mapping_of, read_yaml

    special = mapping_of(mapping_of(read_yaml(grid_path(grid)), "corpora"), corpus)
    return str(mapping_of(special, "data").get("corpus", corpus))


def write(results: Path, console: Console, *, committed_only: bool = False) -> list[Path]:
    """Write the pages of all claims, a person's own ones or those that are committed, and return them."""
    from experiments.evidence.claim import load_claims
    from experiments.evidence.claim_pages import Pages, write_pages
    from experiments.evidence.records import answer_claims
    from experiments.reporting.grid_report import REPORT_FILE
    from experiments.runs.run_folder import one_at_a_time

    def report(grid: str, corpus: str) -> str:
        own = not committed_only and (below(results, "local", grid, corpus) / REPORT_FILE).is_file()
        return f"{'../' if own or committed_only else '../../'}{grid}/{corpus}/{REPORT_FILE}"

    claims = load_claims()
    answers = answer_claims(claims, results, noted(console), committed_only=committed_only)
    command = f"python -m experiments.claims {'publish' if committed_only else 'report'}"
    folder = below(results, FOLDER) if committed_only else below(results, "local", FOLDER)
    with one_at_a_time(results):
        written = write_pages(Pages(claims, answers, report, command), folder)
    console.print(f"wrote {len(written)} files: {written[0]}", markup=False, highlight=False, soft_wrap=True)
    return written


def show(names: Sequence[str], corpora: Sequence[str], results: Path, console: Console) -> None:
    """Print every effect of some claims, on some corpora or all."""
    from rich.table import Table

    from experiments.escaping import for_terminal
    from experiments.evidence.claim import load_claims
    from experiments.evidence.claim_tables import effects_of
    from experiments.evidence.published_table import contradictions
    from experiments.evidence.records import answer_claims, needed

    claims = load_claims(names)
    needed(claims, corpora)  # refuses unknown corpora before anything is read
    answers = answer_claims(claims, results, noted(console))
    for claim in claims:
        console.print(f"\n{claim.number} {claim.id}: {claim.claim['en']}", markup=False, highlight=False)
        for contradiction in contradictions() if claim.arithmetic else ():
            console.print(contradiction.sentences["en"], markup=False, highlight=False)
        found = effects_of([claim], answers.claims)
        shown = ["comparison", "where", "mean", "low", "high", "word", "pairs", "delta"]
        table = Table(*shown, box=None)
        for line in found.rows:
            cells = dict(zip(found.columns, line, strict=True))
            if not corpora or cells["where"] in corpora:
                table.add_row(*(for_terminal(cells[name]) for name in shown))
        if table.rows:
            console.print(table)


def noted(console: Console) -> Callable[[str], None]:
    """Return a function that prints what was left out."""
    return lambda note: console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
