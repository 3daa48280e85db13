"""The page's sections on the sides: ours next to other code at equal precision first, then next to usual scripts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from experiments.benchmark.page_parts import PageSection, coverage, notice, spelled, where
from experiments.benchmark.roster import (
    ALIKE,
    CAUSAL_LM,
    CLASSIFICATION,
    KNOWN,
    MASKED_LM,
    NO_DROPOUT,
    OTHER_BATCHES,
    OWN_PLACES,
    REFERENCES,
    ROSTER,
)
from experiments.benchmark.table import MATRIX_SIZE
from experiments.reporting.render import EMPTY, TextTable, joined, plural
from experiments.statistics.medians import MedianInterval, median_interval

NUMBER_FORMATS = {"float32": "fp32", "bfloat16": "bf16"}
"""Formats in which the machine's rate is measured, and how the tables call them."""
TASK_TITLES = {
    CLASSIFICATION: "Classification",
    CAUSAL_LM: "A causal language model",
    MASKED_LM: "A masked language model",
}
DROPOUT_TITLES = {
    ALIKE: "dropout at the same places",
    OWN_PLACES: "each with its own places of dropout",
    NO_DROPOUT: "no dropout",
}


@dataclass(frozen=True)
class SideRounds:
    """Rounds that measured several sides at one size."""

    rows: pd.DataFrame
    """One row per round and side."""

    @cached_property
    def first(self) -> pd.Series:
        """The first row, for what all rows share."""
        return self.rows.iloc[0]

    @cached_property
    def speeds(self) -> pd.DataFrame:
        """Real tokens per second, a line per round and a column per side."""
        speeds = self.rows.assign(speed=self.rows["tokens"] / self.rows["seconds"])
        return speeds.pivot(index="round", columns="side", values="speed")

    @property
    def sides(self) -> list[str]:
        """The sides, in the order of the first round."""
        return [str(side) for side in self.rows["side"].unique()]

    @property
    def reference(self) -> str:
        """The side that all are compared with: the first of ``REFERENCES`` that was measured, else the first side."""
        return next((side for side in REFERENCES if side in self.sides), self.sides[0])

    @property
    def others(self) -> list[str]:
        """The code of others that was fed with the same batches."""
        return [side for side in self.sides if not KNOWN[side].ours and KNOWN[side].grouped]

    @property
    def fastest_other(self) -> str | None:
        """The fastest code of others that was fed with the same batches; None if none was measured."""
        return max(self.others, key=lambda side: self.speeds[side].median(), default=None)

    @property
    def is_fair(self) -> bool:
        """Whether ours and other code had one precision and equally many processes, in a series with both."""
        ours = [side for side in ("plain", "lightning") if side in self.sides]
        return bool(ours and self.others) and len({self.precision(side) for side in (*ours, *self.others)}) == 1

    @property
    def left_out(self) -> list[str]:
        """Sides of others that could have trained the task on the same batches and were not measured."""
        fit = [name for name, side in ROSTER.items() if not side.ours and side.grouped]
        return [name for name in fit if self.first["task"] in ROSTER[name].tasks and name not in self.sides]

    def of(self, side: str) -> pd.DataFrame:
        """Return the rounds of one side."""
        return self.rows[self.rows["side"] == side]

    def precision(self, side: str) -> str:
        """Return the precision that a side trained in."""
        return str(self.of(side)["precision"].iloc[0])

    def ratios(self, ours: str, side: str) -> pd.Series:
        """Return how many times as fast as ``side`` ``ours`` is, in every round."""
        return self.speeds[ours] / self.speeds[side]

    def speedup(self, side: str, ours: str | None = None) -> MedianInterval:
        """Return how many times as fast as ``side`` another is: the median over rounds, with its interval.

        Args:
            side: what is compared with.
            ours: the other, the reference by default.
        """
        return median_interval(list(self.ratios(ours or self.reference, side)))

    def utilisation(self, side: str, number_format: str) -> float:
        """Return the model FLOP utilisation (Chowdhery et al. 2022, arXiv:2204.02311, appendix B), median of rounds.

        ::

            operations per real token × real tokens per second / operations per second of the machine's matrix product

        Padding and whatever a side computes beyond our network count as waste. The rate is that of one process.
        """
        rows = self.of(side)
        rates = rows[f"machine_{number_format}_gflops"] * 1e9
        return float((rows["flops_per_token"] * rows["tokens"] / rows["seconds"] / rates).median())

    @property
    def size(self) -> list[str]:
        """Task, layers, width, threads of a process and processes, as cells."""
        return [str(self.first[column]) for column in SIZE]

    @property
    def spoken(self) -> str:
        """Task, size, precision, threads or processes, and dropout, in words."""
        first = self.first
        task = TASK_TITLES.get(str(first["task"]), str(first["task"]))
        several = int(first["processes"]) > 1
        layers = plural(int(first["layers"]), "layer")
        how = f"{first['processes']} one-thread processes" if several else plural(int(first["threads"]), "thread")
        return (
            f"{task}, width {first['width']}, {layers}, {self.precision(self.others[0])}, {how}, "
            f"{DROPOUT_TITLES[self.of(self.others[0])['dropout'].iloc[0]]}"
        )


SIZE = ("task", "layers", "width", "threads", "processes")


def fair_section(measured: list[SideRounds]) -> PageSection:
    """Return ours next to every other code at one precision, with equally many processes, on the same batches."""
    columns = [*SIZE, "precision", "dropout", "plain", "fastest other", "real tokens/s", "plain ÷ other"]
    columns += ["lightning ÷ other", "notice"]
    rows, found, absent = [], [], []
    for each in measured:
        other = each.fastest_other
        if not each.is_fair or other is None:
            continue
        ours = "plain" if "plain" in each.sides else "lightning"
        ratio = each.speedup(other, ours)
        cells = [spelled(each.speedup(other, side), 2) if side in each.sides else EMPTY for side in OWN_LOOPS]
        speed = f"{each.speeds['plain'].median():.0f}" if "plain" in each.sides else EMPTY
        rows.append(
            [
                *(*each.size, each.precision(other), each.of(other)["dropout"].iloc[0], speed, other),
                f"{each.speeds[other].median():.0f}",
                *(*cells, notice(each.rows, each.ratios(ours, other)) or EMPTY),
            ]
        )
        found.append(
            f"{each.spoken}: ours trains {spelled(ratio, 2)} times as many real tokens per second as `{other}`, the "
            f"fastest of {joined([f'`{side}`' for side in each.others])}."
        )
        absent += each.left_out
    notes = [
        "All sides of a row have the same precision, batches, threads and processes. *plain* is our network in the "
        "bare loop in which the others train too, *lightning* a run as every grid makes it. Ratios are of real tokens "
        "per second within rounds. Dropout is *alike* where all drop embeddings and sublayers' outputs, *own* where "
        "the others drop attention probabilities or hidden units too, *none* where nothing is dropped. A *notice* "
        "tells of a machine that was busy before the first round, and of ratios that vary by more than 20 %.",
    ]
    if absent:
        notes.append(f"Not measured in every row: {joined(sorted(set(absent)))}.")
    return PageSection("Ours and other code at equal precision", found, TextTable(columns, rows), notes)


OWN_LOOPS = ("plain", "lightning")
"""Ours in the bare loop, and as every grid runs it."""


def usual_section(measured: list[SideRounds]) -> PageSection:
    """Return our run next to the ``Trainer`` of ``transformers``: as usual scripts run it, and a skilled user."""
    columns = [*SIZE, "ours", "our precision", "real tokens/s", *(f"ours ÷ {side}" for side in OTHER_BATCHES), "notice"]
    rows = []
    for each in measured:
        theirs = [side for side in OTHER_BATCHES if side in each.sides]
        if each.reference not in REFERENCES or not theirs:
            continue
        rows.append(
            [
                *(*each.size, each.reference, each.precision(each.reference)),
                f"{each.speeds[each.reference].median():.0f}",
                *(spelled(each.speedup(side), 2) if side in theirs else EMPTY for side in OTHER_BATCHES),
                notice(each.rows, each.ratios(each.reference, theirs[0])) or EMPTY,
            ]
        )
    notes = [
        "The `Trainer` draws its own batches. `hf_trainer` is the usual script: random batches padded to their longest "
        "row, float32, BERT's own dropout. `hf_trainer_fixed` pads to 128 tokens. `hf_trainer_tuned` is a skilled "
        "user's: batches grouped by length, in our precision. A measurement of few steps has fewer rows to group by "
        "length, so its batches hold more padding than an epoch's.",
    ]
    return PageSection("Ours and the Trainer of transformers", [], TextTable(columns, rows), notes)


def sides_section(measured: list[SideRounds]) -> PageSection:
    """Return the speed of every side, with padding, memory, utilisation and the ratio to the reference."""
    columns = [*SIZE, "side", "precision", "dropout", "real tokens/s", "rows/s", "padding", "peak MiB"]
    columns += [*(f"MFU {short}" for short in NUMBER_FORMATS.values()), "compared", "compared ÷ side"]
    rows = []
    for each in measured:
        for side in each.sides:
            of = each.of(side)
            peak = of["peak_memory_mib"].max()
            rows.append(
                [
                    *(*each.size, side, of["precision"].iloc[0], of["dropout"].iloc[0]),
                    f"{each.speeds[side].median():.0f}",
                    f"{(of['rows'] / of['seconds']).median():.0f}",
                    f"{(1 - of['tokens'] / of['positions']).median():.1%}",
                    EMPTY if pd.isna(peak) else f"{peak:.0f}",
                    *(f"{each.utilisation(side, name):.1%}" for name in NUMBER_FORMATS),
                    each.reference,
                    spelled(each.speedup(side), 2),
                ]
            )
    notes = [
        "The last column says how many times as fast as the side the *compared* one is, in real tokens per second "
        "within rounds. Training alone is timed. Peak memory is that of a process of its own, with interpreter, "
        "libraries and data. MFU, model FLOP utilisation, is the operations per real token times real tokens per "
        "second over the machine's rate below; padding counts as waste.",
    ]
    return PageSection("Every side", [], TextTable(columns, rows), notes)


def machine_section(measured: list[SideRounds]) -> PageSection | None:
    """Return what the sides were measured with: rounds, steps, operations per token, the machine's rates."""
    if not measured:
        return None
    columns = [*SIZE, "variant", "batches of", "corpus", "rounds", "coverage", "steps"]
    columns += ["MFLOP per token", *(f"GFLOP/s {short}" for short in NUMBER_FORMATS.values()), "load average"]
    rows = []
    for each in measured:
        first = each.first
        rates = each.rows.drop_duplicates("round")
        rows.append(
            [
                *(*each.size, first["variant"], first["batch_size"], first["corpus"]),
                *(str(len(each.speeds)), coverage(len(each.speeds))),
                *(f"{first['steps']:.0f}", f"{first['flops_per_token'] / 1e6:.2f}"),
                *(f"{rates[f'machine_{name}_gflops'].median():.0f}" for name in NUMBER_FORMATS),
                first["load_average"],
            ]
        )
    notes = [
        "Each round measures every side once, in changing order. *Coverage* is how often such an interval holds the "
        f"true median. The machine multiplies two {MATRIX_SIZE}×{MATRIX_SIZE} matrices, measured in every round.",
        where(pd.concat([each.rows for each in measured])),
    ]
    return PageSection("How the sides were measured", [], TextTable(columns, rows), notes)
