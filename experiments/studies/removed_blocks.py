"""How many blocks a trained network can lose: score against the share of blocks that are gone.

The question, what is measured and what was expected are in ``removed_blocks.yaml``, written before the first run. Every
run's chosen checkpoint loses blocks in random and in importance order, with and without the others' outputs scaled up.
A measurement is one CSV per corpus, which grows by a run at a time, so that the same command goes on after a stop. Page
and figure are a pure function of it. Free of torch until a run is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.errors import ExperimentError, explained
from experiments.paths import below
from experiments.planning.saved_runs import run_folder, run_names
from experiments.planning.yaml_files import read_yaml
from experiments.reporting.render import TextTable, interval, mean_and_sd, rounded, to_csv, to_markdown
from experiments.reporting.style import Picture, look_of, save_picture, settings
from experiments.runs.run_folder import BEST, RECORD_FILE, read_record, sha256_of, write_atomically
from experiments.statistics.seeds import spread
from lightning_modules.schemes.variants import VARIANTS

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console

    from experiments.runs.inference import TrainedModel

NAME = "removed_blocks"
QUESTION = Path(__file__).with_suffix(".yaml")
"""What is asked and measured."""
RANDOM, IMPORTANCE = "random", "importance"
COLUMNS = {
    **dict.fromkeys(("run", "sha256", "condition", "corpus", "order"), str),
    **dict.fromkeys(("seed", "draw", "layers", "removed", "classes"), int),
    "rescaled": bool,
    "macro_f1": float,
}
"""Columns of the CSV and their types; ``draw`` numbers random orders, ``removed`` counts the blocks that are gone."""
TITLES = {
    (IMPORTANCE, False): "least important first",
    (IMPORTANCE, True): "least important first, others scaled up",
    (RANDOM, False): "random order",
    (RANDOM, True): "random order, others scaled up",
}


@dataclass(frozen=True, kw_only=True)
class RemovalQuestion:
    """What the study asks and measures; ``removed_blocks.yaml`` says more of each.

    Raises:
        ExperimentError: a number is out of range.
    """

    question: str
    hypothesis: str
    quantity: str
    direction: str
    metric: str
    delta: float
    corpora: list[str]
    seeds: int
    conditions: list[str]
    removed: list[int]
    """Numbers of blocks to remove."""
    random_orders: int
    """Random orders for each run."""
    importance_rows: int
    """Training rows on which the importance of blocks is measured."""
    test_rows: int
    """Most test rows that are answered."""

    def __post_init__(self) -> None:
        sizes = [*self.removed, self.random_orders, self.importance_rows, self.test_rows, self.seeds]
        if not self.removed or min(sizes) < 1:
            raise ExperimentError("numbers of removed blocks, orders, rows and seeds must be at least 1")

    @classmethod
    def read(cls, path: Path = QUESTION) -> RemovalQuestion:
        """Read the question from its file.

        Raises:
            ExperimentError: it is damaged, or has other fields.
        """
        given = read_yaml(path)
        if set(given) != {entry.name for entry in fields(cls)}:
            raise ExperimentError(f"{path.name} must have the fields {', '.join(entry.name for entry in fields(cls))}")
        return cls(**given)


def run(names: Sequence[str], output: Path, console: Console) -> None:
    """Measure the named run folders that ``output`` does not hold yet, a minute each; write table, page and figure.

    Raises:
        ExperimentError: if a run left no network, its corpus has changed or the corpora differ.
        DataError: for a tuning trial, which must not see the test rows.
    """
    folders = list(dict.fromkeys(run_folder(name) for name in names))
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
    question, path = RemovalQuestion.read(), output / f"{NAME}.csv"
    rows = read_rows(path).to_dict("records") if path.is_file() else []
    from experiments.runs.inference import TrainedModel

    for folder, name in zip(folders, run_names(folders), strict=True):
        sha256 = sha256_of(folder / BEST) if (folder / BEST).is_file() else ""
        if any(row["sha256"] == sha256 for row in rows):
            console.print(f"{name} is measured already", markup=False, highlight=False)
            continue
        measured = measure_run(name, folder, TrainedModel.load(folder), question)
        if rows and measured[0]["corpus"] != rows[0]["corpus"]:
            raise ExperimentError(f"{name} is of {measured[0]['corpus']}, and {path} of {rows[0]['corpus']}")
        rows += [{str(key): value for key, value in row.items()} for row in measured]
        cells = [[spelled(row[column]) for column in COLUMNS] for row in rows]
        write_atomically(path, to_csv(TextTable(list(COLUMNS), cells)).encode())
        console.print(f"measured {name}", markup=False, highlight=False)
    for written in [path, *write_page(path, output)]:
        console.print(f"wrote {written}", markup=False, highlight=False, soft_wrap=True)


def spelled(value: Any) -> str:
    """Spell a cell of the CSV."""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def report(results: Path, into: Path) -> list[Path]:
    """Write page and figure of every corpus whose measurement is committed below ``into``, and return their paths."""
    measured = sorted((results / NAME).glob(f"*/{NAME}.csv"))
    return [written for path in measured for written in write_page(path, below(into, NAME, path.parent.name))]


def measure_run(name: str, folder: Path, trained: TrainedModel, question: RemovalQuestion) -> list[dict[str, Any]]:
    """Measure a loaded run: a row for every order, number of removed blocks and scale, the whole network first."""
    import torch

    from experiments.compressing import answers_of, importance, rows_of, torch_forward
    from experiments.statistics.rows import METRICS, Answers
    from lightning_modules.compression.pruning import blocks_in, without_blocks

    network = trained.module.cpu().eval().network
    rows, layers = rows_of(trained.data, question.test_rows), blocks_in(network)
    rises = importance(network, trained.data.train_sample(question.importance_rows), "the removal of a block")
    record = read_record(folder) if (folder / RECORD_FILE).is_file() else None
    seed = trained.module.config.seed if record is None else record.seed
    about = {
        "run": name,
        "sha256": sha256_of(folder / BEST),
        "condition": trained.module.config.variant if record is None else record.condition,
        "corpus": trained.data.corpus.slug,
        "seed": seed,
        "layers": layers,
        "classes": len(trained.module.class_names),
    }
    orders = [(IMPORTANCE, 0, sorted(range(layers), key=lambda index: rises[index]))]
    for draw in range(question.random_orders):
        orders.append((RANDOM, draw, np.random.default_rng([seed, draw]).permutation(layers).tolist()))

    def score(going: Sequence[int], rescaled: bool) -> float:
        smaller = without_blocks(network, going, rescale=rescaled)
        found = answers_of(torch_forward(smaller, 1, torch.float32), rows)
        counts = Answers(rows.labels, found, found).class_counts().sum(axis=0)
        return float(METRICS["macro_f1"](counts)[0])

    whole = score((), False)
    measured = []
    for order, draw, going in orders:
        for rescaled in (False, True):
            common = {**about, "order": order, "draw": draw, "rescaled": rescaled}
            measured.append({**common, "removed": 0, "macro_f1": whole})
            for count in question.removed:
                if count <= layers:
                    measured.append({**common, "removed": count, "macro_f1": score(going[:count], rescaled)})
    return measured


def read_rows(path: Path) -> DataFrame:
    """Read a measured CSV.

    Raises:
        ExperimentError: if the file is no CSV, or has no rows or other columns.
    """
    from pandas import read_csv
    from pandas.errors import ParserError

    try:
        rows = read_csv(path, dtype=COLUMNS)
    except (ValueError, ParserError) as error:
        raise ExperimentError(f"{path} is no table: {' '.join(str(error).split())}") from None
    if list(rows.columns) != list(COLUMNS) or rows.empty or rows.isna().any(axis=None):
        raise ExperimentError(f"{path} must have rows with a value in each of the columns {', '.join(COLUMNS)}")
    return rows


def tolerated(rows: DataFrame) -> float:
    """Return the largest share of blocks up to which half of the score above a guess is always kept.

    Args:
        rows: of one run, order, draw and scale. A guess of K equal classes has a macro F1 of 1/K.
    """
    course = rows.sort_values("removed")
    guess = 1 / int(course.classes.iloc[0])
    needed = guess + (float(course.macro_f1.iloc[0]) - guess) / 2
    kept = (course.macro_f1 >= needed).cummin()
    return float((course.removed[kept] / course.layers[kept]).max()) if kept.any() else 0.0


def tolerances(rows: DataFrame, condition: str, order: str, rescaled: bool) -> list[float]:
    """Return :func:`tolerated` for each seed of a condition, the mean over its random orders."""
    chosen = rows[(rows.condition == condition) & (rows.order == order) & (rows.rescaled == rescaled)]
    found = [float(np.mean([tolerated(draw) for _, draw in run.groupby("draw")])) for _, run in chosen.groupby("run")]
    return found


def conditions_of(rows: DataFrame) -> list[str]:
    """Return the conditions, those of the question first."""
    present = set(rows.condition)
    return [name for name in RemovalQuestion.read().conditions if name in present] + sorted(
        present - set(RemovalQuestion.read().conditions)
    )


def table_of(rows: DataFrame) -> TextTable:
    """Return the share of blocks that each variant can lose, in both orders, with and without scale."""
    table = []
    for condition in conditions_of(rows):
        whole = rows[(rows.condition == condition) & (rows.removed == 0)].groupby("run").macro_f1.first()
        cells = [mean_and_sd(spread(tolerances(rows, condition, *key)), 2) for key in TITLES]
        table.append([title_of(condition), str(len(whole)), mean_and_sd(spread(list(whole))), *cells])
    return TextTable(["variant", "runs", "macro F1, whole", *TITLES.values()], table)


def title_of(condition: str) -> str:
    """Return what a figure calls a condition."""
    return VARIANTS[condition].title if condition in VARIANTS else condition


def finding(rows: DataFrame) -> str:
    """Say in one sentence what each variant can lose, least important blocks first."""
    parts = [
        f"{title_of(condition)} {rounded(float(np.mean(tolerances(rows, condition, IMPORTANCE, False))), 2)}"
        for condition in conditions_of(rows)
    ]
    return f"Share of blocks that can go: {', '.join(parts)}."


def write_page(path: Path, folder: Path) -> list[Path]:
    """Write page and figure of a measured CSV to a folder and return their paths."""
    rows, question = read_rows(path), RemovalQuestion.read()
    picture = draw(rows)
    shares = [spread(tolerances(rows, condition, IMPORTANCE, False)) for condition in conditions_of(rows)]
    intervals = ", ".join(
        f"{title_of(condition)} {interval(share)}" for condition, share in zip(conditions_of(rows), shares, strict=True)
    )
    parts = [
        f"# How many blocks can go: {rows.corpus.iloc[0]}",
        finding(rows),
        to_markdown(table_of(rows)).rstrip(),
        f"![{picture.title}]({NAME}.png)",
        f"*{picture.caption}*",
        f"**Question.** {question.question} **Expected.** {' '.join(question.hypothesis.split())}",
        f"**Cells.** {' '.join(question.quantity.split())} Cells are mean ± standard deviation over runs. "
        f"Intervals over runs (95 %), least important first: {intervals}.",
        f"Importance is the rise of the cross-entropy on {question.importance_rows} training rows when a block alone "
        f"goes. At most {question.test_rows:,} test rows are answered. *Scaled up* multiplies what the others add by "
        "L/(L − k).",
        f"Rebuilt by `python -m experiments.studies report {NAME}`; measured by `python -m experiments.studies run "
        f"{NAME} --runs RUN … --output FOLDER`.",
    ]
    page = folder / f"{NAME}.md"
    write_atomically(page, ("\n\n".join(parts) + "\n").encode())
    return [page, save_picture(picture, folder / f"{NAME}.png")]


def draw(rows: DataFrame) -> Picture:
    """Draw score against the share of removed blocks: a panel per order and scale, a line per variant."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(9.3, 5.6), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True, sharey=True)
        for axes, ((order, rescaled), title) in zip(panels.flat, TITLES.items(), strict=True):
            for condition in conditions_of(rows):
                chosen = rows[(rows.condition == condition) & (rows.order == order) & (rows.rescaled == rescaled)]
                course = chosen.groupby(chosen.removed / chosen.layers).macro_f1
                low, mean, high = course.min(), course.mean(), course.max()
                look = look_of(condition)
                axes.fill_between(mean.index, low, high, color=look.color, alpha=0.15, lw=0)
                axes.plot(mean.index, mean, color=look.color, ls=look.line, marker=look.marker, ms=4,
                          label=title_of(condition))  # fmt: skip
            axes.set_title(title, loc="left", fontsize=9)
        for axes in panels[-1]:
            axes.set_xlabel("share of blocks removed")
        for axes in panels[:, 0]:
            axes.set_ylabel("macro F1")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        runs = rows.run.nunique()
        caption = f"Lines: mean over runs and random orders. Bands: their range. {runs} runs of {rows.corpus.iloc[0]}."
        return Picture(figure, finding(rows).rstrip("."), caption)
