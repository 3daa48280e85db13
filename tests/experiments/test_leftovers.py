"""What TensorBoard shows of a finished run beside its curves."""

from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Experiment
from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo
from tiny_runs import make, tiny_run

from experiments.planning.runs import Run
from experiments.runs.run_folder import read_record

GROUP = "with_best_weights/"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def diverging(run: Run) -> Run:
    values = {"model.learning_rate": 1e30, "model.optimizer": "sgd", "model.warmup_fraction": 0.0}
    return replace(run, config=run.config.with_values(values))


def shown(folder: Path) -> tuple[Experiment, SessionStartInfo, EventAccumulator]:
    """Return the columns of the HPARAMS tab, the run's settings in it, and all its events."""
    events = EventAccumulator(str(folder)).Reload()
    content = [
        events.SummaryMetadata(tag).plugin_data.content
        for tag in (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG)
    ]
    return (
        metadata.parse_experiment_plugin_data(content[0]),
        metadata.parse_session_start_info_plugin_data(content[1]),
        events,
    )


def test_the_hparams_tab_shows_what_conditions_differ_in_and_their_final_scores(cache: Path, tmp_path: Path) -> None:
    folder = make(tiny_run(cache), tmp_path)
    record = read_record(folder)
    experiment, session, events = shown(folder)
    assert [info.name.tag.removeprefix(GROUP) for info in experiment.metric_infos] == [
        *("test_macro_f1", "validation_macro_f1", "test_accuracy", "validation_accuracy")
    ]
    assert set(session.hparams) == {"condition", "layers", "learning_rate", "outcome", "seed", "stage"}
    assert session.hparams["condition"].string_value == "pre_ln"
    assert record.test is not None and record.validation is not None
    (point,) = events.Scalars(f"{GROUP}test_macro_f1")
    assert (point.step, point.value) == (record.progress["steps"], pytest.approx(record.test.metrics["macro_f1"]))
    assert events.Scalars(f"{GROUP}validation_accuracy")[0].value == pytest.approx(
        record.validation.metrics["accuracy"]
    )
    groups = [tag.split("/")[0] for tag in sorted(events.Tags()["scalars"])]
    in_order = list(dict.fromkeys(groups))
    assert in_order == ["loss_and_score", "training", GROUP.rstrip("/")], "losses and scores come first"
    assert {"loss_and_score/train_loss", "loss_and_score/validation_macro_f1"} <= set(events.Tags()["scalars"])


def test_a_diverged_run_stands_in_the_hparams_tab_with_the_same_columns(cache: Path, tmp_path: Path) -> None:
    folder = make(diverging(tiny_run(cache, condition="no_norm")), tmp_path)
    experiment, session, events = shown(folder)
    assert session.hparams["outcome"].string_value == "diverged"
    assert experiment == shown(make(tiny_run(cache), tmp_path))[0]
    assert not [tag for tag in events.Tags()["scalars"] if tag.startswith(GROUP)]
