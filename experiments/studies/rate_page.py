"""The stability map as CSV, page and heat map, a pure function of the trials and the question file.

::

    zoo_stability/measurements.jsonl.gz   stability.csv   report.md   survived.png

A person's own map goes to ``results/local``, the published one, which is committed, to ``results``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.errors import ExperimentError
from experiments.paths import below
from experiments.reporting.render import EMPTY, TextTable, joined, plural, to_csv, to_markdown
from experiments.reporting.style import Picture, save_picture, settings
from experiments.runs.run_folder import one_at_a_time, write_atomically
from experiments.studies.rate_edges import (
    BASE,
    MEASUREMENTS_FILE,
    NAME,
    Edge,
    RateQuestion,
    RateTrial,
    edges_of,
    gather_trials,
    packed,
)
from experiments.studies.rate_order import check_ratios, read_planned, verdict_of
from lightning_modules.schemes.variants import VARIANTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE_FILE = "survived.png"
SHORT = {"not finite": "∞", "above its start": "↑", "no context": "="}
"""How a failure is told in a cell of the table."""
Edges = dict[tuple[str, int], Edge]


def write_map(question: RateQuestion, results: Path, into: Path) -> list[Path]:
    """Write measurements, table, page and figure below ``into`` and return their paths.

    Raises:
        ExperimentError: nothing is measured yet, or a committed file is damaged.
    """
    trials = gather_trials(results, question)
    edges = edges_of(question, trials)
    if not edges:
        raise ExperimentError(f"no scheme's edge is known yet; make it with: python -m experiments.studies run {NAME}")
    known = [trial for trial in trials if (trial.scheme, trial.layers) in edges]
    picture = draw(question, edges)
    folder = below(into, NAME)
    contents = {
        MEASUREMENTS_FILE: packed(known),
        "stability.csv": to_csv(edges_table(question, edges, known)).encode(),
        "report.md": compose_page(question, edges, known, picture).encode(),
    }
    with one_at_a_time(results):
        for name, content in contents.items():
            write_atomically(folder / name, content)
        save_picture(picture, folder / PICTURE_FILE)
    return [*(folder / name for name in contents), folder / PICTURE_FILE]


def edges_table(question: RateQuestion, edges: Edges, trials: Sequence[RateTrial]) -> TextTable:
    """Return a row per cell: the largest rate survived, factors of two from Pre-LN, and how the next rate failed."""
    columns = [
        "scheme",
        "layers",
        "largest_rate",
        "factors_of_two_from_pre_ln",
        "next_rate",
        "fails",
        "at_limit",
        "runs",
    ]
    setup, rows = question.setup, []
    for (scheme, layers), edge in edges.items():
        apart = from_pre_ln(edges, scheme, layers)
        above = setup.lowest if edge.power is None else edge.power + 1
        rows.append(
            [
                scheme,
                str(layers),
                "" if edge.power is None else f"{setup.rate(edge.power):.6g}",
                "" if apart is None else str(apart),
                f"{setup.rate(above):.6g}" if above <= setup.highest else "",
                " and ".join(ways(edge)),
                "yes" if edge.power == setup.highest else "no",
                str(sum((trial.scheme, trial.layers) == (scheme, layers) for trial in trials)),
            ]
        )
    return TextTable(columns, rows)


def ways(edge: Edge) -> list[str]:
    """Return in which ways the trials just above an edge failed."""
    return sorted({trial.ending for trial in edge.failures})


def from_pre_ln(edges: Edges, scheme: str, layers: int) -> int | None:
    """Return factors of two between a scheme's edge and Pre-LN's at the same depth; None without one of them."""
    own, base = edges.get((scheme, layers)), edges.get((BASE, layers))
    if own is None or base is None or own.power is None or base.power is None:
        return None
    return own.power - base.power


def compose_page(question: RateQuestion, edges: Edges, trials: Sequence[RateTrial], picture: Picture) -> str:
    """Return the page: the answer, the classics, the map, every scheme, and how it was measured."""
    setup, cells = question.setup, question.cells()
    sizes = f"{setup.settings['model.width']} wide, {setup.steps} steps, batch {setup.settings['data.batch_size']} × "
    sizes += f"{setup.settings['data.max_length']} letters of {setup.settings['data.corpus']}, no warm-up"
    parts = [
        f"# {question.title}",
        "\n".join(f"- {answer(edges, n)}" for n in depths(edges) if sum(m == n for _, m in edges) > 1),
        f"{len(edges)} of {len(cells)} cells are measured, by {plural(len(trials), 'run')} ({sizes}).",
        to_markdown(rates_table(question, edges, question.first)).rstrip(),
        legend(question),
        f"![{picture.title}]({PICTURE_FILE})",
        f"*{picture.caption}*",
        "## How they fail",
        failures_sentence(edges),
        *order_section(question, edges),
        "## Every scheme",
        to_markdown(rates_table(question, edges, ranked(edges))).rstrip(),
        "## How it was measured",
        *(" ".join(text.split()) for text in (question.purpose, question.survived, question.search)),
        " ".join(question.known_before.split()),
        f"**Amended.** {' '.join(question.amended.split())}",
        "**What it leaves out.** One task, one width, one optimiser (AdamW), two seeds, and 200 steps: a rate that "
        "fails later is counted as survived. A scheme that needs a smaller rate than these steps can learn with has "
        "none. A scheme with a ramp over its first steps is measured inside it. Two seeds tell an edge to about a "
        "factor of two.",
        f"Rebuilt by `python -m experiments.studies report {NAME}`; measured by `python -m experiments.studies run "
        f"{NAME}`. The question is `experiments/studies/{NAME}.yaml`.",
    ]
    return "\n\n".join(parts) + "\n"


def depths(edges: Edges) -> list[int]:
    """Return the depths at which Pre-LN's edge is known."""
    return sorted({layers for scheme, layers in edges if scheme == BASE})


def answer(edges: Edges, layers: int) -> str:
    """Say in a line how many schemes survive more, as much, or less than Pre-LN at a depth."""
    here = {scheme: edge for (scheme, n), edge in edges.items() if n == layers and scheme != BASE}
    apart = {scheme: from_pre_ln(edges, scheme, layers) for scheme in here}
    more = sum(value is not None and value > 0 for value in apart.values())
    same = sum(value == 0 for value in apart.values())
    less = sum(value is not None and value < 0 for value in apart.values())
    none = sum(edge.power is None for edge in here.values())
    counts = f"{more} survive larger rates, {same} the same, {less} smaller ones, {none} none"
    return f"At {layers} blocks, of {plural(len(here), 'other scheme')}: {counts}."


def rates_table(question: RateQuestion, edges: Edges, schemes: Sequence[str]) -> TextTable:
    """Return a row per scheme: the largest rate survived at every depth, and how the next one failed."""
    layers = [n for n in question.setup.layers if any(cell[1] == n for cell in edges)]
    rows = [[name, *(rate_cell(question, edges.get((name, n))) for n in layers)] for name in schemes]
    return TextTable(["scheme", *(f"{n} blocks" for n in layers)], rows)


def rate_cell(question: RateQuestion, edge: Edge | None) -> str:
    """Return ``0.016 =`` for a cell of the table: the rate, then how the next one failed."""
    if edge is None:
        return EMPTY
    marks = "".join(SHORT[way] for way in ways(edge))
    if edge.power is None:
        return f"none {marks}"
    rate = f"{question.setup.rate(edge.power):.4g}"
    return f"≥ {rate}" if edge.power == question.setup.highest else f"{rate} {marks}"


def legend(question: RateQuestion) -> str:
    """Explain the cells of the table."""
    low, high = (question.setup.rate(power) for power in (question.setup.lowest, question.setup.highest))
    return (
        f"The largest rate that both seeds survived, tried from {low:.4g} to {high:.4g} in factors of two. Behind it: "
        "how twice that rate failed. `∞`: a number was not finite. `↑`: the loss ended above its start. `=`: the "
        f"network learned at most how frequent letters are. `none`: no rate survived. {EMPTY}: not measured."
    )


def ranked(edges: Edges) -> list[str]:
    """Return the schemes, those that survive the largest rates first, shallow depths deciding first."""
    layers = sorted({n for _, n in edges})
    schemes = list(dict.fromkeys(scheme for scheme, _ in edges))

    def height(scheme: str) -> tuple[float, ...]:
        found = (edges.get((scheme, n)) for n in layers)
        return tuple(99.0 if edge is None else -99.0 if edge.power is None else edge.power for edge in found)

    return sorted(schemes, key=height, reverse=True)


def failures_sentence(edges: Edges) -> str:
    """Count the ways in which the rate above an edge failed, and name the schemes without any rate."""
    counts = {way: sum(way in ways(edge) for edge in edges.values()) for way in SHORT}
    told = f"Just above the edge {plural(counts['no context'], 'cell')} learned no context, "
    told += f"{counts['above its start']} ended above their start, and {counts['not finite']} were not finite."
    none: dict[int, list[str]] = {}
    for (scheme, layers), edge in edges.items():
        if edge.power is None:
            none.setdefault(layers, []).append(f"`{scheme}`")
    lines = [f"At {layers} blocks no rate was survived by {joined(names)}." for layers, names in sorted(none.items())]
    return " ".join([told, *lines])


def order_section(question: RateQuestion, edges: Edges) -> list[str]:
    """Return the sections about published orders of rates: the verdict where a depth allows one, and every ratio."""
    parts = []
    for planned in (each for each in read_planned() if each.ratios):
        checked = {n: check_ratios(question.setup, planned.ratios, edges, n) for n in depths(edges)}
        known = [n for n in checked if checked[n] is not None]
        deep = [n for n in known if n >= planned.layers_at_least]
        verdict = verdict_of(checked[max(deep)] if deep else None)
        parts.append(f"## {planned.id} · {planned.title}: {verdict}")
        source = f"*{planned.paper.citation}, arXiv:{planned.paper.arxiv}, {planned.paper.place}.*"
        parts += [" ".join(planned.claim.split()), source]
        if not deep:
            parts.append(f"Its rule asks for {planned.layers_at_least} blocks or more, which are not measured yet.")
        rows = []
        for place, ratio in enumerate(planned.ratios):
            cells = []
            for n in known:
                each = (checked[n] or [])[place]
                cells.append(f"{each.bound} {each.measured:.3g}".strip() if each.bound != "?" else "neither survived")
            rows.append([f"{ratio.over} ÷ {ratio.under}", f"≥ {ratio.at_least:g}", *cells])
        if known:
            table = TextTable(["rates", "published", *(f"{n} blocks" for n in known)], rows)
            parts.append(to_markdown(table).rstrip())
        parts += [f"**How it differs.** {' '.join(planned.differs.split())}"]
    return parts


def draw(question: RateQuestion, edges: Edges) -> Picture:
    """Draw schemes × depth: colour and number are the largest rate survived."""
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    schemes, setup = ranked(edges), question.setup
    layers = [n for n in setup.layers if any(cell[1] == n for cell in edges)]
    powers = np.full((len(schemes), len(layers)), np.nan)
    for row, scheme in enumerate(schemes):
        for column, n in enumerate(layers):
            edge = edges.get((scheme, n))
            if edge is not None and edge.power is not None:
                powers[row, column] = edge.power
    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(3.2 + 0.8 * len(layers), 1.2 + 0.165 * len(schemes)), layout="constrained")
        axes = figure.subplots()
        axes.imshow(powers, aspect="auto", cmap="viridis", vmin=setup.lowest, vmax=setup.highest)
        axes.grid(visible=False)
        axes.set_xticks(range(len(layers)), [f"{n}" for n in layers])
        axes.set_xlabel("blocks")
        axes.set_yticks(range(len(schemes)), [VARIANTS[name].title if name in VARIANTS else name for name in schemes])
        axes.tick_params(axis="y", labelsize=6.5, length=0)
        for row, scheme in enumerate(schemes):
            for column, n in enumerate(layers):
                write_cell(axes, row, column, edges.get((scheme, n)), question)
    worst = min((n for n in layers), default=0)
    title = f"The largest learning rate survived, {plural(len(schemes), 'scheme')} by depth"
    tried = setup.highest - setup.lowest + 1
    caption = (
        f"A number is the rate, and bright is large. A cross is a scheme that survived none of {tried} rates, a blank "
        f"one that is not measured. Sorted by the rate at {worst} blocks."
    )
    return Picture(figure, title, caption)


def write_cell(axes: Axes, row: int, column: int, edge: Edge | None, question: RateQuestion) -> None:
    """Write the rate, or a cross, over a cell of the picture."""
    if edge is None:
        return
    setup = question.setup
    text = "×" if edge.power is None else f"{setup.rate(edge.power):.4g}"
    dark = edge.power is not None and edge.power < (setup.lowest + setup.highest) / 2
    axes.text(column, row, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
