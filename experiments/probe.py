"""Look inside: every probe of a network by depth, at initialisation, after some training, or of a trained run.

    python -m experiments.probe pre_ln post_ln plain --layers 12
    python -m experiments.probe pre_ln plain --layers 12 --model.width 128 --steps 100
    python -m experiments.probe --run results/runs/quick/docstrings/pre_ln/default/seed_0

Each prints a table per network: signal, rank, attention, Jacobians and gradients against depth. Each writes all depths
as CSV, with a figure of small panels, to ``results/probe/<corpus>/<networks>/<settings>``. ``--probes.rows`` sets the
number of training rows to measure on; ``--probes.every_n_steps`` adds profiles between the first and the last to the
CSV.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.probe")

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from experiments.errors import ExperimentError, readable_errors
from experiments.paths import RESULTS, below, tables_folder
from experiments.planning.names import flatten, merge, reject_unknown
from experiments.planning.parser import (
    StrictParser,
    add_schemes_option,
    add_sections,
    given_options,
    take_schemes,
    validated_sections,
)
from experiments.planning.run_config import RunConfig
from experiments.planning.saved_runs import run_folder, run_names
from experiments.runs.naming import cell_name, path_safe
from lightning_modules.schemes.variants import VARIANTS

if TYPE_CHECKING:
    from experiments.studies.depth_profile import DepthProfile


def main(arguments: Sequence[str] | None = None) -> None:
    """Probe variants or runs; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        variants, runs, steps = parsed.get("variants") or [], parsed.get("run") or [], parsed.get("steps", 0)
        check(variants, runs, steps, given_options(parsed))
        console = Console(force_jupyter=False)
        if runs:
            profiles, cell = probe_runs(runs, RunConfig(**validated_sections(given_options(parsed)))), "default"
        else:
            profiles, cell = probe_variants(variants, parsed, steps, console)
        name = path_safe("+".join(dict.fromkeys(profile.name for profile in profiles)))
        corpus_folder = tables_folder(Path(parsed.get("results", RESULTS)), "probe", profiles[0].corpus)
        write(profiles, below(corpus_folder, name, cell), console)


def parse(arguments: Sequence[str]) -> Namespace:
    """Parse the options that are on the command line."""
    parser = StrictParser(prog="python -m experiments.probe", description=__doc__)
    parser.add_argument("variants", type=str, nargs="*", help="variants to look into, side by side")
    parser.add_argument("--run", type=str, action="append", help="run folder with a checkpoint; may be repeated")
    parser.add_argument("--steps", type=int, help="optimiser steps to train before the last profile (default: 0)")
    parser.add_argument("--layers", type=int, help="short for --model.layers")
    parser.add_argument("--seed", type=int, help="seed of initialisation, dropout and batch order (default: 0)")
    parser.add_argument("--results", type=str, help="folder of run folders and tables (default: results)")
    add_schemes_option(parser)
    add_sections(parser, without=frozenset({"variant", "stage"}))
    parsed = parser.parse_args(list(arguments), defaults=False)
    if "layers" in parsed:
        if "model.layers" in parsed:
            raise ExperimentError("give either --layers or --model.layers")
        parsed["model.layers"] = parsed.pop("layers")
    return parsed


def check(variants: Sequence[str], runs: Sequence[str], steps: int, options: dict[str, dict[str, object]]) -> None:
    """Refuse options that do not fit together, before anything is loaded."""
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
) -> tuple[list[DepthProfile], str]:
    """Measure every variant under the same settings; return the profiles and the name of these settings."""
    options, seed = given_options(parsed), parsed.get("seed", 0)
    configs = [
        RunConfig(**validated_sections(merge(options, {"model": {"variant": variant}}))).with_seed(seed)
        for variant in dict.fromkeys(variants)
    ]
    from experiments.studies.depth_profile import probe_variant

    profiles: list[DepthProfile] = []
    for config in configs:
        with Console(stderr=True).status(f"probing {config.model.variant}"):
            found, note = probe_variant(config, steps)
        profiles += found
        if note:
            console.print(f"[yellow]{note}[/yellow]", soft_wrap=True)
    named = {name: value for name, value in flatten(options) if name not in ("data.corpus", "data.cache_dir")}
    named |= {"steps": steps} if steps else {}
    named |= {"seed": seed} if seed else {}
    return profiles, cell_name(named, {}, "final")


def probe_runs(names: Sequence[str], config: RunConfig) -> list[DepthProfile]:
    """Measure every run folder.

    Raises:
        ExperimentError: if one is no run folder, or their corpora differ.
    """
    folders = list(dict.fromkeys(run_folder(name) for name in names))
    from experiments.studies.depth_profile import probe_run

    with Console(stderr=True).status("probing"):
        profiles = [
            probe_run(folder, config.probes.rows, name)
            for folder, name in zip(folders, run_names(folders), strict=True)
        ]
    for profile in profiles:
        if profile.corpus != profiles[0].corpus:
            raise ExperimentError(f"the runs are of different corpora, {profiles[0].corpus} and {profile.corpus}")
    return profiles


def write(profiles: Sequence[DepthProfile], folder: Path, console: Console) -> None:
    """Print a table per network, of its last profile, and write all profiles as CSV and figure."""
    import matplotlib

    from experiments.reporting.style import save_picture, settings
    from experiments.runs.run_folder import write_atomically
    from experiments.studies.depth_profile import as_csv, depth_figure, terminal_table

    for name in dict.fromkeys(profile.name for profile in profiles):
        console.print(terminal_table([profile for profile in profiles if profile.name == name][-1]))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "probes.csv", as_csv(profiles).encode())
    with matplotlib.rc_context(settings()):
        save_picture(depth_figure(profiles), folder / "probes.png")
    console.print(f"wrote {folder}: probes.csv, probes.png", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
