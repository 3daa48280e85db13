"""Fill the tables of the pages from the committed results: `python -m docs.tables`.

A page asks for a table by a comment, `<!-- table: NAME ARGUMENTS -->`. The lines from there to the next empty line are
the table. `NAME` is a function of this module, and its arguments are words. `tests/test_docs.py` fails where a page
differs from what its comments ask for.
"""

import csv
import functools
import re
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
RESULTS = REPOSITORY / "results"
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), RESULTS / "README.md"], key=str)
MARKER = re.compile(r"<!-- table: (.*?) -->\n(?:.+\n)*")

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
    table.__name__: table for table in (ablation, corpora, per_class, parts, pooled, depth, published, verdicts)
}


@functools.cache
def committed(name: str) -> list[dict[str, str]]:
    """The rows of a committed CSV file."""
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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


def estimate(row: dict[str, str]) -> str:
    """An effect and its interval."""
    return f"{three_digits(row['mean'])} ({span(row)})"


def span(row: dict[str, str]) -> str:
    """The two ends of an interval."""
    return f"{three_digits(row['low'])} to {three_digits(row['high'])}"


def three_digits(value: str) -> str:
    """A number with a true minus sign and no negative zero."""
    return f"{float(value):.3f}".replace("-0.000", "0.000").replace("-", "−")


def linked(text: str, target: str) -> str:
    """A link to a file of `results`, written so that `filled` can make it relative to its page."""
    return f"[{text}](results:{target})"


def filled(text: str, up: str = "") -> str:
    """A page's text with every table filled from the committed results; `up` leads from the page to the repository."""

    def table(match: re.Match[str]) -> str:
        name, *arguments = match[1].split()
        head, *rows = TABLES[name](*arguments)
        rule = [("---:" if numeric(cell) else "---") for cell in rows[0]]
        lines = "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))
        return f"<!-- table: {match[1]} -->\n" + lines.replace("(results:", f"({up}results/")

    return MARKER.sub(table, text)


def numeric(cell: str) -> bool:
    """Whether a cell starts with a number, so that its column is aligned to the right."""
    return re.match(r"[−\d.]", cell) is not None


def up_from(page: Path) -> str:
    """The way from a page's folder to the repository, as links write it."""
    return "../" * len(page.parent.relative_to(REPOSITORY).parts)


if __name__ == "__main__":
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (now := filled(text, up_from(page))) != text:
            page.write_text(now, encoding="utf-8")
            print(f"filled {page.relative_to(REPOSITORY)}")
