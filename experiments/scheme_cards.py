"""What a person reads about a scheme: its card with a diagram of a block, and the page of all schemes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import fields
from functools import cache, partial
from typing import Any

from experiments.paths import REPOSITORY
from lightning_modules.schemes.families import FAMILIES
from lightning_modules.schemes.open_schemes import OPEN_SCHEMES
from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.variants import (
    EMBEDDING,
    FINAL,
    HEADS,
    HIDDEN,
    INNER,
    INPUT,
    KEY,
    LOGITS,
    NORM,
    OUTPUT,
    POST,
    QUERY,
    SKIP,
    TOKENS,
    VALUE,
    VARIANTS,
    Use,
    Variant,
    use,
)

LAYERS, WIDTH = 6, 64
DESCRIBED = (
    *("name", "title", "formula", "source", "parent", "also_without"),
    *("unverified", "differs", "published", "published_lacks", "pitfalls", "tune"),
)
"""Fields of a variant that describe it; all others say how it is built."""
BENCHMARK = REPOSITORY / "results" / "benchmark"
TIMES_FILE = "scheme_times.csv"
TIMES_COLUMNS = (
    *("scheme", "relative_time", "smallest", "largest", "rounds", "task"),
    *("date", "cpu", "cores", "load_average", "torch"),
)
MEMORY_FILE = "scheme_memory.csv"
MEMORY_COLUMNS = ("scheme", "relative_memory", "held_bytes", "task", "torch")
RATIOS = {TIMES_FILE: "relative_time", MEMORY_FILE: "relative_memory"}
"""The column of each committed table that says what a scheme costs over Pre-LN."""

INTRODUCTION = f"""\
# Schemes

This page is the output of `python -m experiments.variants table`. `LN` is layer normalisation, `F` the attention or
feed-forward function. Norms, skips and added parameters are counted in a network of {LAYERS} blocks and width {WIDTH}.
Added parameters are all but those of linear maps in `F`, of embeddings and of the head. *Time* is that of a training
step over Pre-LN's, at the conditions below the table. *Memory* is what such a step holds, over what Pre-LN's does.

*Mixes* says what else a token's output depends on: later tokens (`time`), `padding`, or other `rows` of its batch.

*Verified* means three things. The formula and its constants are those of the paper or of its authors' code. The code
equals the formula written by hand, forward and in every gradient. Its start is the published one. What an *unverified*
scheme lacks is in its card. [Open schemes](#open) are not here, since nobody should invent a formula.

The article speaks of global, local and adaptive normalisation and defines none. Here *global* is `global_norm`, over
all features of all tokens of a row. *Local* is `group_norm`, over a part of a token's features. *Adaptive* is
`ada_norm`, whose gain depends on the token.

`article_original` in tables is `post_ln` with the article's own settings. `tfidf_logistic_regression` is scikit-learn's
baseline without a network. To add a scheme, read [add_a_scheme.md](add_a_scheme.md).
"""


@cache
def measured(table: str) -> dict[str, dict[str, str]]:
    """Return the rows of a committed table by scheme, times or memory; none where it is missing or is another."""
    try:
        with (BENCHMARK / table).open(newline="", encoding="utf-8") as file:
            rows = {row["scheme"]: row for row in csv.DictReader(file)}
            return {name: row for name, row in rows.items() if float(row[RATIOS[table]]) > 0}
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError, csv.Error):
        return {}


def time_of(variant: Variant) -> str:
    """Return the time of a training step over Pre-LN's, such as ``1.35``; empty where it is not measured."""
    return over_pre_ln(variant, TIMES_FILE)


def memory_of(variant: Variant) -> str:
    """Return the memory of a training step over Pre-LN's, such as ``1.35``; empty where it is not measured."""
    return over_pre_ln(variant, MEMORY_FILE)


def over_pre_ln(variant: Variant, table: str) -> str:
    """Return what a committed table says of a scheme of the lab; a person's own may bear the name of another."""
    row = measured(table).get(variant.name)
    return "" if row is None or variant.name not in FAMILIES else f"{float(row[RATIOS[table]]):.2f}"


def conditions_of_costs() -> str:
    """Say at which conditions times and memory were measured; nothing without tables."""
    said = []
    for row in list(measured(TIMES_FILE).values())[:1]:
        said.append(
            f"*Time*: {row['task']}. Each is the median of {row['rounds']} rounds, in which Pre-LN and the scheme take "
            f"turns. Seconds are the processor's: torch {row['torch']}, {row['cpu']}, load average "
            f"{row['load_average']}. Measured by `python -m experiments.benchmark --schemes []`."
        )
    for row in list(measured(MEMORY_FILE).values())[:1]:
        said.append(
            f"*Memory*: {row['task']}. Counted are the bytes held when the forward pass ends: weights, gradients, "
            "AdamW's moments, and what autograd saved. Inner memory of single operators is no part of it. "
            f"Counted by `python -m experiments.benchmark --scheme_memory []` with torch {row['torch']}."
        )
    return "\n\n".join(said)


def status(variant: Variant) -> str:
    """Return ``verified`` or ``unverified``; a scheme of a person's own file is ``own``."""
    if variant.name not in FAMILIES:
        return "own"
    return "unverified" if variant.unverified else "verified"


def family(variant: Variant) -> str:
    """Return the family in words."""
    return FAMILIES.get(variant.name, "own").replace("_", " ")


def card(variant: Variant) -> str:
    """Return all about one variant: a line per field, then the diagram of its blocks."""
    told = [name for name in DESCRIBED if getattr(variant, name) and name not in ("published", "published_lacks")]
    lines: dict[str, Any] = {name: getattr(variant, name) for name in told}
    lines |= {"published form": published_form(variant)}
    lines |= {"family": family(variant), "year": variant.year or "", "arXiv": variant.arxiv, "status": status(variant)}
    lines |= {name.replace("_", " "): text for name, text in differences(variant)}
    lines |= {"options": "; ".join(f"{name}: {spelled(value)}" for name, value in variant.options.items())}
    lines |= counts_of(variant)
    lines |= {"time over pre_ln": time_of(variant), "memory over pre_ln": memory_of(variant)}
    text = "\n".join(f"{name:17} {spelled(value)}" for name, value in lines.items() if value != "")
    return f"{text}\n\n{diagram(variant)}"


def published_form(variant: Variant) -> str:
    """Say what ``--model.form published`` sets, and what it still lacks; empty for a scheme without one."""
    if not variant.published:
        return ""
    words = {"rotary": "rotary positions", "swiglu": "SwiGLU", False: "no biases"}
    named = [words[value] for value in variant.published.values() if value in words]
    if "feed_forward_factor" in variant.published:
        named.append(f"{variant.published['feed_forward_factor']}·D hidden units")
    lacks = f"; it lacks {variant.published_lacks}" if variant.published_lacks else ""
    return f"`--model.form published`: {', '.join(named)}{lacks}"


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
    if isinstance(value, partial):
        return spelled(use(spelled(value.func), **value.keywords))
    return getattr(value, "__name__", str(value))


def diagram(variant: Variant) -> str:
    """Return a text diagram of a variant's blocks with the ops at their sites; one per kind of block."""
    roles = (Role.PARALLEL,) if variant.parallel else (Role.ATTENTION, Role.FEED_FORWARD)
    by_block: dict[str, list[int]] = {}
    for block in range(1, LAYERS + 1):
        lines: list[str] = []
        for number, role in enumerate(roles):
            index = (block - 1) * len(roles) + number
            sublayers = LAYERS * len(roles)
            place = Place(width=WIDTH, index=index, sublayers=sublayers, per_block=len(roles), role=role)
            lines += of_sublayer(variant.at(place), role)
        by_block.setdefault("\n".join(lines), []).append(block)
    text = [f"x = {chain('E[id]', variant, (TOKENS, '+ positions', EMBEDDING))}"]
    for lines_of, blocks in by_block.items():
        where = "every block" if len(blocks) == LAYERS else f"block {blocks[0]}"
        where += f" to {blocks[-1]}" if 1 < len(blocks) < LAYERS else ""
        text += [f"{where}{'' if len(by_block) == 1 else f' of {LAYERS}'}:", lines_of]
    text.append(f"y = {chain('x', variant, (FINAL, 'head', LOGITS))}")
    return "\n".join(text)


def chain(start: str, variant: Variant, steps: tuple[str, ...]) -> str:
    """Return what happens outside the blocks, from left to right."""
    words = [start]
    for step in steps:
        if step in (TOKENS, EMBEDDING, FINAL, LOGITS):
            words += [spelled(op) for op in variant.ops_at(step)]
        else:
            words.append(step)
    return " ─► ".join(words)


def of_sublayer(variant: Variant, role: Role) -> list[str]:
    """Return the two lines of one sublayer: its branch, and its skip."""
    inner = {
        Role.ATTENTION: (QUERY, KEY, VALUE, HEADS, INNER),
        Role.FEED_FORWARD: (HIDDEN, INNER),
        Role.PARALLEL: (),
    }[role]
    within = [f"{site}: {spelled(variant.ops_at(site, role))}" for site in inner if variant.ops_at(site, role)]
    if role is Role.PARALLEL:
        function = f"({_function(variant, Role.ATTENTION)} + {_function(variant, Role.FEED_FORWARD)})"
    else:
        function = _function(variant, role)
    function += f" [{'; '.join(within)}]" if within else ""
    start = "  x ─┬─► "
    before = [spelled(op) for op in variant.ops_at(INPUT, role)]
    after = [spelled(op) for op in variant.ops_at(OUTPUT, role)]
    joined = "(+)" if variant.residual == "identity" else f"({spelled(variant.residual)})"
    branch = " ─► ".join([*before, function, *after])
    ends = " ─► ".join([joined, *(spelled(op) for op in variant.ops_at(POST, role)), "x"])
    skip = spelled(variant.ops_at(SKIP, role)) if variant.ops_at(SKIP, role) else ""
    if variant.residual == "none":
        posts = [spelled(op) for op in variant.ops_at(POST, role)]
        return [f"  x ─► {' ─► '.join([branch, *posts])} ─► x"]
    line = f"{start}{branch} ─► {ends}"
    corner = len(start) + len(branch) + len(" ─► (")
    return [line, f"     └─{f'► {skip} ' if skip else ''}".ljust(corner, "─") + "┘"]


def _function(variant: Variant, role: Role) -> str:
    part = variant.attention if role is Role.ATTENTION else variant.feed_forward
    usual = {"softmax": "attention", "two_layers": "feed-forward"}
    name = usual.get(spelled(part), f"{role.replace('_', '-')} {spelled(part)}")
    if variant.parallel:
        before, after = (own_ops(variant, f"{role}.{site}") for site in (INPUT, OUTPUT))
        name = " ─► ".join([*before, name, *after])
    return name


def own_ops(variant: Variant, key: str) -> list[str]:
    """Return what a site that belongs to one side of a parallel block holds, in words."""
    held = variant.sites.get(key, ())
    ops = held if isinstance(held, tuple) else (held,)
    return [spelled(variant.norm if op == NORM else op) for op in ops]


def counts_of(variant: Variant) -> dict[str, str]:
    """Return norms, skips and added parameters of a network of the variant, as text."""
    import torch
    from torch import nn

    from lightning_modules.network.backbone import build_backbone
    from lightning_modules.network.counting import norms_in, parameters_in, skips_in

    with torch.device("meta"):
        backbone = build_backbone(variant.name, layers=LAYERS, width=WIDTH)
    usual: list[nn.Module] = [part for part in backbone.modules() if isinstance(part, nn.Embedding)]
    usual += [p for _, function in backbone.functions() for p in function.children() if isinstance(p, nn.Linear)]
    added = parameters_in(backbone) - sum(parameters_in(part) for part in usual)
    return {"norms": str(norms_in(backbone)), "skips": str(skips_in(backbone)), "added parameters": f"{added:,}"}


def page() -> str:
    """Return the page of all variants in Markdown: one table, a card per scheme, and the open ones."""
    counts = {name: counts_of(variant) for name, variant in VARIANTS.items()}
    columns = (
        "variant",
        "one sublayer",
        "family",
        "year",
        "norms",
        "skips",
        "added parameters",
        "time",
        "memory",
        "mixes",
        "status",
    )
    rows = [
        (
            f"`{name}`",
            variant.formula,
            family(variant),
            str(variant.year or ""),
            *counts[name].values(),
            time_of(variant),
            memory_of(variant),
            ", ".join(sorted(variant.mixes)),
            status(variant),
        )
        for name, variant in VARIANTS.items()
    ]
    unsure = sum(row[-1] == "unverified" for row in rows)
    lines = [INTRODUCTION, f"{len(rows) - unsure} variants are verified, {unsure} are not, and "]
    lines[-1] += f"{len(OPEN_SCHEMES)} schemes are open.\n"
    lines += [*markdown_table(columns, rows), "", conditions_of_costs()]
    for name, variant in VARIANTS.items():
        lines += ["", f"## {name}", "", f"**{variant.title}.** {variant.source}.", ""]
        how = "\n".join(f"{field.replace('_', ' ')}: {text}" for field, text in differences(variant))
        parent = f"from {variant.parent}:\n" if variant.parent else ""
        lines += ["```text", diagram(variant), "", f"{parent}{how}", "```"]
        told = [f"- {what}: {text}" for what, text in card_lines(variant)]
        lines += ["", *told] if told else []
    lines += ["", "## Open", "", "These are published, and what could be read does not say how to build them.", ""]
    lines += markdown_table(("scheme", "source", "missing"), [(s.title, s.source, s.why) for s in OPEN_SCHEMES])
    return "\n".join([*lines, ""])


def card_lines(variant: Variant) -> Iterator[tuple[str, str]]:
    """Yield what a card of the page says below its diagram."""
    if variant.options:
        yield "options", ", ".join(f"`{name}` ({spelled(value)})" for name, value in variant.options.items())
    told = {"unverified": "unverified", "differs": "not as published", "pitfalls": "pitfalls", "tune": "tune"}
    for field, what in told.items():
        if getattr(variant, field):
            yield what, getattr(variant, field)
        if field == "differs" and variant.published:
            yield "published form", published_form(variant)


def markdown_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table."""
    table = [columns, ("---",) * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
