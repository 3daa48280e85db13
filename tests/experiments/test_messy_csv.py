"""A run on the kind of file people bring: HTML-ridden, in several languages, full of duplicates."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_runs import make, tiny_run

from data_modules.labelled_text import TextDataModule
from experiments.planning.runs import Run
from experiments.runs.run_folder import read_record

TOPICS = {
    "food": ("rice soup", "<b>bread</b> &amp; cheese", "面条 好吃", "crème brûlée", "суп вкусный"),
    "ships": (
        "a sailing ship",
        "<a href='x'>anchor</a>&nbsp;chain",
        "轮船 出港",
        "le bateau à voile",
        "корабль плывёт",
    ),
}


def messy_rows() -> pd.DataFrame:
    """Return 300 rows about two topics, then 60 copies of some, two contradictions and three rows of nothing."""
    rows = [
        (f"<p>{phrases[index % 5]}</p>\t<br/> {phrases[(index // 5) % 5]}\x07 no&#46; {index} \U0001f600", label)
        for index in range(150)
        for label, phrases in TOPICS.items()
    ]
    copies = [(text.replace("<p>", "<div class='y'>").replace("no", "NO"), label) for text, label in rows[:60]]
    quarrel = [("the same words", "food"), ("The <i>same</i> words", "ships")]
    nothing = [("", "food"), ("  ", "ships"), ("<br><br>", "food")]
    return pd.DataFrame([*rows, *copies, *quarrel, *nothing], columns=["text", "label"])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    messy_rows().to_csv(tmp_path / "messy.csv", index=False)
    tiny = tiny_run(tmp_path / "cache")
    data = replace(
        tiny.config.data,
        corpus="csv",
        train_file=str(tmp_path / "messy.csv"),
        near_duplicate_threshold=None,
        validation_fraction=0.2,
        test_fraction=0.2,
        batch_size=16,
    )
    config = replace(tiny.config, data=data, trainer=replace(tiny.config.trainer, max_epochs=3))
    return replace(tiny, corpus=data.slug, config=config)


def test_a_run_on_a_messy_csv_learns_and_its_record_says_what_was_removed(run: Run, tmp_path: Path) -> None:
    folder = make(run, tmp_path / "results")
    record = read_record(folder)
    assert record.data["removed"] == {"empty": 3, "contradictory_labels": 2, "repeated": 60}
    assert record.data["rows"] == {"train": 180, "validation": 60, "test": 60}
    assert record.data["source"] == "file:messy.csv"
    assert record.outcome.status == "trained"
    assert record.test is not None and record.test.metrics["macro_f1"] > 0.9
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert (predictions["label"] == predictions["predicted"]).mean() == pytest.approx(record.test.metrics["accuracy"])


def test_no_text_that_the_network_sees_is_twice_there_or_holds_markup(run: Run) -> None:
    torch.set_num_threads(1)
    module = TextDataModule(**vars(run.config.data))
    texts = [text for split in ("train", "validation", "test") for text in module.texts(split)]
    assert len({text.lower() for text in texts}) == len(texts) == 300
    assert not any(mark in text for text in texts for mark in ("<", "&amp;", "&nbsp;", "\x07", "\t"))
    assert any("面条 好吃" in text for text in texts) and any("crème brûlée" in text for text in texts)
