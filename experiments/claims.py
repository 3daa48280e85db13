"""Make the runs that the article's claims need, and judge every claim by what is recorded.

    python -m experiments.claims run [CLAIM …] [--corpora [docstrings,listops]] [--data_folder DIR]
    python -m experiments.claims report [CLAIM …] [--corpora …]

``run`` makes the missing runs of the claims' grids, as ``experiments.ablation run`` does. ``report`` judges all claims
from local and committed records, prints their verdicts and writes these and every effect to ``results/local/verdicts``;
with claims or corpora named it only prints their effects, and judges them among all the same. CLAIM is the name of a
file in ``experiments/claims``; all by default. ``results/history`` keeps the pages of the last published judgement.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.claims")

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from experiments.errors import readable_errors
from experiments.making.engines import add_engine_options, chosen_engine
from experiments.paths import RESULTS, verdicts_folder
from experiments.planning.parser import StrictParser

if TYPE_CHECKING:
    from experiments.evidence.claim import Claim
    from experiments.evidence.judge import JudgedClaim

VERBS = ("run", "report")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; mistakes end with one line and status 2, failed runs with status 1."""
    with readable_errors():
        parsed = parse(sys.argv[1:] if arguments is None else arguments)
        results, console = Path(parsed.results), Console(force_jupyter=False)
        corpora = parsed.corpora or []
        if parsed.verb == "run":
            run(parsed, corpora, results, console)
        else:
            report(parsed.claims, corpora, results, console)


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


def needed(claims: Sequence[Claim], corpora: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return every grid and corpus that claims need, confirmatory corpora first.

    Raises:
        ExperimentError: for a corpus that no claim names.
    """
    from experiments.planning.names import reject_unknown

    parts = [part for claim in claims for part in claim.parts]
    named = {corpus for part in parts for corpus in (*part.corpora, *part.replications)}
    for corpus in corpora:
        reject_unknown("corpus of a claim", corpus, sorted(named))
    pairs = [(part.grid, corpus) for part in parts for corpus in part.corpora]
    pairs += [(part.grid, corpus) for part in parts for corpus in part.replications]
    return [pair for pair in dict.fromkeys(pairs) if not corpora or pair[1] in corpora]


def corpus_of(grid: str, corpus: str) -> str:
    """Return the value of ``data.corpus`` that a grid file gives for a corpus; its short name where it gives none."""
    from experiments.planning.grid import grid_path
    from experiments.planning.yaml_files import mapping_of, read_yaml

    special = mapping_of(mapping_of(read_yaml(grid_path(grid)), "corpora"), corpus)
    return str(mapping_of(special, "data").get("corpus", corpus))


def report(names: Sequence[str], corpora: Sequence[str], results: Path, console: Console) -> None:
    """Judge from the records; write the tables of verdicts, or print what was asked for."""
    from experiments.evidence.claim import load_claims
    from experiments.evidence.tables import print_effects, print_verdicts, write_tables
    from experiments.runs.run_folder import one_at_a_time

    needed(load_claims(names), corpora)  # refuses unknown names before anything is read
    judged = judge_all_claims(results, console)
    if names or corpora:
        print_effects([claim for claim in judged if not names or claim.claim.id in names], corpora, console)
        return
    with one_at_a_time(results):
        written = write_tables(judged, verdicts_folder(results))
    print_verdicts(judged, console)
    console.print(f"wrote {', '.join(str(path) for path in written)}", markup=False, highlight=False, soft_wrap=True)


def judge_all_claims(results: Path, console: Console) -> list[JudgedClaim]:
    """Judge every claim by the runs recorded below ``results``; say what was left out."""
    from experiments.evidence.claim import check_arms, load_claims
    from experiments.evidence.judge import judge
    from experiments.evidence.records import GridResults
    from experiments.planning.grid import Grid

    @cache
    def results_of(grid: str, corpus: str) -> GridResults:
        found = GridResults(Grid.load(grid, {"data": {"corpus": corpus_of(grid, corpus)}}), results)
        for note in found.notes:
            console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
        return found

    claims = load_claims()
    for claim, part in ((owner, part) for owner in claims for part in owner.parts):
        for corpus in (*part.corpora, *part.replications):
            check_arms(claim, part, results_of(part.grid, corpus).grid)
    return judge(claims, results_of)


if __name__ == "__main__":
    main()
