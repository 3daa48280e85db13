"""Fill the tables of the pages from the committed results: `python -m docs.tables`.

A page asks for a table by a comment, `<!-- table: NAME ARGUMENTS -->`, and for other lines by `<!-- lines: … -->`. What
follows to the next empty line is filled in. `NAME` is a function of this module, and its arguments are words.
`tests/test_docs.py` fails where a page differs from what its comments ask for.
"""

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from docs.answer_words import at_my_size, how_sure, lost, tuned_start, which_block
from docs.committed import EFFECTS, REPOSITORY, RESULTS, committed, estimate, linked, span

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), RESULTS / "README.md"], key=str)
MARKER = re.compile(r"<!-- (table|lines): (.*?) -->\n(?:.+\n)*")

# What is added, and between which two conditions of the grid `claims` it is measured.
PARTS = {
    "skips, norms after the add": ("post_ln", "no_residual"),
    "skips, norms before the sublayer": ("pre_ln", "no_residual_pre"),
    "skips, no norms": ("no_norm", "plain_gain"),
    "norms after the add, with skips": ("post_ln", "no_norm"),
    "norms before the sublayer, with skips": ("pre_ln", "no_norm"),
    "norms after the sublayer, no skips": ("no_residual", "plain_gain"),
    "norms before the sublayer, no skips": ("no_residual_pre", "plain_gain"),
    "both, Post-LN": ("post_ln", "plain_gain"),
    "both, Pre-LN": ("pre_ln", "plain_gain"),
    "Pre-LN instead of Post-LN": ("pre_ln", "post_ln"),
    "Pre-LN blocks over none": ("pre_ln", "bag_of_embeddings"),
}
ACROSS = "claims/across.csv"


def ablation(folder: str) -> list[list[str]]:
    """Scores of one grid and corpus, with the norms and skips that each built model has."""
    head = ["variant", "norms", "skips", "macro F1", "accuracy", "trained"]
    rows = [
        [
            f"`{row['variant']}`",
            row["norms"],
            row["skips"],
            with_spread(row, "macro_f1"),
            with_spread(row, "accuracy"),
            f"{row['trained']} of {row['seeds']}",
        ]
        for row in committed(f"{folder}/summary.csv")
    ]
    return [head, *rows]


def corpora(grid: str) -> list[list[str]]:
    """Macro F1 of every variant on every corpus that a grid was run on; failed runs are counted."""
    tables = {
        path.parent.name: {row["variant"]: row for row in committed(f"{grid}/{path.parent.name}/summary.csv")}
        for path in sorted(RESULTS.glob(f"{grid}/*/summary.csv"))
    }
    first = next(iter(tables.values()))
    head = ["variant", *(linked(corpus, f"{grid}/{corpus}/report.md") for corpus in tables)]
    return [head, *([f"`{name}`", *(with_failures(table[name]) for table in tables.values())] for name in first)]


def per_class(folder: str, variant: str) -> list[list[str]]:
    """The article's table for one variant: every class, then the macro average."""
    names = ("accuracy", "precision", "recall", "f1")
    rows = [row for row in committed(f"{folder}/per_class.csv") if row["variant"] == variant]
    overall = next(row for row in committed(f"{folder}/summary.csv") if row["variant"] == variant)
    averages = [with_spread(overall, name) for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1")]
    averages[0] += " (share of right rows)"
    return [
        ["class", "accuracy (one-vs-rest)", "precision", "recall", "F1"],
        *([row["class"], *(with_spread(row, name) for name in names)] for row in rows),
        ["overall", *averages],
    ]


def parts(*names: str) -> list[list[str]]:
    """Differences of test macro F1 with 95 % intervals over seeds and test rows, on each corpus."""
    head = ["what is added", "difference", *(linked(name, f"claims/{name}/report.md") for name in names)]
    effects = effects_by_place()
    rows = [
        [what, f"`{first}` − `{second}`", *(estimate(effects[what, name]) for name in names)]
        for what, (first, second) in PARTS.items()
    ]
    return [head, *rows]


def pooled() -> list[list[str]]:
    """The same differences pooled over the natural corpora, on a new one like them, and on listops."""
    head = ["what is added", "difference", "six natural corpora, pooled", "word", "on a new corpus", "listops"]
    effects = effects_by_place()
    rows = []
    for what, (first, second) in PARTS.items():
        pool, new, listops = (effects[what, place] for place in ("pooled", "new corpus", "listops"))
        rows.append(
            [what, f"`{first}` − `{second}`", estimate(pool), pool["word"], span(new), estimate(listops)],
        )
    return [head, *rows]


def effects_by_place() -> dict[tuple[str, str], dict[str, str]]:
    """The committed effects of the grid `claims`, by what is added and where it was measured."""
    return {(row["added"], row["where"]): row for row in committed(ACROSS)}


def depth(folder: str) -> list[list[str]]:
    """Mean test macro F1 of every variant at every number of layers; failed runs are counted."""
    rows = [row for row in committed(f"{folder}/summary.csv") if row["layers"]]
    depths = sorted({int(row["layers"]) for row in rows})
    scores = {
        (row["variant"], int(row["layers"])): f"{float(row['macro_f1']):.3f}" + failures(row, "/") for row in rows
    }
    variants = dict.fromkeys(row["variant"] for row in rows)
    return [
        ["layers", *map(str, depths)],
        *([f"`{variant}`", *(scores[variant, layers] for layers in depths)] for variant in variants),
    ]


def article() -> list[str]:
    """The article's claims, one line each: the comparison that its author states, over natural text where it can be."""
    lines = []
    for path in sorted((REPOSITORY / "experiments" / "claims" / "article").glob("*.yaml")):
        claim = yaml.safe_load(path.read_text(encoding="utf-8"))
        titles = {each["id"]: each["title"]["en"] for each in claim["comparisons"]}
        rows = [row for row in committed(EFFECTS) if row["claim"] == path.stem and row["lead"] == "yes"]
        said = [lead_sentence(titles[name], [row for row in rows if row["comparison"] == name]) for name in titles]
        text = linked(claim["claim"]["en"].rstrip("."), f"claims/{path.stem}.md")
        lines.append((claim["number"], f"{claim['number']}. {text}. {' '.join(filter(None, said))}"))
    return [line for _, line in sorted(lines)]


def lead_sentence(title: str, rows: list[dict[str, str]]) -> str:
    """What one comparison came to: over corpora, on the only one, or how many corpora have which word."""
    if not rows:
        return ""
    over = [row for row in rows if row["where"] in ("pooled", "together") and row["word"]]
    natural = [row for row in rows if row["where"] not in ("pooled", "together", "new corpus", "listops")]
    title = title[0].upper() + title[1:]
    for row in over or (natural if len(natural) == 1 else []):
        bound = f"{row['bound']} " if row["bound"] else ""
        number = f"{bound}{estimate(row)}, " if row["mean"] and not row["word"].startswith("trained") else ""
        return f"{title}: {number}**{row['word']}**." + dead_sentence(natural)
    words = [row["word"] for row in natural]
    counts = [f"{words.count(word)} of {len(words)} {word}" for word in dict.fromkeys(words)]
    return f"{title}: **{', '.join(counts)}**."


def dead_sentence(rows: list[dict[str, str]]) -> str:
    """On how many corpora no run of either side trained, of a measure that such runs have all the same."""
    dead = [row for row in rows if row["treatment_trained"].startswith("0 of") and row["control_trained"][:4] == "0 of"]
    in_training = rows and rows[0]["measure"] == "gradient_imbalance_in_training"
    return f" On {len(dead)} of {len(rows)} corpora no run of either side trained." if dead and in_training else ""


def picture(path: str, text: str, *instead: str) -> list[str]:
    """A picture of the results if it is committed; else a sentence that says so. `_` in the words is a space."""
    if (RESULTS / path).is_file():
        return [f"![{text.replace('_', ' ')}](results:{path})"]
    return [" ".join(instead)]


def published(path: str) -> list[list[str]]:
    """The verdict on every published result that was measured again."""
    columns = ("id", "result", "paper", "verdict")
    return [["", "result", "paper", "verdict"], *([row[name] for name in columns] for row in committed(path))]


def verdicts(path: str) -> list[list[str]]:
    """The verdict on every claim, and on how many of its parts it rests."""
    names = ("confirmed", "refuted", "inconclusive", "not run")
    rows = [
        [
            row["number"],
            row["claim"].rstrip("."),
            row["verdict"],
            ", ".join(f"{row[f'parts {name}']} {name}" for name in names if int(row[f"parts {name}"])) or "–",
        ]
        for row in committed(path)
    ]
    return [["", "claim", "verdict", "parts on the corpora that decide"], *rows]


TABLES: dict[str, Callable[..., list[list[str]]]] = {
    table.__name__: table
    for table in (ablation, corpora, per_class, parts, pooled, depth, lost, how_sure, published, verdicts)
}

LINES: dict[str, Callable[..., list[str]]] = {
    lines.__name__: lines for lines in (article, picture, which_block, tuned_start, at_my_size)
}


def with_spread(row: dict[str, str], metric: str) -> str:
    """A mean with its standard deviation over seeds, if it has one."""
    spread = row.get(f"{metric}_sd", "")
    return f"{float(row[metric]):.3f}" + (f" ± {float(spread):.3f}" if spread else "")


def with_failures(row: dict[str, str]) -> str:
    """Macro F1, and how many runs collapsed or diverged if any did."""
    return with_spread(row, "macro_f1") + failures(row, " of ")


def failures(row: dict[str, str], of: str) -> str:
    """How many of the runs collapsed or diverged; nothing if all trained."""
    failed = int(row["collapsed"]) + int(row["diverged"])
    return f" ({failed}{of}{row['seeds']} failed)" if failed else ""


def filled(text: str, way: str = "results/") -> str:
    """A page's text with every table filled from the committed results; `way` leads from the page to `results`."""

    def table(match: re.Match[str]) -> str:
        name, *arguments = match[2].split()
        if match[1] == "lines":
            lines = "".join(f"{line}\n" for line in LINES[name](*arguments))
        else:
            head, *rows = TABLES[name](*arguments)
            rule = [("---:" if numeric(cell) else "---") for cell in rows[0]]
            lines = "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))
        return f"<!-- {match[1]}: {match[2]} -->\n" + lines.replace("(results:", f"({way}")

    return MARKER.sub(table, text)


def numeric(cell: str) -> bool:
    """Whether a cell starts with a number, so that its column is aligned to the right."""
    return re.match(r"[−\d.]", cell) is not None


def way_from(page: Path) -> str:
    """The way from a page's folder to `results`, as links write it."""
    if page.parent == RESULTS:
        return ""
    return "../" * len(page.parent.relative_to(REPOSITORY).parts) + "results/"


if __name__ == "__main__":
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (now := filled(text, way_from(page))) != text:
            page.write_text(now, encoding="utf-8")
            print(f"filled {page.relative_to(REPOSITORY)}")
