"""What the callbacks say about a run is true."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from synthetic_batches import SyntheticText, make_classifier, make_trainer
from torch.utils.data import DataLoader

from lightning_modules.training.callbacks import (
    ConfusionMatrixPicture,
    DivergenceGuard,
    GradientNorms,
    History,
    Throughput,
    confusion_matrix,
)
from lightning_modules.training.callbacks.confusion_matrix import draw_confusion_matrix
from lightning_modules.training.callbacks.divergence import divergence_reason
from lightning_modules.training.evaluation import predict, score


class TrueGradients(Callback):
    """Measures every gradient by hand before it is clipped."""

    def __init__(self):
        self.norms = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        parts = pl_module.network.parts().values()
        gradients = [torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]) for parameters in parts]
        self.norms.append([gradient.double().norm().item() for gradient in gradients])


def test_gradient_norms_are_those_before_clipping_in_all_and_by_depth(tmp_path):
    truth, norms, history = TrueGradients(), GradientNorms(kept=7), History()
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = make_trainer(max_epochs=2, callbacks=[truth, norms, history], gradient_clip_val=0.01, logger=logger)
    trainer.fit(make_classifier(layers=3), datamodule=SyntheticText())
    assert norms.steps == [1, 2, 4, 6, 8, 10, 12]
    np.testing.assert_allclose(norms.blocks, [truth.norms[step - 1] for step in norms.steps], rtol=1e-5)
    assert len(norms.blocks[0]) == 5  # embedding, three blocks, head
    logged = pd.read_csv(tmp_path / "metrics.csv").dropna(subset="gradient_norm/all").iloc[-1]
    assert logged["step"] == 11  # as Lightning counts, from 0
    assert logged["gradient_norm/block_02"] == pytest.approx(truth.norms[-1][3], rel=1e-5)
    assert logged["gradient_norm/all"] == pytest.approx(np.linalg.norm(truth.norms[-1]), rel=1e-5)
    totals = [np.linalg.norm(truth.norms[step - 1]) for step in history.train["step"]]
    assert history.train["gradient_norm"] == pytest.approx(totals, rel=1e-5)


def test_the_whole_course_of_gradient_norms_is_kept_thinned_evenly():
    truth, norms = TrueGradients(), GradientNorms(kept=4)
    trainer = make_trainer(max_epochs=4, callbacks=[truth, norms], log_every_n_steps=1)
    trainer.fit(make_classifier(layers=1), datamodule=SyntheticText())
    assert norms.steps == [1, 9, 17]  # of steps 1 to 24; every second, every fourth, then every eighth
    np.testing.assert_allclose(norms.blocks, [truth.norms[step - 1] for step in norms.steps], rtol=1e-5)
    again = GradientNorms(kept=4)
    again.load_state_dict(norms.state_dict())
    assert (again.steps, again.measured, again.stride) == (norms.steps, 24, 8)
    again.load_state_dict({"steps": [1, 2], "blocks": [[0.1], [0.2]]})  # of a checkpoint from before thinning
    assert (again.measured, again.stride) == (2, 1)


class TextWithSample(SyntheticText):
    def train_sample_dataloader(self):
        return DataLoader(self.train_batches[:2], batch_size=None, shuffle=True)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_scoring_training_rows_changes_no_number_of_the_training(precision):
    weights, histories = [], []
    for history in (History(), History(train_metrics=["macro_f1"])):
        trainer = make_trainer(max_epochs=3, callbacks=[history], precision=precision)
        module = make_classifier(dropout=0.2)
        torch.manual_seed(0)
        trainer.fit(module, datamodule=TextWithSample())
        weights.append([parameter.detach().clone() for parameter in module.parameters()] + [torch.get_rng_state()])
        histories.append(history)
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
    plain, tracked = histories
    assert {name: tracked.validation[name] for name in plain.validation} == plain.validation
    assert tracked.train == plain.train
    assert len(tracked.validation["train_macro_f1"]) == 3
    last = score(predict(module, TextWithSample().train_sample_dataloader()), trainer.datamodule.facts.class_names)
    if precision == "32-true":
        assert tracked.validation["train_macro_f1"][-1] == pytest.approx(last["macro_f1"])


def test_batches_that_share_an_optimiser_step_share_a_point_of_the_curves():
    history, text = History(), SyntheticText()
    trainer = make_trainer(max_epochs=1, callbacks=[history], log_every_n_steps=1, accumulate_grad_batches=3)
    module = make_classifier(dropout=0.0, learning_rate=1e-12)  # as good as standing still
    trainer.fit(module, datamodule=text)
    assert history.train["step"] == [1, 2]
    assert None not in history.train["gradient_norm"]
    last_of_each_step = (text.train_batches[2], text.train_batches[5])
    losses = [float(module.training_loss(module(batch), batch["labels"])) for batch in last_of_each_step]
    assert history.train["loss"] == pytest.approx(losses, rel=1e-4)


def test_history_holds_the_first_the_logged_steps_and_every_validation():
    history = History()
    text = SyntheticText()
    trainer = make_trainer(max_epochs=2, callbacks=[history], num_sanity_val_steps=2, log_every_n_steps=4)
    trainer.fit(make_classifier(), datamodule=text)
    tokens = np.cumsum([int(batch["attention_mask"].sum()) for batch in 2 * text.train_batches])
    assert history.train["step"] == [1, 4, 8, 12]
    assert history.train["tokens"] == [tokens[step - 1] for step in (1, 4, 8, 12)]
    assert history.validation["step"] == [6, 12]
    assert history.validation["tokens"] == [tokens[5], tokens[11]]
    for name in ("loss", "accuracy", "macro_f1"):
        assert history.validation[name][-1] == float(trainer.callback_metrics[f"validation/{name}"])
    record = history.as_record(trainer)
    assert record["gradient_norms"] == {"step": [], "blocks": []}
    assert set(map(type, record["train"]["loss"])) == {float}


def test_every_promised_value_is_logged(tmp_path):
    logger = CSVLogger(tmp_path)
    callbacks = [GradientNorms(), Throughput(), History()]
    make_trainer(logger=logger, callbacks=callbacks).fit(make_classifier(), datamodule=SyntheticText())
    header = set((tmp_path / "lightning_logs/version_0/metrics.csv").read_text().splitlines()[0].split(","))
    scores = ("loss", "accuracy", "macro_precision", "macro_recall", "macro_f1")
    gradients = ("all", "embedding", "block_00", "block_01", "head")
    assert header >= {f"validation/{name}" for name in scores} | {f"gradient_norm/{name}" for name in gradients}
    assert header >= {"train/loss", "learning_rate", "throughput/tokens_per_second"}


class SlowValidation(Callback):
    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        time.sleep(0.2)


def test_throughput_counts_real_tokens_and_no_validation_time():
    throughput, text = Throughput(), SyntheticText()
    trainer = make_trainer(max_epochs=2, callbacks=[throughput, SlowValidation()])
    begin = time.perf_counter()
    trainer.fit(make_classifier(), datamodule=text)
    wall = time.perf_counter() - begin
    assert throughput.tokens == 2 * sum(int(batch["attention_mask"].sum()) for batch in text.train_batches)
    assert 0 < throughput.seconds < wall - 2 * 3 * 0.2
    assert throughput.tokens_per_second == pytest.approx(throughput.tokens / throughput.seconds)
    again = Throughput()
    again.load_state_dict(throughput.state_dict())
    assert (again.tokens, again.seconds) == (throughput.tokens, pytest.approx(throughput.seconds))


def test_an_exploding_run_stops_at_once_and_leaves_no_checkpoint(tmp_path):
    guard, history = DivergenceGuard(), History()
    checkpoint = ModelCheckpoint(tmp_path, monitor="validation/loss", save_last=True)
    trainer = make_trainer(max_epochs=3, callbacks=[guard, history, checkpoint], enable_checkpointing=True)
    module = make_classifier(variant="no_norm", optimizer="sgd", learning_rate=1e6, warmup_fraction=0.0)
    trainer.fit(module, datamodule=SyntheticText())
    assert guard.has_diverged
    assert guard.step == trainer.global_step <= 4
    assert f"at step {guard.step}" in guard.reason
    assert history.validation["step"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_later_explosion_leaves_the_checkpoints_from_before(tmp_path):
    class Explode(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                pl_module.network.head.linear.weight.data.fill_(float("nan"))

    guard = DivergenceGuard()
    checkpoint = ModelCheckpoint(tmp_path, save_last=True)
    trainer = make_trainer(max_epochs=3, callbacks=[guard, Explode(), checkpoint], enable_checkpointing=True)
    trainer.fit(make_classifier(), datamodule=SyntheticText())
    assert guard.step == 7 and guard.reason == "The loss became nan at step 7."
    for path in tmp_path.iterdir():
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(value.isfinite().all() for value in state.values())
    assert (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("loss", "norm", "reason"),
    [
        (0.5, 2.0, ""),
        (float("nan"), 2.0, "The loss became nan at step 7."),
        (0.5, float("inf"), "The gradient norm became inf at step 7."),
    ],
)
def test_a_loss_or_a_gradient_that_is_not_finite_is_divergence(loss, norm, reason):
    assert divergence_reason(loss, norm, 7) == reason


def test_a_healthy_run_is_left_alone():
    guard = DivergenceGuard()
    trainer = make_trainer(callbacks=[guard])
    trainer.fit(make_classifier(), datamodule=SyntheticText())
    assert not guard.has_diverged and guard.reason == "" and trainer.global_step == 6


def test_the_confusion_matrix_reaches_tensorboard_after_each_validation(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, name="", version="")
    trainer = make_trainer(max_epochs=2, logger=logger, callbacks=[ConfusionMatrixPicture()])
    trainer.fit(make_classifier(), datamodule=SyntheticText())
    events = EventAccumulator(str(tmp_path)).Reload()
    images = events.Images("validation/confusion_matrix")
    assert [image.step for image in images] == [6, 12]
    assert images[0].encoded_image_string.startswith(b"\x89PNG")


@pytest.mark.parametrize(("epochs", "drawn"), [(10, range(1, 11)), (25, (3, 5, 8, 10, 13, 15, 18, 20, 23, 25))])
def test_of_many_validations_ten_are_drawn_evenly_and_the_last_of_them(epochs, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(confusion_matrix, "draw_confusion_matrix", lambda *_: np.zeros((2, 2, 3), np.uint8))
    steps = []
    logger = TensorBoardLogger(tmp_path, name="", version="")
    monkeypatch.setattr(logger.experiment, "add_image", lambda *_, global_step, dataformats: steps.append(global_step))
    picture, module = ConfusionMatrixPicture(), make_classifier(layers=1)
    for _ in range(2):
        trainer = make_trainer(max_epochs=epochs, logger=logger, callbacks=[picture])
        trainer.fit(module, datamodule=SyntheticText())
    assert steps == 2 * [6 * epoch for epoch in drawn]


def test_the_confusion_matrix_picture_has_true_classes_in_lines_and_predicted_ones_in_columns():
    all_called_a = draw_confusion_matrix(np.array([[5, 0], [7, 0]]), ("a", "b"), "title")
    assert all_called_a.dtype == np.uint8 and all_called_a.shape[-1] == 3
    red, blue = all_called_a[..., 0].astype(int), all_called_a[..., 2].astype(int)
    lines, columns = np.nonzero(blue - red > 60)
    assert np.ptp(lines) > 1.8 * np.ptp(columns), "the column of the predicted class is dark, from top to bottom"


@pytest.mark.parametrize("classes", [2, 5, 10, 20])
def test_the_confusion_matrix_picture_fits_a_gallery_whatever_the_number_of_classes(classes):
    image = draw_confusion_matrix(
        np.eye(classes, dtype=np.int64) * 9, [f"class {index}" for index in range(classes)], "Validation, after step 9"
    )
    assert 200 < image.shape[1] <= 600, "TensorBoard shrinks a wider one until its type cannot be read"


@pytest.mark.parametrize(
    "names", [["$", "$$", "$x_1^2$"], ["a\x1b[31m", "b", "c"], ["新闻", "体育", "财经"], ["x" * 99, "b", "c"]]
)
def test_the_confusion_picture_of_any_class_names_can_be_drawn(names, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    inner = Axes.set_yticks
    monkeypatch.setattr(Axes, "set_yticks", lambda axes, *a, **k: drawn.append((axes, k)) or inner(axes, *a, **k))
    draw_confusion_matrix(np.eye(3, dtype=int), names, "title")  # raises on what matplotlib cannot parse
    ((axes, _),) = drawn
    labels = axes.get_yticklabels()
    assert not any(label.get_parse_math() for label in [*labels, *axes.get_xticklabels()])
    shown = [label.get_text() for label in labels]
    expected = {"$": names, "a": [r"a\x1b[31m", "b", "c"], "新": ["0", "1", "2"], "x": ["x" * 29 + "…", "b", "c"]}
    assert shown == expected[names[0][0]]
