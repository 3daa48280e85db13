"""Look inside: every probe of a network by depth, at initialisation, after some training, or of a trained run.

    python -m experiments.probe pre_ln post_ln plain --layers 12
    python -m experiments.probe pre_ln plain --layers 12 --model.width 128 --steps 100
    python -m experiments.probe --run results/runs/quick/docstrings/pre_ln/default/seed_0

Each prints a table per network (signal, rank, attention, Jacobians, gradients against depth) and writes all depths as
CSV, with a figure of small panels, to ``results/probe/<corpus>/<networks>/<settings>``. ``--probes.rows`` sets the
training rows measured on, ``--probes.every_n_steps`` adds snapshots between the first and the last to the CSV.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from experiments.errors import ExperimentError, readable_errors
from experiments.paths import RESULTS, tables_folder
from experiments.planning.names import flatten, merge, reject_unknown
from experiments.planning.parser import StrictParser, add_sections, given_options, validated_sections
from experiments.planning.run_config import RunConfig
from experiments.planning.saved_runs import run_folder, run_names
from experiments.runs.naming import cell_name, path_safe
from lightning_modules.schemes.variants import VARIANTS

if TYPE_CHECKING:
    from experiments.probing.snapshots import Snapshot


def main(arguments: Sequence[str] | None = None) -> None:
    """Probe variants or runs; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(sys.argv[1:] if arguments is None else arguments)
        variants, runs, steps = parsed.get("variants") or [], parsed.get("run") or [], parsed.get("steps", 0)
        check(variants, runs, steps, given_options(parsed))
        console = Console(force_jupyter=False)
        if runs:
            snapshots, cell = probe_runs(runs, RunConfig(**validated_sections(given_options(parsed)))), "default"
        else:
            snapshots, cell = probe_variants(variants, parsed, steps, console)
        name = path_safe("+".join(dict.fromkeys(snapshot.name for snapshot in snapshots)))
        corpus_folder = tables_folder(Path(parsed.get("results", RESULTS)), "probe", snapshots[0].corpus)
        write(snapshots, corpus_folder / name / cell, console)


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options that stand on the command line."""
    parser = StrictParser(prog="python -m experiments.probe", description=__doc__)
    parser.add_argument("variants", type=str, nargs="*", help="variants to look into, side by side")
    parser.add_argument("--run", type=str, action="append", help="run folder with a checkpoint; may be repeated")
    parser.add_argument("--steps", type=int, help="optimiser steps to train before the last snapshot (default: 0)")
    parser.add_argument("--layers", type=int, help="short for --model.layers")
    parser.add_argument("--seed", type=int, help="seed of initialisation, dropout and batch order (default: 0)")
    parser.add_argument("--results", type=str, help="folder of run folders and tables (default: results)")
    add_sections(parser, without=frozenset({"variant", "stage"}))
    parsed = parser.parse_args(list(arguments), defaults=False)
    if "layers" in parsed:
        if "model.layers" in parsed:
            raise ExperimentError("give either --layers or --model.layers")
        parsed["model.layers"] = parsed.pop("layers")
    return parsed


def check(variants: Sequence[str], runs: Sequence[str], steps: int, options: dict[str, dict[str, object]]) -> None:
    """Raise :class:`ExperimentError` where the options do not fit together, before anything is loaded."""
    if bool(variants) == bool(runs):
        raise ExperimentError("give either variants, such as `pre_ln plain`, or --run (once or more)")
    for variant in variants:
        reject_unknown("variant", variant, VARIANTS)
    if steps < 0:
        raise ExperimentError(f"--steps is {steps}; it cannot be negative")
    if steps and dict(flatten(options)).get("model.compile"):
        raise ExperimentError("--steps probes blocks that model.compile translates as a whole; leave out one of them")
    fixed = [name for name, _ in flatten(options) if name != "probes.rows"]
    if runs and (fixed or steps):
        raise ExperimentError(f"{f'--{fixed[0]}' if fixed else '--steps'} belongs to variants; a run has its settings")


def probe_variants(
    variants: Sequence[str], parsed: Namespace, steps: int, console: Console
) -> tuple[list[Snapshot], str]:
    """Return the snapshots of every variant under the same settings, and the name of these settings."""
    options, seed = given_options(parsed), parsed.get("seed", 0)
    configs = [
        RunConfig(**validated_sections(merge(options, {"model": {"variant": variant}}))).with_seed(seed)
        for variant in dict.fromkeys(variants)
    ]
    from experiments.probing.snapshots import probe_variant

    snapshots: list[Snapshot] = []
    for config in configs:
        with Console(stderr=True).status(f"probing {config.model.variant}"):
            found, note = probe_variant(config, steps)
        snapshots += found
        if note:
            console.print(f"[yellow]{note}[/yellow]", soft_wrap=True)
    named = {name: value for name, value in flatten(options) if name not in ("data.corpus", "data.cache_dir")}
    named |= {"steps": steps} if steps else {}
    named |= {"seed": seed} if seed else {}
    return snapshots, cell_name(named, {}, "final")


def probe_runs(names: Sequence[str], config: RunConfig) -> list[Snapshot]:
    """Return a snapshot of every run folder.

    Raises:
        ExperimentError: where one is none, or their corpora differ.
    """
    folders = list(dict.fromkeys(run_folder(name) for name in names))
    from experiments.probing.snapshots import probe_run

    with Console(stderr=True).status("probing"):
        snapshots = [
            probe_run(folder, config.probes.rows, name)
            for folder, name in zip(folders, run_names(folders), strict=True)
        ]
    for snapshot in snapshots:
        if snapshot.corpus != snapshots[0].corpus:
            raise ExperimentError(f"the runs are of different corpora, {snapshots[0].corpus} and {snapshot.corpus}")
    return snapshots


def write(snapshots: Sequence[Snapshot], folder: Path, console: Console) -> None:
    """Print a table per network, of its last snapshot, and write all snapshots as CSV and figure."""
    import matplotlib

    from experiments.probing.figure import depth_figure
    from experiments.probing.tables import as_csv, terminal_table
    from experiments.reporting.style import save_png, settings
    from experiments.runs.files import write_atomically

    for name in dict.fromkeys(snapshot.name for snapshot in snapshots):
        console.print(terminal_table([snapshot for snapshot in snapshots if snapshot.name == name][-1]))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "probes.csv", as_csv(snapshots).encode())
    with matplotlib.rc_context(settings()):
        save_png(depth_figure(snapshots), folder / "probes.png")
    console.print(f"wrote {folder}: probes.csv, probes.png", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
