"""Residual and normalisation schemes: what there is, where it comes from, and what a network of it has.

    python -m experiments.variants list --family gates --status verified
    python -m experiments.variants show deepnorm
    python -m experiments.variants compose pre_ln rms_norm hyper_connections --site output=layer_scale
    python -m experiments.variants check my_scheme.py
    python -m experiments.variants table > docs/schemes.md

``list`` names variants: family, year, arXiv id, status, time and memory over Pre-LN's, and the formula of a sublayer;
``--counts`` adds norms, skips and parameters. ``show`` describes variants in full, with a diagram. ``compose`` puts
the changes of several variants into one, or says why this is impossible; ``--write`` makes a scheme file of it.
``check`` looks for faults in a person's own file. ``table`` prints the page of all schemes.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.variants")

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError, readable_errors
from experiments.planning.names import reject_unknown
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes
from experiments.planning.yaml_files import read_yaml
from experiments.scheme_cards import card, counts_of, family, memory_of, page, status, time_of
from experiments.scheme_checks import PROPERTIES, Fault, run_checks
from lightning_modules.schemes.composing import compose, source_of
from lightning_modules.schemes.families import FAMILIES
from lightning_modules.schemes.open_schemes import OPEN_SCHEMES
from lightning_modules.schemes.variants import TIME, VARIANTS, Part, Variant, register, use

VERBS = ("list", "show", "compose", "check", "table")
STATUSES = ("verified", "unverified", "own", "open")
COMPOSED = ("base", "takes", "name", "norm", "residual", "attention", "sites", "recipes")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was asked for; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = command_line().parse_args(take_schemes(sys.argv[1:] if arguments is None else arguments))
        needs = parsed.verb in ("show", "check") or (parsed.verb == "compose" and not parsed.file)
        if bool(parsed.names) != needs:
            raise ExperimentError(
                "name variants after `show`, such as `show deepnorm`, and after nothing else but `compose` and `check`"
            )
        match parsed.verb:
            case "list":
                print(listing(parsed.family, parsed.status, parsed.since, causal=parsed.causal, counts=parsed.counts))
            case "show":
                for name in parsed.names:
                    reject_unknown("variant", name, VARIANTS)
                print("\n\n".join(card(VARIANTS[name]) for name in parsed.names))
            case "compose":
                print_composition(composed(parsed), parsed.write)
            case "check":
                faultless = [print_findings(Path(name)) for name in parsed.names]  # all of them, whatever is found
                if not all(faultless):
                    raise SystemExit(1)
            case "table":
                print(page(), end="")


def command_line() -> StrictParser:
    """Return the parser of all verbs."""
    parser = StrictParser(prog="python -m experiments.variants", description=__doc__)
    parser.add_argument("verb", choices=VERBS, help="what to do")
    parser.add_argument("names", type=str, nargs="*", metavar="NAME", help="what `show`, `compose` or `check` is about")
    parser.add_argument("--family", type=str, default="", help="list: only this family, such as gates")
    parser.add_argument("--status", type=str, default="", help=f"list: only {', '.join(STATUSES)}")
    parser.add_argument("--since", type=int, default=0, help="list: only what was published in this year or later")
    parser.add_argument("--causal", action="store_true", help="list: only what a causal language model may use")
    parser.add_argument("--counts", action="store_true", help="list: norms, skips and added parameters too (seconds)")
    parser.add_argument("--file", type=str, default="", help="compose: a YAML file with " + ", ".join(COMPOSED))
    parser.add_argument("--name", type=str, default="composed", help="compose: name of the composition")
    for slot in ("norm", "residual", "attention"):
        parser.add_argument(f"--{slot}", type=str, default="", help=f"compose: name of the {slot}")
    parser.add_argument(
        "--site", type=str, action="append", default=[], help="compose: SITE=OP+OP, ops to add; SITE= empties the site"
    )
    parser.add_argument("--recipe", type=str, action="append", default=[], help="compose: a further recipe")
    parser.add_argument("--write", type=str, default="", help="compose: write a scheme file for --schemes here")
    add_schemes_option(parser)
    return parser


def listing(wanted: str = "", kind: str = "", since: int = 0, *, causal: bool = False, counts: bool = False) -> str:
    """Return a line per variant: name, family, year, arXiv id, status, costs, counts if asked for, and formula."""
    if wanted:
        reject_unknown("family", wanted, sorted({name.replace("_", " ") for name in FAMILIES.values()}))
    if kind:
        reject_unknown("status", kind, STATUSES)
    if kind == "open":
        return "\n".join(f"{scheme.title}  {scheme.source}  {scheme.why}" for scheme in OPEN_SCHEMES)
    rows = []
    for name, variant in VARIANTS.items():
        if (wanted and family(variant) != wanted) or (kind and status(variant) != kind):
            continue
        if (variant.year or 0) < since or (causal and TIME in variant.mixes):
            continue
        counted = [f"{what}: {number}" for what, number in counts_of(variant).items()] if counts else []
        about = [name, family(variant), str(variant.year or "-"), variant.arxiv or "-", status(variant)]
        costs = [f"time {time_of(variant) or '-'}", f"memory {memory_of(variant) or '-'}"]
        cells = [*about, *costs, *counted]
        rows.append([*cells, variant.formula])
    if not rows:
        raise ExperimentError("no variant is like that; leave out a filter")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]) for row in rows)


def composed(parsed: Any) -> Variant:
    """Return the composition that a command line, or the YAML file that it names, asks for."""
    content: Mapping[str, Any] = read_yaml(Path(parsed.file)) if parsed.file else {}
    for key in content:
        reject_unknown("key of a composition", key, COMPOSED)
    base, takes = str(content.get("base", "")), [str(name) for name in content.get("takes") or ()]
    if parsed.names:
        base, takes = parsed.names[0], parsed.names[1:]
    if not base:
        raise ExperimentError("a composition needs a base, such as pre_ln")
    sites: dict[str, list[Part]] = {
        str(site): [part_of(op) for op in (ops if isinstance(ops, list) else [ops])]
        for site, ops in (content.get("sites") or {}).items()
    }
    for text in parsed.site:
        site, equals, ops = text.partition("=")
        if not equals:
            raise ExperimentError(f"--site {text} names no op; write it as --site output=layer_scale")
        sites[site] = [op for op in ops.split("+") if op]
    slots = {slot: getattr(parsed, slot) or content.get(slot) for slot in ("norm", "residual", "attention")}
    name = str(content.get("name", parsed.name))
    recipes = [*(str(recipe) for recipe in content.get("recipes") or ()), *parsed.recipe]
    given = {slot: part_of(value) for slot, value in slots.items() if value}
    return compose(base, takes, name=name, sites=sites, recipes=recipes, **given)


def part_of(value: Any) -> Part:
    """Return the part that YAML names: a name, or one name with options, such as ``{drop_path: {rate: 0.2}}``."""
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise ExperimentError("an op with options is one name with a mapping, such as {drop_path: {rate: 0.2}}")
        ((name, options),) = value.items()
        return use(str(name), **(options or {}))
    return str(value)


def print_composition(variant: Variant, path: str) -> None:
    """Try a composition, describe it, and write it if a path is given."""
    known = dict(VARIANTS)
    register(variant)
    try:
        for title in ("builds and keeps the shape", "has no dead site", "trains every parameter"):
            try:
                PROPERTIES[title](variant.name)
            except (Fault, RuntimeError, AttributeError, TypeError, IndexError) as error:
                raise ExperimentError(f"this composition makes no sense: {error}") from error
        print(card(variant))
    finally:
        VARIANTS.clear()
        VARIANTS.update(known)
    if path:
        if Path(path).exists():
            raise ExperimentError(f"{path} is there already; name a new file")
        Path(path).write_text(source_of(variant), encoding="utf-8")
        print(f"\nwritten to {path}: use it with --schemes {path} --model.variant {variant.name}")


def print_findings(path: Path) -> bool:
    """Check a scheme file, print a line per variant and property, and tell whether there was no fault."""
    began, faults = time.monotonic(), 0
    for variant, title, fault in run_checks(path):
        faults += bool(fault)
        print(f"{'FAULT' if fault else 'ok':5}  {variant or path}  {title}{': ' + fault if fault else ''}", flush=True)
    print(f"{faults or 'no'} fault{'' if faults == 1 else 's'} in {path} after {time.monotonic() - began:.0f} s")
    return not faults


if __name__ == "__main__":
    main()
