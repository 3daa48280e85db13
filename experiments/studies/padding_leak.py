"""What padding does to the answers of trained networks (claim 12): measured, as a table, a page and a figure.

A run's chosen checkpoint answers the test rows as they were tested, with more columns of padding, and each row alone.
The measurement is one CSV per corpus, ``results/padding_leak/<corpus>/padding_leak.csv``, one row per run and
arrangement; page and figure are a pure function of it. Free of torch until a run is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.errors import ExperimentError, explained
from experiments.paths import below
from experiments.planning.saved_runs import run_folder, run_names
from experiments.reporting.render import TextTable, mean_and_sd, number, plural, rounded, to_csv, to_markdown
from experiments.reporting.style import Picture, look_of, save_picture, settings
from experiments.runs.naming import order_conditions
from experiments.runs.run_folder import RECORD_FILE, read_record, write_atomically
from experiments.statistics.seeds import Spread, spread
from experiments.studies.study import Row
from lightning_modules.schemes.variants import VARIANTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from pandas import DataFrame
    from rich.console import Console

    from experiments.runs.inference import TrainedModel
    from lightning_modules.tasks.classification import Batch, TextClassifier

NAME = "padding_leak"
"""Name of the files and of their folder."""

ALONE, AS_TESTED = "alone", "as tested"
MORE_COLUMNS = (8, 16, 32)
"""Columns of padding that are added to every batch."""

COLUMNS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("run", "condition", "corpus", "rows", "longest", "batches"), str),
    **dict.fromkeys(("padding", "padded_otherwise", "changed"), number),
    "classes": str,
    **dict.fromkeys(("macro_f1", "f1_difference"), number),
    "largest_change": "{:.3e}".format,
}
"""Columns of the CSV and the formats of their values; :func:`measure_run` and :func:`effect` say what they mean."""

PANELS = {
    "changed": "share of rows with another class",
    "macro_f1": "macro F1 on the test rows",
    "largest_change": "largest change of a probability (log)",
}
APART = 0.08
"""Distance between networks on the axis, so that equal values can be told apart."""
LEAST = 1e-9
"""Smaller changes are drawn at this value, since a log axis has no zero."""


def run(names: Sequence[str], output: Path | None, console: Console) -> None:
    """Measure every named run folder, which takes seconds each; print the table, and write it if that is asked for.

    Raises:
        ExperimentError: if a run left no network, its corpus has changed or the corpora differ.
        DataError: for a tuning trial, which must not see the test rows.
    """
    folders = list(dict.fromkeys(run_folder(name) for name in names))
    if output is not None:
        with explained(output):
            output.mkdir(parents=True, exist_ok=True)  # before anything is measured
    from pandas import DataFrame
    from rich.console import Console

    from experiments.reporting.console import printed

    with Console(stderr=True).status("answering the test rows"):
        rows = DataFrame(measure_runs(folders), columns=list(COLUMNS))
    networks = networks_of(rows)
    for network in networks:
        console.print(f"{network.label}, {plural(network.count, 'run')}", markup=False, highlight=False)
        console.print(printed(network_table(network)))
    console.print(f"• {finding(networks)} {scores(networks)}", markup=False, highlight=False, soft_wrap=True)
    if output is not None:
        write_atomically(output / f"{NAME}.csv", to_csv(runs_table(rows)).encode())
        for path in [output / f"{NAME}.csv", *write_page(output / f"{NAME}.csv", output)]:
            console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def report(results: Path, into: Path) -> list[Path]:
    """Write page and figure of every corpus whose measurement is committed below ``into``, and return their paths."""
    measured = sorted((results / NAME).glob(f"*/{NAME}.csv"))
    return [written for path in measured for written in write_page(path, below(into, NAME, path.parent.name))]


# Measuring: the same rows in batches with more padding, with less, or with none at all.


def arrangements(batches: Sequence[Batch], padding_id: int, longest: int) -> dict[str, list[Batch]]:
    """Rearrange batches, by name, from no padding to most; see :func:`lengthened` for the arguments."""
    alone = [row for batch in batches for row in rows_alone(batch)]
    longer = {
        more(columns): [lengthened(batch, columns, padding_id, longest) for batch in batches]
        for columns in MORE_COLUMNS
    }
    return {ALONE: alone, AS_TESTED: list(batches), **longer}


def more(columns: int) -> str:
    """Name the arrangement with this number of additional columns."""
    return f"+{columns} columns"


def lengthened(batch: Batch, columns: int, padding_id: int, longest: int) -> Batch:
    """Add ``columns`` further columns of padding on the right of a batch, masked as all padding is.

    Args:
        batch: ``input_ids`` (B, T), ``attention_mask`` (B, T), true at real tokens, and whatever else.
        columns: columns to add.
        padding_id: the token in them.
        longest: most columns of a batch, since position embeddings end there.
    """
    from torch.nn.functional import pad

    added = (0, max(0, min(columns, longest - batch["input_ids"].shape[1])))
    return batch | {
        "input_ids": pad(batch["input_ids"], added, value=padding_id),
        "attention_mask": pad(batch["attention_mask"], added, value=False),
    }


def rows_alone(batch: Batch) -> Iterator[Batch]:
    """Yield every row as a batch ``(1, length)`` of its own; an empty row keeps one column, which is padding."""
    for row, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        kept = {name: values[row : row + 1] for name, values in batch.items()}
        yield kept | {name: kept[name][:, : max(1, length)] for name in ("input_ids", "attention_mask")}


def measure_runs(folders: Sequence[Path]) -> list[Row]:
    """Measure the chosen checkpoint of every run folder on the test rows of its corpus."""
    from experiments.runs.inference import TrainedModel

    measured: dict[str, list[Row]] = {}
    texts: list[tuple[str, str, bool]] = []
    for folder, name in zip(folders, run_names(folders), strict=True):
        trained = TrainedModel.load(folder)
        corpus, is_shuffled = trained.data.corpus, trained.data.config.shuffle_words
        texts.append((corpus.fingerprint, corpus.split_hash, is_shuffled))
        if texts[-1] != texts[0]:
            raise ExperimentError(
                f"{next(iter(measured))} and {name} have different test rows (another split, or words shuffled in one "
                "alone), so no table can hold both"
            )
        measured[name] = measure_run(folder, name, trained)
    return [row for rows in measured.values() for row in rows]


def measure_run(folder: Path, name: str, trained: TrainedModel) -> list[Row]:
    """Measure a loaded run: one row per arrangement.

    ``run`` is ``condition/cell/seed_n``, with the folders before it that tell runs apart; ``rows`` counts the test
    rows, ``longest`` the most columns that a batch may have.
    """
    module = trained.module
    assert module.facts is not None, "a network that was loaded has facts"
    record = read_record(folder) if (folder / RECORD_FILE).is_file() else None
    about = {
        "run": name,
        "condition": record.condition if record else module.config.variant,
        "corpus": trained.data.corpus.slug,
        "rows": len(trained.data.encoded.splits["test"]),
        "longest": module.facts.max_length,
    }
    return [{**about, **effect} for effect in measure(module, list(trained.data.test_dataloader()))]


def measure(module: TextClassifier, batches: Sequence[Batch]) -> list[Row]:
    """Measure the effect of every arrangement of the batches, which are as tested."""
    facts = module.facts
    assert facts is not None, "only a network that was built can answer"
    found = {
        name: answers_to(module, rearranged, facts.class_names)
        for name, rearranged in arrangements(batches, facts.padding_id, facts.max_length).items()
    }
    return [{"batches": name, **effect(answers, found[AS_TESTED])} for name, answers in found.items()]


@dataclass(frozen=True)
class ArrangedAnswers:
    """Answers to N rows in one arrangement, sorted by row."""

    rows: NDArray[np.int64]
    padding: NDArray[np.int64]
    """(N,) columns of padding."""
    probabilities: NDArray[np.float32]
    """(N, K)."""
    macro_f1: float


def answers_to(module: TextClassifier, batches: Sequence[Batch], class_names: Sequence[str]) -> ArrangedAnswers:
    """Answer batches."""
    import torch

    from lightning_modules.training.evaluation import predict, score

    predictions = predict(module, batches)
    order = np.argsort(predictions.rows)
    padding = torch.cat([(~batch["attention_mask"]).sum(dim=1) for batch in batches]).numpy()
    macro_f1 = score(predictions, class_names)["macro_f1"]
    return ArrangedAnswers(predictions.rows[order], padding[order], predictions.probabilities[order], macro_f1)


def effect(answers: ArrangedAnswers, tested: ArrangedAnswers) -> Row:
    """Compare the answers in an arrangement with those to the same rows as tested.

    ``padding`` is the mean number of padding columns in a row. ``padded_otherwise`` is the share of the rows that have
    another number of them than as tested. ``changed`` is the share of the rows whose most probable class is another
    one. ``classes`` counts the classes that are the most probable one of any row. ``f1_difference`` is macro-F1 minus
    that as tested. ``largest_change`` is the largest absolute difference of any class's probability in any row.
    """
    np.testing.assert_array_equal(answers.rows, tested.rows)
    predicted = answers.probabilities.argmax(axis=1)
    return {
        "padding": float(answers.padding.mean()),
        "padded_otherwise": float((answers.padding != tested.padding).mean()),
        "changed": float((predicted != tested.probabilities.argmax(axis=1)).mean()),
        "classes": len(np.unique(predicted)),
        "macro_f1": answers.macro_f1,
        "f1_difference": answers.macro_f1 - tested.macro_f1,
        "largest_change": float(np.abs(answers.probabilities - tested.probabilities).max()),
    }


# Reporting: runs that differ in nothing but the seed are one network.


@dataclass(frozen=True)
class PaddedNetwork:
    """The runs of one condition folder, ``condition/cell``."""

    label: str
    """The condition's title, with its folder if another folder of the condition is measured too."""
    condition: str
    rows: DataFrame

    @property
    def count(self) -> int:
        """Number of runs."""
        return self.rows.run.nunique()

    @property
    def arrangements(self) -> list[str]:
        """Arrangements, from no padding to most."""
        return list(dict.fromkeys(self.rows.batches))

    def values(self, arrangement: str, quantity: str) -> list[float]:
        """Return a column of the CSV in one arrangement, over runs."""
        return [float(value) for value in self.rows[self.rows.batches == arrangement][quantity]]

    def spread(self, arrangement: str, quantity: str) -> Spread:
        """Compute mean and spread over runs."""
        return spread(self.values(arrangement, quantity))


def networks_of(rows: DataFrame) -> list[PaddedNetwork]:
    """Put runs together by condition folder, in the order of conditions."""
    order = order_conditions(set(rows.condition))
    groups = rows.groupby([rows.condition, rows.run.str.rpartition("/")[0]])
    found = sorted(((str(name), str(folder), part) for (name, folder), part in groups),
                   key=lambda group: (order.index(group[0]), group[1]))  # fmt: skip
    conditions = [condition for condition, _, _ in found]
    titles = {name: VARIANTS[name].title if name in VARIANTS else name for name in conditions}
    return [
        PaddedNetwork(titles[name] + (f" ({folder})" if conditions.count(name) > 1 else ""), name, part)
        for name, folder, part in found
    ]


def finding(networks: Sequence[PaddedNetwork]) -> str:
    """Say what the most padding does to the predicted classes of every network, in one sentence."""
    most = MORE_COLUMNS[-1]
    changed = [f"{share_of_rows(network, more(most))} under {network.label}" for network in networks]
    return f"{most} more columns of padding change the predicted class of {' and of '.join(changed)}."


def scores(networks: Sequence[PaddedNetwork]) -> str:
    """Say what leaving out padding does to macro-F1, and what was measured."""
    means = [
        f"{rounded(network.spread(ALONE, 'macro_f1').mean)} instead of "
        f"{rounded(network.spread(AS_TESTED, 'macro_f1').mean)} under {network.label}"
        for network in networks
    ]
    counts = sorted({network.count for network in networks})
    counted = plural(counts[0], "run") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} runs"
    corpus, each = networks[0].rows.corpus.iloc[0], " each" if len(networks) > 1 else ""
    return f"Without padding, macro F1 is {' and '.join(means)} ({corpus}, {counted}{each})."


def share_of_rows(network: PaddedNetwork, arrangement: str) -> str:
    """Spell the mean share of rows whose class changed; ``no row`` only if no run changed any."""
    changed = network.values(arrangement, "changed")
    return f"{100 * sum(changed) / len(changed):.1f} %" if any(changed) else "no row"


def runs_table(rows: DataFrame) -> TextTable:
    """Spell the measurement for its CSV, shares as fractions."""
    cells = [[spell(row[name]) for name, spell in COLUMNS.items()] for row in rows.to_dict("records")]
    return TextTable(list(COLUMNS), cells)


def network_table(network: PaddedNetwork) -> TextTable:
    """Tabulate one network: a row per arrangement, mean ± standard deviation over runs."""
    columns = ["batches", "padding", "changed rows", "classes", "macro F1", "Δ macro F1", "largest"]
    return TextTable(columns, [_network_row(network, arrangement) for arrangement in network.arrangements])


def _network_row(network: PaddedNetwork, arrangement: str) -> list[str]:
    largest = max(network.values(arrangement, "largest_change"))
    return [
        arrangement,
        rounded(network.spread(arrangement, "padding").mean, 1),
        mean_and_sd(network.spread(arrangement, "changed")),
        rounded(network.spread(arrangement, "classes").mean, 1),
        mean_and_sd(network.spread(arrangement, "macro_f1")),
        mean_and_sd(network.spread(arrangement, "f1_difference")),
        f"{largest:.1e}".replace("-", "−"),
    ]


def write_page(path: Path, folder: Path) -> list[Path]:
    """Write page and figure of a measured CSV to a folder and return their paths."""
    rows = read_rows(path)
    picture = draw(networks_of(rows))
    page = folder / f"{NAME}.md"
    write_atomically(page, compose(rows, picture).encode())
    return [page, save_picture(picture, folder / f"{NAME}.png")]


def read_rows(path: Path) -> DataFrame:
    """Read a measured CSV.

    Raises:
        ExperimentError: if the file is no CSV, or has no rows or other columns.
    """
    from pandas import read_csv
    from pandas.errors import ParserError

    try:
        rows = read_csv(path, dtype={"run": str, "condition": str, "corpus": str, "batches": str})
    except (ValueError, ParserError) as error:
        raise ExperimentError(f"{path} is no table: {' '.join(str(error).split())}") from None
    if list(rows.columns) != list(COLUMNS) or rows.empty or rows.isna().any(axis=None):
        raise ExperimentError(f"{path} must have rows with a value in each of the columns {', '.join(COLUMNS)}")
    return rows


def compose(rows: DataFrame, picture: Picture) -> str:
    """Write the result as Markdown: the answer, the table, the figure, and how they are to be read."""
    networks = networks_of(rows)
    table = [[network.label, *row] for network in networks for row in network_table(network).rows]
    longest = " or ".join(str(length) for length in sorted(set(rows.longest)))
    first = rows[rows.run == rows.run.iloc[0]]
    lengthened = float(first[first.batches == more(MORE_COLUMNS[0])].padded_otherwise.iloc[0])
    parts = [
        f"# What padding does to the answers: {rows.corpus.iloc[0]}",
        f"{finding(networks)} {scores(networks)}",
        to_markdown(TextTable(["variant", *network_table(networks[0]).columns], table)).rstrip(),
        f"![{picture.title}]({NAME}.png)",
        f"*{picture.caption}*",
        f"The chosen checkpoint of every run answers the {rows.rows.iloc[0]:,} test rows in float32, in different "
        "batches. *As tested*: rows of similar length share a batch, padded to the longest. *+8 columns* and so on: "
        "these batches, each padded further, masked as all padding is. *Alone*: every row is a batch of its own, "
        f"without padding. Position embeddings end at {longest} columns, so no batch is padded beyond. Long batches "
        f"get fewer columns, and {100 * (1 - lengthened):.1f} % of the rows, those in the longest, get none.",
        "*Padding* is the mean number of padding columns in a row. *Changed rows* is the share of all rows whose "
        "predicted class is another one than as tested. *Classes* is the number of classes that any row is given. "
        "*Largest* is the greatest difference of any class's probability from that as tested, in any row of any run. "
        "Scores are mean ± standard deviation over runs. A network that keeps its padding apart changes no row, and "
        "its probabilities by rounding alone.",
        "Rebuilt by `python -m experiments.studies report padding_leak`; measured by `python -m experiments.studies "
        "run padding_leak --runs RUN …`.",
    ]
    return "\n\n".join(parts) + "\n"


def draw(networks: Sequence[PaddedNetwork]) -> Picture:
    """Draw a panel per quantity, from no padding to most: every run as a dot, the means over runs as a line."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(9.3, 3.4), layout="constrained")
        panels = figure.subplots(1, len(PANELS))
        for axes, (quantity, title) in zip(panels, PANELS.items(), strict=True):
            draw_panel(axes, quantity, networks)
            axes.set_title(title, loc="left", fontsize=9)
        panels[1].set_xlabel("columns of padding added to every batch")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(networks))
        caption = f"{scores(networks)} Dots: runs. Lines: means. The right panel has no point as tested, by definition."
        return Picture(figure, finding(networks).rstrip("."), caption)


def draw_panel(axes: Axes, quantity: str, networks: Sequence[PaddedNetwork]) -> None:
    """Draw one quantity against the arrangements, which all networks have in common."""
    names, is_log = networks[0].arrangements, quantity == "largest_change"
    for index, network in enumerate(networks):
        look = look_of(network.condition)
        places = [place + APART * (index - (len(networks) - 1) / 2) for place in range(len(names))]
        by_name: Mapping[str, NDArray[np.float64]] = {name: np.array(network.values(name, quantity)) for name in names}
        if is_log:  # as tested nothing changes by definition, which is no point of a logarithmic axis
            by_name = {name: np.maximum(values, LEAST) if name != AS_TESTED else np.full(len(values), np.nan)
                       for name, values in by_name.items()}  # fmt: skip
        for place, values in zip(places, by_name.values(), strict=True):
            axes.plot([place] * len(values), values, "o", color=look.color, alpha=0.4, ms=4, mew=0)
        means = [float(values.mean()) for values in by_name.values()]
        axes.plot(places, means, color=look.color, ls=look.line, marker=look.marker, ms=4, label=network.label)
    axes.set_xticks(range(len(names)), [name.removesuffix(" columns") for name in names], fontsize=8)
    if is_log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
