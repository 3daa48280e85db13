"""Plan, run, watch and report an ablation: every condition of a grid under one protocol.

    python -m experiments.ablation plan|run|status|report|publish|clean GRID [--seeds N] [--model.… --data.…]

``plan`` prints every run that would be made, ``run`` makes the missing ones in parallel and reports, ``status`` says
what is finished, running or missing, ``report`` rewrites tables from the records alone, and ``clean`` removes
checkpoints. Tables go to ``results/local/<grid>/<corpus>``; with ``--all`` figures and further formats stand beside
them. ``publish`` checks them and puts them in place of the committed ones, ``results/<grid>/<corpus>``. GRID is a name
from ``experiments/grids`` or a YAML file.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.ablation")

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from jsonargparse import Namespace
from rich.console import Console
from rich.markup import escape

from experiments.errors import ExperimentError, readable_errors
from experiments.making.engines import Engine, LocalEngine, add_engine_options, chosen_engine, chosen_workers
from experiments.paths import RESULTS, below, runs_folder
from experiments.planning.grid import Grid
from experiments.planning.parser import (
    PRECISION_HELP,
    StrictParser,
    add_sections,
    given_options,
    refuse_both_precisions,
)
from experiments.planning.schemes import add_schemes_option, take_schemes

VERBS = ("plan", "run", "status", "report", "publish", "clean")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; mistakes end with one line and status 2, failed runs with status 1."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        console = Console(force_jupyter=False)  # a notebook shows plain text
        grid, results = load_grid(parsed, console), Path(parsed.get("results", RESULTS))
        match parsed.verb:
            case "plan":
                plan(grid, results, chosen_workers(parsed), console)
            case "run":
                keep_committed = parsed.get("keep_committed", False)
                price(grid, results, chosen_workers(parsed), console)
                run(grid, results, chosen_engine(parsed), keep_committed, console, **wanted(parsed))
            case "status":
                status(grid, results, console)
            case "report":
                report(grid, results, console, **wanted(parsed))
            case "publish":
                publish(grid, results, console)
            case "clean":
                clean(grid, results, console)


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options that stand on the command line."""
    parser = StrictParser(prog="python -m experiments.ablation", description=__doc__)
    parser.add_argument("verb", choices=VERBS, help="what to do")
    parser.add_argument("grid", type=str, help="name of a grid, or a YAML file")
    parser.add_argument("--conditions", type=list[str], help="only these conditions, such as [pre_ln,post_ln]")
    parser.add_argument(
        "--cells", type=dict[str, Any], help="only these swept values, such as '{model.layers: 6}', a part of the grid"
    )
    parser.add_argument("--seeds", type=int, help="number of seeds of the final runs")
    add_engine_options(parser)
    parser.add_argument(
        "--keep_committed",
        action="store_true",
        help="let `run` count committed records as finished, to go on with a grid begun on another machine",
    )
    parser.add_argument("--precision", choices=("auto",), help=PRECISION_HELP)
    parser.add_argument(
        "--all", action="store_true", help="let `report` and `run` draw every figure, and write Markdown and LaTeX too"
    )
    parser.add_argument(
        "--spreadsheet",
        action="store_true",
        help="let `report` and `run` also write a copy of each table, NAME.spreadsheet.csv, that a spreadsheet opens "
        "without running names as formulas",
    )
    parser.add_argument("--results", type=str, help="folder of run folders and tables (default: results)")
    add_schemes_option(parser)
    add_sections(parser, without=frozenset({"variant", "stage"}))  # a grid decides these, run by run
    return parser.parse_args(list(arguments), defaults=False)


def wanted(parsed: Namespace) -> dict[str, bool]:
    """Return what a report is to write beside its usual files."""
    return {"everything": parsed.get("all", False), "spreadsheets": parsed.get("spreadsheet", False)}


def load_grid(parsed: Namespace, console: Console) -> Grid:
    """Return the grid that the command line asks for, in a measured precision if it asks for that.

    Raises:
        ExperimentError: the precision is both given and to be measured.
    """
    overrides, rest = given_options(parsed), (parsed.get("seeds"), parsed.get("conditions"), parsed.get("cells"))
    if "precision" in parsed:
        from experiments.runs.precision import choose_precision

        given = overrides.get("trainer", {})
        refuse_both_precisions(given)
        choice = choose_precision(Grid.load(parsed.grid, overrides, *rest).conditions[0].config)
        console.print(f"precision {choice.value}: {choice.reason}", highlight=False, soft_wrap=True)
        overrides = {**overrides, "trainer": {**given, "precision": choice.value}}
    return Grid.load(parsed.grid, overrides, *rest)


def plan(grid: Grid, results: Path, workers: int, console: Console) -> None:
    """Print every run of the grid with its size, time and disk."""
    from experiments.making.overview import print_plan

    print_plan(grid, results, workers, console)


def price(grid: Grid, results: Path, workers: int, console: Console) -> None:
    """Print what the missing runs take."""
    from experiments.making.overview import print_price

    print_price(grid, results, workers, console)


def run(grid: Grid, results: Path, engine: Engine, keep_committed: bool, console: Console, **reported: bool) -> None:
    """Make the missing runs, then report; ``reported`` as for :func:`report`."""
    from experiments.making.grid_runner import run_grid

    require_writable(results)
    warn_if_slow(grid, engine, console)
    with engine:
        failed = run_grid(grid, results, engine, console, keep_committed=keep_committed)
    logs = runs_folder(results, grid.name, grid.corpus)
    console.print(f"TensorBoard: tensorboard --logdir {logs}", highlight=False, soft_wrap=True)
    try:
        report(grid, results, console, **reported)
    except ExperimentError as error:
        if not failed:
            raise
        console.print(f"[yellow]no report: {escape(str(error))}[/yellow]", soft_wrap=True)
    if failed:
        console.print(
            f"[red]{len(failed)} run(s) failed, the first of them {escape(failed[0])}[/red]\n"
            "The traceback stands in its folder; the same command makes the missing runs.",
            highlight=False,
            soft_wrap=True,
        )
        raise SystemExit(1)


def warn_if_slow(grid: Grid, engine: Engine, console: Console) -> None:
    """Say before hours are spent that this machine's processor is slow at the precision that the grid asks for."""
    from experiments.planning.expansion import final_runs
    from experiments.runs.precision import slow_precision

    advice = slow_precision(run.config for run in final_runs(grid)) if isinstance(engine, LocalEngine) else None
    if advice:
        console.print(f"[yellow]{escape(advice)}[/yellow]", soft_wrap=True)


def require_writable(folder: Path) -> None:
    """Make a folder where it is missing and write to it once, before hours are spent.

    Raises:
        ExperimentError: where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise ExperimentError(f"{folder} cannot be written ({reason}); choose another folder with --results") from error


def status(grid: Grid, results: Path, console: Console) -> None:
    """Print how far the grid is."""
    from experiments.making.status import print_status
    from experiments.runs.finished import refuse_other_files

    refuse_other_files(grid, results)
    print_status(grid, results, console)


def report(
    grid: Grid, results: Path, console: Console, *, everything: bool = False, spreadsheets: bool = False
) -> None:
    """Rewrite a person's own tables from local and committed records, and print the result table.

    With ``everything`` figures and further formats are written too, with ``spreadsheets`` copies for spreadsheets.

    Only one command at a time does: another one would take the first one's half-written files for left-overs.
    """
    from experiments.reporting.grid_report import report_grid
    from experiments.runs.finished import refuse_other_files
    from experiments.runs.locks import one_at_a_time

    refuse_other_files(grid, results)
    with one_at_a_time(results):
        report_grid(grid, results, console, everything=everything, spreadsheets=spreadsheets)


def publish(grid: Grid, results: Path, console: Console) -> None:
    """Check a person's own tables and put them in place of the committed ones."""
    from experiments.reporting.grid_report import publish_grid
    from experiments.runs.locks import one_at_a_time

    with one_at_a_time(results):
        publish_grid(grid, results, console)


def clean(grid: Grid, results: Path, console: Console) -> None:
    """Remove the checkpoints of the grid's runs that are not being made; records, tables and curves stay."""
    from experiments.runs.files import WRITTEN
    from experiments.runs.locks import is_locked

    runs = runs_folder(results, grid.name, grid.corpus)
    found = [below(runs, *path.relative_to(runs).parts) for path in runs.glob("*/*/*/*.ckpt")]
    checkpoints = [path for path in found if WRITTEN.fullmatch(path.name) and not is_locked(path.parent)]
    size = sum(path.stat().st_size for path in checkpoints)
    for path in checkpoints:
        path.unlink()
    console.print(f"removed {len(checkpoints)} checkpoint(s), {size / 2**20:.1f} MiB", highlight=False)


if __name__ == "__main__":
    main()
