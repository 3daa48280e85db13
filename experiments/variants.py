"""Residual and normalisation schemes: what there is, where it comes from, and what a network of it has.

    python -m experiments.variants list
    python -m experiments.variants show deepnorm
    python -m experiments.variants table > docs/schemes.md

``list`` names every variant with the formula of a sublayer. ``show`` says all about some, and how they differ from
their parent. ``table`` prints the page of all of them, with norms, skips and parameters counted in built networks.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.variants")

import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from experiments.errors import ExperimentError, readable_errors
from experiments.planning.names import reject_unknown
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes
from lightning_modules.schemes.variants import VARIANTS, Use, Variant

VERBS = ("list", "show", "table")
LAYERS, WIDTH = 6, 64
DESCRIBED = ("name", "title", "formula", "source", "parent", "also_without")
"""Fields of a variant that describe it; all others say how it is built."""

INTRODUCTION = f"""\
# Schemes

This page is the output of `python -m experiments.variants table`. `LN` is layer normalisation, `F` the attention or
feed-forward function. Norms, skips and added parameters are counted in a network of {LAYERS} blocks and width {WIDTH}.
Added parameters are all but those of linear maps in `F`, of embeddings and of the head.
*Mixes* says what else a token's output depends on: later tokens (`time`), `padding`, or other `rows` of its batch.

`article_original` in tables is `post_ln` with the article's own settings. `tfidf_logistic_regression` is scikit-learn's
baseline without a network. To add a scheme, read [add_a_scheme.md](add_a_scheme.md).
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was asked for; mistakes end with one line and status 2."""
    with readable_errors():
        parser = StrictParser(prog="python -m experiments.variants", description=__doc__)
        parser.add_argument("verb", choices=VERBS, help="what to print")
        parser.add_argument("names", type=str, nargs="*", metavar="NAME", help="variants that `show` describes")
        add_schemes_option(parser)
        parsed = parser.parse_args(take_schemes(sys.argv[1:] if arguments is None else arguments))
        if bool(parsed.names) != (parsed.verb == "show"):
            raise ExperimentError("name variants after `show`, such as `show deepnorm`, and after nothing else")
        for name in parsed.names:
            reject_unknown("variant", name, VARIANTS)
        match parsed.verb:
            case "list":
                print(listing())
            case "show":
                print("\n\n".join(description(VARIANTS[name]) for name in parsed.names))
            case "table":
                print(page(), end="")


def listing() -> str:
    """Return a line per variant: its name, and the formula of a sublayer."""
    width = max(map(len, VARIANTS))
    return "\n".join(f"{name:{width}}  {variant.formula}" for name, variant in VARIANTS.items())


def description(variant: Variant) -> str:
    """Return all about one variant, a line per field."""
    lines = {name: getattr(variant, name) for name in DESCRIBED if getattr(variant, name)}
    lines |= {name.replace("_", " "): text for name, text in differences(variant)}
    lines |= counts_of(variant)
    return "\n".join(f"{name:17} {spelled(value)}" for name, value in lines.items())


def differences(variant: Variant) -> Iterator[tuple[str, str]]:
    """Yield name and value of every field in which a variant is built differently from its parent."""
    parent = VARIANTS.get(variant.parent or "")
    for field in fields(Variant):
        value = getattr(variant, field.name)
        if field.name in DESCRIBED or (parent is not None and value == getattr(parent, field.name)):
            continue
        if parent is not None or field.name == "sites":
            yield field.name, spelled(value)


def spelled(value: Any) -> str:
    """Return a field's value as a reader would write it."""
    if isinstance(value, Use):
        return f"{value.name}({', '.join(f'{name}={spelled(option)}' for name, option in value.options)})"
    if isinstance(value, dict):
        return "; ".join(f"{name}: {spelled(ops)}" for name, ops in sorted(value.items())) or "none"
    if isinstance(value, tuple | frozenset):
        return ", ".join(map(spelled, sorted(value) if isinstance(value, frozenset) else value)) or "none"
    return getattr(value, "__name__", str(value))


def counts_of(variant: Variant) -> dict[str, str]:
    """Return norms, skips and added parameters of a network of the variant, as text."""
    import torch
    from torch import nn

    from lightning_modules.network.backbone import build_backbone
    from lightning_modules.network.sites import Norm
    from lightning_modules.network.sublayer import Residual

    with torch.device("meta"):
        backbone = build_backbone(variant.name, layers=LAYERS, width=WIDTH)
    modules = list(backbone.modules())
    usual: list[nn.Module] = [part for part in modules if isinstance(part, nn.Embedding)]
    usual += [p for _, function in backbone.functions() for p in function.children() if isinstance(p, nn.Linear)]
    added = sum(parameter.numel() for parameter in backbone.parameters())
    added -= sum(parameter.numel() for part in usual for parameter in part.parameters())
    return {
        "norms": str(sum(isinstance(part, Norm) for part in modules)),
        "skips": str(sum(part.skips for part in modules if isinstance(part, Residual))),
        "added parameters": f"{added:,}",
    }


def page() -> str:
    """Return the page of all variants in Markdown."""
    columns = ("variant", "one sublayer", "norms", "skips", "added parameters", "mixes", "source")
    rows = [
        (
            f"`{name}`",
            variant.formula,
            *counts_of(variant).values(),
            ", ".join(sorted(variant.mixes)),
            variant.source,
        )
        for name, variant in VARIANTS.items()
    ]
    table = [columns, ("---",) * len(columns), *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    how = [
        (f"- `{name}` from `{variant.parent}`: " if variant.parent else f"- `{name}`: ")
        + ". ".join(f"{field.replace('_', ' ')}: {text}" for field, text in differences(variant))
        for name, variant in VARIANTS.items()
    ]
    return "\n".join([INTRODUCTION, *lines, "", "## How each is built", "", *how, ""])


if __name__ == "__main__":
    main()
