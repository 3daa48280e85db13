"""Probing a run shows what happens inside and changes none of its numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from synthetic_batches import SyntheticText, make_classifier, make_trainer

from lightning_modules.errors import ConfigurationError
from lightning_modules.probes.gradients import weight_matrices
from lightning_modules.probes.measuring import measure
from lightning_modules.training.callbacks import GradientNorms, History, Probes, Throughput


class Losses(Callback):
    """Keeps the loss of every step, to the last bit."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())


def fit(*callbacks: Callback, classifier: dict[str, Any] | None = None, **settings: Any):
    module = make_classifier(**{"dropout": 0.3, **(classifier or {})})
    trainer = make_trainer(max_epochs=2, callbacks=list(callbacks), **settings)
    trainer.fit(module, datamodule=SyntheticText())
    return module, trainer


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("variant", ["pre_ln", "plain"])
def test_probes_change_no_training_number(variant, clip):
    runs = []
    for probes in ([], [Probes(every_n_steps=1, rows=5)]):
        losses, history, norms = Losses(), History(), GradientNorms()
        settings = {"classifier": {"variant": variant}, "gradient_clip_val": clip}
        module, trainer = fit(losses, history, norms, *probes, **settings)
        record = history.as_record(trainer)
        assert ("probes" in record) == bool(probes)
        record.pop("probes", None)
        weights = {name: value.tolist() for name, value in module.state_dict().items()}
        runs.append((losses.losses, record, weights, torch.get_rng_state().tolist()))
    assert len(runs[0][0]) == 12
    assert runs[0] == runs[1]


def test_probes_measure_before_training_and_after_every_n_steps():
    probes = Probes(every_n_steps=4, rows=5)
    module, _ = fit(probes)
    assert probes.steps == [0, 4, 8, 12]
    batch = SyntheticText().train_sample(5)
    expected = measure(
        module.network, batch["input_ids"], batch["attention_mask"], lambda z: F.cross_entropy(z, batch["labels"])
    )
    for name, by_depth in expected.items():
        assert len(probes.values[name]) == 4
        assert probes.values[name][-1] == by_depth  # 12 is the last step
    assert probes.values["stream_rms"][0] != probes.values["stream_rms"][1]


class WeightsOfEveryStep(Callback):
    """Keeps one matrix after every step."""

    def __init__(self):
        self.matrices = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        weight = weight_matrices(pl_module.network.blocks[1])["attention_key"]
        self.matrices.append(weight.of(weight.parameter.detach()).clone())


def test_the_update_ratio_is_that_of_the_step_that_led_to_the_probed_weights():
    probes, weights = Probes(every_n_steps=5), WeightsOfEveryStep()
    fit(probes, weights)
    ratios = probes.values["update_ratio_attention_key"]
    assert probes.steps == [0, 5, 10]
    assert ratios[0] == [None, None]
    for index, step in ((1, 5), (2, 10)):
        before, after = weights.matrices[step - 1], weights.matrices[step]
        assert ratios[index][1] == pytest.approx(float((after - before).norm() / before.norm()))


def test_batches_that_share_an_optimiser_step_share_a_measurement():
    probes = Probes(every_n_steps=1)
    fit(probes, accumulate_grad_batches=3)
    assert probes.steps == [0, 1, 2, 3, 4]


def test_the_last_step_is_measured_where_it_is_asked_for():
    probes = Probes(every_n_steps=5, last_step=12)
    fit(probes)
    assert probes.steps == [0, 5, 10, 12]
    assert probes.values["update_ratio_attention_key"][-1][0] > 0


class PullThePlug(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 9:
            raise OSError("someone pulled the plug")


def test_a_resumed_run_has_the_probes_of_an_undisturbed_one(tmp_path):
    undisturbed = Probes(every_n_steps=2)
    fit(undisturbed)
    with pytest.raises(OSError, match="plug"):
        fit(
            Probes(every_n_steps=2), ModelCheckpoint(tmp_path, save_last=True), PullThePlug(), enable_checkpointing=True
        )
    resumed = Probes(every_n_steps=2)
    trainer = make_trainer(max_epochs=2, callbacks=[resumed])
    trainer.fit(make_classifier(dropout=0.3), datamodule=SyntheticText(), ckpt_path=tmp_path / "last.ckpt")
    assert resumed.as_record() == undisturbed.as_record()


def test_tensorboard_shows_every_measure_by_depth(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    probes = Probes(every_n_steps=5)
    fit(probes, logger=TensorBoardLogger(tmp_path, name="", version=""))
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = set(events.Tags()["scalars"])
    assert {f"probe/stream_rms/{part}" for part in ("embedding", "block_00", "block_01")} <= tags
    assert "probe/jacobian_largest/block_01" in tags and "probe/jacobian_largest/embedding" not in tags
    points = events.Scalars("probe/stream_rms/block_01")
    assert [point.step for point in points] == [0, 5, 10]
    assert [point.value for point in points] == pytest.approx(
        [by_depth[-1] for by_depth in probes.values["stream_rms"]]
    )
    assert [point.step for point in events.Scalars("probe/update_ratio_attention_key/block_00")] == [5, 10]


def test_a_network_without_blocks_has_its_embedding_probed():
    probes = Probes(every_n_steps=6)
    fit(probes, classifier={"variant": "bag_of_embeddings"})
    assert [len(by_depth) for by_depth in probes.values["stream_rms"]] == [1, 1, 1]


def test_what_is_not_finite_is_none_in_the_record():
    class Spoil(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            pl_module.network.blocks[0].feed_forward.function.output.weight.data.fill_(torch.nan)

    probes = Probes(every_n_steps=1)
    fit(Spoil(), probes, max_steps=1)
    assert probes.values["stream_rms"][1] == [pytest.approx(probes.values["stream_rms"][0][0], rel=0.1), None, None]


def test_probing_does_not_count_as_training_time(monkeypatch):
    import time

    import lightning_modules.training.callbacks.probes as module

    def slow(*arguments, **options):
        time.sleep(0.3)
        return measure(*arguments, **options)

    monkeypatch.setattr(module, "measure", slow)
    throughput = Throughput()
    begin = time.perf_counter()
    fit(throughput, Probes(every_n_steps=2))
    assert throughput.seconds < time.perf_counter() - begin - 7 * 0.3


def test_senseless_settings_are_refused():
    with pytest.raises(ConfigurationError, match="every_n_steps is 0"):
        Probes(every_n_steps=0)
    with pytest.raises(ConfigurationError, match="rows is -1"):
        Probes(every_n_steps=1, rows=-1)
