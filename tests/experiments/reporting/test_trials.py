"""Every tuning trial along a swept number is drawn: what it scored, whether it trained, whether it was chosen."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_records import make_record, write_runs

from experiments.reporting.frame import Description
from experiments.reporting.grid_report import write_report
from experiments.reporting.style import Picture
from experiments.reporting.trials import trials_figure
from experiments.runs.record import Record
from experiments.runs.store import Evidence

DESCRIPTION = Description(arguments="toy", title="Toy", purpose="To test.", conditions=("pre_ln", "no_residual"))
LAYERS, RATE = "model.layers", "model.learning_rate"


def run(condition: str, stage: str, layers: int, rate: float, **changes: Any) -> Record:
    seed = 1000 if stage == "tune" else 0
    config_hash = sha256(f"{condition}{stage}{layers}{rate}".encode()).hexdigest()[:16]
    return make_record(
        condition, seed, stage, swept={LAYERS: layers}, tuned={RATE: rate}, config_hash=config_hash, **changes
    )


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    """Two conditions at three depths and three rates; ``no_residual`` collapses always, 0.003 diverges at 24."""
    records = [
        run(condition, "tune", layers, rate, diverged=condition == "pre_ln" and (layers, rate) == (24, 0.003))
        for condition in ("pre_ln", "no_residual")
        for layers in (2, 6, 24)
        for rate in (0.0003, 0.001, 0.003)
    ]
    finals = [run(name, "final", layers, 0.001) for name in ("pre_ln", "no_residual") for layers in (2, 6, 24)]
    return Evidence.gather(write_runs(tmp_path / "runs", [*records, *finals]), tmp_path / "none")


def drawn(evidence: Evidence) -> Picture:
    picture = trials_figure(LAYERS, RATE, evidence, DESCRIPTION)
    assert picture is not None
    return picture


def places(figure: Figure, panel: int, marker: str) -> set[tuple[float, float]]:
    """Return where a panel has lines of a marker: the place along the axis of depths, and the rate at its height."""
    labelled = figure.axes[0]  # the others share its axis
    ticks = zip(labelled.get_yticks(), labelled.get_yticklabels(), strict=True)
    rates = {float(at): float(label.get_text()) for at, label in ticks}
    lines = [line for line in figure.axes[panel].lines if line.get_marker() == marker]
    return {(float(np.asarray(line.get_xdata())[0]), rates[float(np.asarray(line.get_ydata())[0])]) for line in lines}


def test_what_failed_is_a_cross_what_trained_shows_its_score_and_what_was_chosen_has_a_ring(evidence: Evidence) -> None:
    picture = drawn(evidence)
    figure = picture.figure
    everywhere = {(x, rate) for x in (0, 1, 2) for rate in (0.0003, 0.001, 0.003)}
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Pre-LN", "No residual"]
    assert places(figure, 0, "x") == {(2, 0.003)}
    assert places(figure, 1, "x") == everywhere
    assert places(figure, 0, "o") == {(x, 0.001) for x in (0, 1, 2)}
    assert places(figure, 1, "o") == set(), "no trial trained, so none was better"
    assert places(figure, 1, "s") == {(x, 0.001) for x in (0, 1, 2)}
    assert "Square: none trained, this one taken." in picture.caption
    trial = next(trial for trial in evidence.trials if trial.outcome.status == "trained")
    assert trial.validation is not None
    scores = [text.get_text() for text in figure.axes[0].texts]
    assert scores == [f"{100 * trial.validation.metrics['macro_f1']:.0f}"] * 8


def test_the_title_says_up_to_which_value_the_deepest_trains(evidence: Evidence) -> None:
    title = drawn(evidence).title
    assert title == "Largest learning rate that trained at 24 layers: Pre-LN 0.001; none in No residual"


def test_what_was_not_tried_at_the_greatest_depth_is_not_said_to_fail(evidence: Evidence) -> None:
    evidence.records = [r for r in evidence.records if (r.condition, r.swept[LAYERS]) != ("pre_ln", 24)]
    assert drawn(evidence).title == "Largest learning rate that trained at 24 layers: none"


def test_a_grid_that_sweeps_something_else_too_has_no_such_figure(evidence: Evidence) -> None:
    for record in evidence.trials:
        record.swept["model.dropout"] = 0.1
    assert trials_figure(LAYERS, RATE, evidence, DESCRIPTION) is None


def test_a_report_shows_it_with_its_caption(evidence: Evidence, tmp_path: Path) -> None:
    write_report(evidence, tmp_path / "report", DESCRIPTION, everything=True)
    name = "trials_by_layers_and_learning_rate.png"
    assert (tmp_path / "report" / "figures" / name).is_file()
    text = (tmp_path / "report" / "report.md").read_text()
    assert f"none in No residual](figures/{name})" in text
    assert "Tuning trials by a swept and a tuned value." in text
