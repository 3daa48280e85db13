"""Plan, run, watch and report an ablation: every condition of a grid under one protocol.

    python -m experiments.ablation plan|run|status|watch|report|across|rank|publish|clean GRID [--seeds N] [--model.…]
    python -m experiments.ablation answer --budget 30m [--data.… --model.layers N]

``answer`` needs no grid: it measures a step on the corpus, plans what the time allows, runs it and writes one page.
``plan`` prints every run that would be made. ``run`` makes the missing ones in parallel and reports. ``status`` says
what is finished, running or missing. ``watch`` shows curves in TensorBoard under short names. ``report`` rewrites
tables from the records alone, and ``clean`` removes checkpoints. Tables go to ``results/local/<grid>/<corpus>``; with
``--all`` figures and further formats go there too. ``across`` writes ``results/local/<grid>/across.md``: every effect
by corpus, pooled, and for a new corpus. ``rank`` compares every condition with Pre-LN, all at once, in
``results/local/ranking/<grid>/<corpus>``. ``publish`` checks tables and puts them in place of the committed ones,
``results/<grid>/<corpus>``, with the ranking in ``results/ranking`` if there is one. GRID is a name from
``experiments/grids`` or a YAML file.
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

from experiments.errors import ExperimentError, readable_errors
from experiments.escaping import for_terminal
from experiments.making.engines import Engine, LocalEngine, add_engine_options, chosen_engine, chosen_workers
from experiments.paths import RESULTS, below, runs_folder
from experiments.planning.grid import Grid
from experiments.planning.parser import (
    PRECISION_HELP,
    StrictParser,
    add_schemes_option,
    add_sections,
    given_options,
    refuse_both_precisions,
    take_schemes,
)

VERBS = ("answer", "plan", "run", "status", "watch", "report", "across", "rank", "publish", "clean")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; mistakes end with one line and status 2, failed runs with status 1."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        console = Console(force_jupyter=False)  # a notebook shows plain text
        results = Path(parsed.get("results", RESULTS))
        if parsed.verb == "answer":
            answer(parsed, results, console)
            return
        grid = load_grid(parsed, console)
        if any(condition.config.start.grid for condition in grid.all_conditions):
            from experiments.planning.started_grids import joined

            grid = joined(grid, results)
        if any(condition.chosen_in for condition in grid.all_conditions):
            from experiments.planning.choices import with_choices

            grid = with_choices(grid, results)
        match parsed.verb:
            case "plan":
                plan(grid, results, chosen_workers(parsed), console)
            case "run":
                keep_committed = parsed.get("keep_committed", False)
                price(grid, results, chosen_workers(parsed), console)
                run(grid, results, chosen_engine(parsed), keep_committed, console, **wanted(parsed))
            case "status":
                status(grid, results, console)
            case "watch":
                from experiments.making.display import watch

                watch(grid, results, console)
            case "report":
                report(grid, results, console, **wanted(parsed))
            case "across":
                across(grid, results, console, everything=parsed.get("all", False))
            case "rank":
                rank(grid, results, console)
            case "publish":
                publish(grid, results, console)
            case "clean":
                clean(grid, results, console)


def parse(arguments: Sequence[str]) -> Namespace:
    """Parse the options that are on the command line."""
    parser = StrictParser(prog="python -m experiments.ablation", description=__doc__)
    parser.add_argument("verb", choices=VERBS, help="what to do")
    parser.add_argument("grid", type=str, nargs="?", help="name of a grid, or a YAML file; `answer` plans its own")
    parser.add_argument("--budget", type=str, help="time that `answer` may take, such as 30m or 2h (default: 30m)")
    parser.add_argument("--conditions", type=list[str], help="only these conditions, such as [pre_ln,post_ln]")
    parser.add_argument(
        "--cells", type=dict[str, Any], help="only these swept values, such as '{model.layers: 6}', a part of the grid"
    )
    parser.add_argument("--seeds", type=int, help="number of seeds of the final runs")
    add_engine_options(parser)
    parser.add_argument("--precision", choices=("auto",), help=PRECISION_HELP)
    parser.add_argument(
        "--all",
        action="store_true",
        help="let `report`, `run`, `answer` draw every figure and write Markdown and LaTeX",
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
    """Return what a report is to write in addition to its usual files."""
    return {"everything": parsed.get("all", False), "spreadsheets": parsed.get("spreadsheet", False)}


def answer(parsed: Namespace, results: Path, console: Console) -> None:
    """Answer which block suits a corpus; the ending of a file of rows names its format if no option does.

    Raises:
        ExperimentError: an option belongs to other verbs.
    """
    from data_modules.config import FILE_FORMATS, file_format_of
    from experiments.answering import answer as answer_for

    for name in ("grid", "conditions", "cells", "seeds", "keep_committed", "precision"):
        if parsed.get(name) not in (None, False):
            raise ExperimentError(
                f"`answer` plans its own grid and takes no {'GRID' if name == 'grid' else f'--{name}'}"
            )
    require_writable(results)
    overrides = given_options(parsed)
    data = overrides.get("data", {})
    if "corpus" not in data and (named := file_format_of(data.get("train_file") or "")) in FILE_FORMATS:
        overrides = {**overrides, "data": {"corpus": named, **data}}
    answer_for(
        parsed.get("budget", "30m"),
        overrides,
        results,
        chosen_engine(parsed),
        chosen_workers(parsed),
        console,
        everything=parsed.get("all", False),
    )


def load_grid(parsed: Namespace, console: Console) -> Grid:
    """Return the grid that the command line asks for, with a measured precision if it asks for one.

    Raises:
        ExperimentError: the precision is both given and to be measured.
    """
    if parsed.get("grid") is None:
        raise ExperimentError(f"`{parsed.verb}` needs a GRID: the name of one in experiments/grids, or a YAML file")
    if "budget" in parsed:
        raise ExperimentError(f"--budget is the time of `answer`; `{parsed.verb}` makes every run of its grid")
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
    from experiments.making.pricing import print_plan

    print_plan(grid, results, workers, console)


def price(grid: Grid, results: Path, workers: int, console: Console) -> None:
    """Print what the missing runs take."""
    from experiments.making.pricing import print_price

    print_price(grid, results, workers, console)


def run(grid: Grid, results: Path, engine: Engine, keep_committed: bool, console: Console, **reported: bool) -> None:
    """Make the missing runs, then report; ``reported`` as for :func:`report`."""
    from experiments.making.grid_runner import run_grid

    require_writable(results)
    warn_if_slow(grid, engine, console)
    with engine:
        failed = run_grid(grid, results, engine, console, keep_committed=keep_committed)
    logs = runs_folder(results, grid.name, grid.corpus)
    curves = f"python -m experiments.ablation watch {grid.arguments}, or tensorboard --logdir {logs}"
    console.print(f"TensorBoard: {curves}", markup=False, highlight=False, soft_wrap=True)
    try:
        report(grid, results, console, **reported)
    except ExperimentError as error:
        if not failed:
            raise
        console.print(f"[yellow]no report: {for_terminal(str(error))}[/yellow]", soft_wrap=True)
    if failed:
        console.print(
            f"[red]{len(failed)} run(s) failed, the first of them {for_terminal(failed[0])}[/red]\n"
            "The traceback is in its folder; the same command makes the missing runs.",
            highlight=False,
            soft_wrap=True,
        )
        raise SystemExit(1)


def warn_if_slow(grid: Grid, engine: Engine, console: Console) -> None:
    """Warn, before hours are spent, that this machine's processor is slow at the precision that the grid asks for."""
    from experiments.planning.expansion import final_runs
    from experiments.runs.precision import slow_precision

    advice = slow_precision(run.config for run in final_runs(grid)) if isinstance(engine, LocalEngine) else None
    if advice:
        console.print(f"[yellow]{for_terminal(advice)}[/yellow]", soft_wrap=True)


def require_writable(folder: Path) -> None:
    """Make a folder if it is missing and write to it once, before hours are spent.

    Raises:
        ExperimentError: if it cannot be written.
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
    from experiments.making.display import print_status
    from experiments.runs.finished import refuse_other_files

    refuse_other_files(grid, results)
    print_status(grid, results, console)


def report(
    grid: Grid, results: Path, console: Console, *, everything: bool = False, spreadsheets: bool = False
) -> None:
    """Rewrite a person's own tables from local and committed records, and print the result table.

    With ``everything`` figures and further formats are written too, with ``spreadsheets`` copies for spreadsheets.

    Only one command does this at a time: a second one would take the half-written files of the first for left-overs.
    """
    from experiments.reporting.grid_report import report_grid
    from experiments.runs.finished import refuse_other_files
    from experiments.runs.run_folder import one_at_a_time

    refuse_other_files(grid, results)
    with one_at_a_time(results):
        report_grid(grid, results, console, everything=everything, spreadsheets=spreadsheets)


def across(grid: Grid, results: Path, console: Console, *, everything: bool = False) -> None:
    """Write what the grid says over all its corpora: effects by corpus, pooled, and for a new corpus."""
    from experiments.reporting.grid_report import across_grid
    from experiments.runs.run_folder import one_at_a_time

    with one_at_a_time(results):
        across_grid(grid, results, console, everything=everything)


def rank(grid: Grid, results: Path, console: Console) -> None:
    """Write the ranking of a grid's conditions against Pre-LN."""
    from experiments.reporting.ranking import write_ranking
    from experiments.runs.run_folder import one_at_a_time

    with one_at_a_time(results):
        for path in write_ranking(grid, results):
            console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def publish(grid: Grid, results: Path, console: Console) -> None:
    """Check a person's own tables and put them in place of the committed ones; rewrite the pages made from those."""
    from experiments.reporting.grid_report import publish_across, publish_grid
    from experiments.reporting.ranking import publish_ranking
    from experiments.runs.run_folder import one_at_a_time

    with one_at_a_time(results):
        publish_grid(grid, results, console)
        publish_across(grid, results, console)
        publish_ranking(grid, results, console)


def clean(grid: Grid, results: Path, console: Console) -> None:
    """Remove the checkpoints of the grid's runs that are not being made; records, tables and curves stay."""
    from experiments.runs.run_folder import WRITTEN, is_locked

    runs = runs_folder(results, grid.name, grid.corpus)
    found = [below(runs, *path.relative_to(runs).parts) for path in runs.glob("*/*/*/*.ckpt")]
    checkpoints = [path for path in found if WRITTEN.fullmatch(path.name) and not is_locked(path.parent)]
    size = sum(path.stat().st_size for path in checkpoints)
    for path in checkpoints:
        path.unlink()
    console.print(f"removed {len(checkpoints)} checkpoint(s), {size / 2**20:.1f} MiB", highlight=False)


if __name__ == "__main__":
    main()
