"""Every figure shows the numbers of its records: what is read off its lines and images is compared with them."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_records import SEEDS, make_record, rows_of, with_scores

from experiments.reporting.figures import gradient_figure, overview_figure
from experiments.reporting.panels import confusion_figure, loss_figure


def test_scores_show_every_seed_its_mean_and_its_interval() -> None:
    (row,) = rows_of(*(make_record("post_ln", seed) for seed in SEEDS))
    figure = overview_figure([row]).figure
    seeds, interval, mean = figure.axes[0].get_lines()
    spread = row.score
    assert list(seeds.get_xdata()) == [scores.metrics["macro_f1"] for scores in row.scored]
    assert list(interval.get_xdata()) == [spread.low, spread.high]
    assert list(mean.get_xdata()) == [spread.mean]


def test_gradient_norms_run_from_the_embedding_to_the_head() -> None:
    picture = gradient_figure(rows_of(make_record("no_residual", 0), make_record("post_ln", 0)))
    assert picture is not None
    figure = picture.figure
    steady, vanishing = figure.axes[0].get_lines()
    # The synthetic norms of six places fall by 0.1 or 0.9 from each to the one before it.
    assert list(vanishing.get_xdata()) == list(range(6))
    assert list(vanishing.get_ydata()) == pytest.approx([0.1**n for n in (6, 5, 4, 3, 2, 1)])
    assert list(steady.get_ydata()) == pytest.approx([0.9**n for n in (6, 5, 4, 3, 2, 1)])
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == ["embedding", "1", "2", "3", "4", "head"]


def test_losses_are_the_means_over_seeds_of_training_and_validation() -> None:
    records = [make_record("post_ln", seed) for seed in SEEDS]
    picture = loss_figure(rows_of(*records))
    assert picture is not None
    drawn = {str(line.get_label()): np.asarray(line.get_ydata()) for line in picture.figure.axes[0].get_lines()}
    for split in ("train", "validation"):
        expected = np.mean([record.history[split]["loss"] for record in records], axis=0)
        assert drawn[split] == pytest.approx(expected)


def test_true_classes_are_the_lines_of_a_confusion_matrix() -> None:
    record = make_record("post_ln", 0)
    assert record.test is not None
    counts = [[9, 1, 0], [3, 3, 0], [0, 0, 4]]
    picture = confusion_figure(rows_of(with_scores(record, "test", confusion=counts)))
    assert picture is not None
    figure = picture.figure
    (image,) = figure.axes[0].get_images()
    assert np.asarray(image.get_array()) == pytest.approx(np.array([[0.9, 0.1, 0], [0.5, 0.5, 0], [0, 0, 1]]))
    assert figure.axes[0].get_ylabel() == "true class" and figure.axes[0].get_xlabel() == "predicted class"


def test_classes_that_the_font_lacks_are_numbers_with_a_key_in_the_caption() -> None:
    record = make_record("post_ln", 0)
    assert record.test is not None
    classes = [{**entry, "class": name} for entry, name in zip(record.test.details["per_class"], "体财家", strict=True)]
    picture = confusion_figure(rows_of(with_scores(record, "test", per_class=classes)))
    assert picture is not None
    assert [label.get_text() for label in picture.figure.axes[0].get_xticklabels()] == ["0", "1", "2"]
    assert picture.caption.endswith("The classes: 0 体, 1 财, 2 家.")
