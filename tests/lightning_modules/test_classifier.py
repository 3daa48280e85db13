"""Training through Lightning: reproducible, resumable, and loadable afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from representative import REPRESENTATIVE
from synthetic_batches import FACTS, SyntheticText, make_batch, make_classifier, make_trainer

from lightning_modules.errors import ConfigurationError
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.callbacks import (
    DivergenceGuard,
    GradientNorms,
    History,
    Probes,
    StepBudget,
    Throughput,
)


def fit(module: TextClassifier, *, ckpt_path: Path | None = None, **settings: Any) -> History:
    history = History()
    callbacks = [history, GradientNorms(), Throughput(), DivergenceGuard(), *settings.pop("callbacks", [])]
    trainer = make_trainer(callbacks=callbacks, **settings)
    trainer.fit(module, datamodule=SyntheticText(), ckpt_path=ckpt_path)
    history.record = history.as_record(trainer)
    return history


def assert_same_weights(first: torch.nn.Module, second: torch.nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not ours[name].equal(theirs[name])] == []


def test_the_same_seed_gives_bit_equal_results_whatever_ran_before():
    modules = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        modules.append(make_classifier(seed=5, dropout=0.3))
        modules[-1].history = fit(modules[-1], max_epochs=2)
    assert_same_weights(*modules)
    assert modules[0].history.record == modules[1].history.record


def test_another_seed_gives_other_results():
    first, second = make_classifier(seed=5), make_classifier(seed=6)
    losses = [fit(module).train["loss"] for module in (first, second)]
    assert losses[0] != losses[1]


def test_every_batch_of_every_epoch_and_seed_draws_its_own_dropout():
    draws = []

    class Draw(Callback):
        def on_before_backward(self, trainer, pl_module, loss):
            draws.append(tuple(torch.rand(4, generator=torch.Generator().set_state(torch.get_rng_state())).tolist()))

    for seed in (1, 2, 1):
        fit(make_classifier(seed=seed), max_epochs=2, callbacks=[Draw()])
    assert len(set(draws)) == 2 * 2 * 6
    assert draws[:12] == draws[24:]


class PullThePlug(Callback):
    """Ends the process's training in the second epoch, as a crash would."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 3:
            raise OSError("the plug was pulled")


@pytest.mark.parametrize("save_on_train_epoch_end", [True, False])
def test_an_interrupted_and_resumed_run_equals_an_undisturbed_one(tmp_path, save_on_train_epoch_end):
    settings = {"dropout": 0.3, "decay": "cosine", "optimizer": "adamw"}
    undisturbed = make_classifier(**settings)
    expected = fit(undisturbed, max_epochs=2)

    def checkpoint() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=save_on_train_epoch_end)

    options = {"max_epochs": 2, "enable_checkpointing": True}
    with pytest.raises(OSError, match="plug"):
        fit(make_classifier(**settings), callbacks=[checkpoint(), PullThePlug()], **options)
    resumed = make_classifier(**settings)
    history = fit(resumed, ckpt_path=tmp_path / "last.ckpt", callbacks=[checkpoint()], **options)
    assert_same_weights(undisturbed, resumed)
    assert history.record == expected.record
    assert (
        history.tokens
        == expected.tokens
        == 2 * sum(int(batch["attention_mask"].sum()) for batch in SyntheticText().train_batches)
    )


@pytest.mark.parametrize("variant", REPRESENTATIVE)
def test_a_checkpoint_loads_by_itself_and_predicts_the_same(tmp_path, variant):
    module = make_classifier(variant=variant, class_weights="balanced")
    trainer = make_trainer(limit_train_batches=2)
    trainer.fit(module, datamodule=SyntheticText())
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = TextClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert loaded.config == module.config and loaded.facts == FACTS and not loaded.training
    assert_same_weights(module, loaded)
    torch.testing.assert_close(loaded(make_batch(4)), module.eval()(make_batch(4)), rtol=0, atol=0)


def test_single_settings_may_be_replaced_while_loading(tmp_path):
    trainer = make_trainer(limit_train_batches=1)
    trainer.fit(make_classifier(dropout=0.3), datamodule=SyntheticText())
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    assert TextClassifier.load_from_checkpoint(tmp_path / "model.ckpt", dropout=0.1).config.dropout == 0.1


class Hostile:
    def __reduce__(self):
        return (print, ("code from the file ran",))


def test_code_in_a_checkpoint_is_never_run(tmp_path, capsys):
    torch.save({"state_dict": {}, "hyper_parameters": Hostile()}, tmp_path / "model.ckpt")
    with pytest.raises(ConfigurationError, match="not a readable checkpoint"):
        TextClassifier.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=False)
    assert "ran" not in capsys.readouterr().out


def test_checkpoints_hold_plain_values_only(tmp_path):
    trainer = make_trainer(callbacks=[History(), GradientNorms(), Throughput(), DivergenceGuard(), Probes(3)])
    trainer.fit(make_classifier(), datamodule=SyntheticText())
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    checkpoint = torch.load(tmp_path / "model.ckpt", weights_only=True)  # refuses any other object
    assert checkpoint["hyper_parameters"]["variant"] == "pre_ln"
    assert checkpoint["facts"]["class_names"] == FACTS.class_names


@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_a_damaged_checkpoint_is_one_readable_sentence(tmp_path, damage):
    path = tmp_path / "model.ckpt"
    module, trainer = make_classifier(), make_trainer(limit_train_batches=1)
    trainer.fit(module, datamodule=SyntheticText())
    trainer.save_checkpoint(path)
    path.write_bytes(path.read_bytes()[:2000] if damage == "truncated" else b"not a checkpoint")
    with pytest.raises(ConfigurationError, match=r"model\.ckpt is not a readable checkpoint"):
        TextClassifier.load_from_checkpoint(path)


def test_a_missing_checkpoint_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        TextClassifier.load_from_checkpoint(tmp_path / "none.ckpt")


def test_without_a_data_module_the_error_says_what_is_missing():
    text = SyntheticText()
    with pytest.raises(ConfigurationError, match="data module with facts"):
        make_trainer().fit(make_classifier(), train_dataloaders=text.train_dataloader())


@pytest.mark.parametrize(("schedule_epochs", "max_epochs", "expected"), [(None, 2, 12), (5, 2, 30)])
def test_the_schedule_spans_configured_epochs_whatever_is_left_to_do(schedule_epochs, max_epochs, expected):
    module = make_classifier(schedule_epochs=schedule_epochs, decay="linear", warmup_fraction=0.0)
    rates = fit(module, max_epochs=max_epochs, log_every_n_steps=1).train["learning_rate"]
    assert rates == pytest.approx([1e-3 * (1 - step / expected) for step in range(6 * max_epochs)])


def test_the_schedule_counts_optimiser_steps_where_batches_share_them():
    module = make_classifier(decay="linear", warmup_fraction=0.0)
    rates = fit(module, max_epochs=2, log_every_n_steps=1, accumulate_grad_batches=4).train["learning_rate"]
    assert rates == pytest.approx([1e-3 * (1 - step / 4) for step in range(4)])  # of 6 batches the last 2 make a step


def test_a_schedule_without_an_end_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"set model\.schedule_epochs, trainer\.max_epochs or trainer\.max_steps"
    ):
        fit(make_classifier(), max_epochs=-1)


@pytest.mark.parametrize(
    ("settings", "spanned"),
    [
        ({"max_steps": 9}, 9),
        ({"max_epochs": 5, "max_steps": 9}, 30),
        ({"callbacks": [StepBudget(9)]}, 9),
    ],
    ids=["max_steps", "max_epochs and max_steps", "StepBudget"],
)
def test_a_schedule_is_as_long_as_the_training_that_is_configured(settings, spanned):
    module = make_classifier(learning_rate=0.8, warmup_fraction=0.0)
    rates = fit(module, log_every_n_steps=1, **{"max_epochs": -1, **settings}).train
    assert rates["step"] == list(range(1, 10))
    assert rates["learning_rate"] == pytest.approx([0.8 * (spanned - step) / spanned for step in range(9)])


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_clipping_bounds_the_gradient_and_the_measured_norm_is_that_before(algorithm):
    seen = []

    class Look(Callback):
        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            gradients = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
            if gradients:
                seen.append((pl_module.gradient_norm.item(), torch.cat(gradients)))

    limit = 0.01
    settings = {"gradient_clip_val": limit, "gradient_clip_algorithm": algorithm}
    history = fit(make_classifier(), callbacks=[Look()], log_every_n_steps=1, **settings)
    unclipped = fit(make_classifier(), log_every_n_steps=1)
    for norm, gradient in seen:
        size = gradient.norm() if algorithm == "norm" else gradient.abs().max()
        assert size.item() <= limit * 1.001 and norm > limit
    assert history.train["gradient_norm"][0] == pytest.approx(unclipped.train["gradient_norm"][0])


@pytest.mark.parametrize("settings", [
    {"optimizer": "sgd"}, {"optimizer": "momentum"}, {"optimizer": "rmsprop"}, {"optimizer": "adam"},
    {"loss": "mean_squared_error"}, {"class_weights": "balanced", "label_smoothing": 0.1},
    {"positions": "sinusoidal", "pooling": "first"}, {"positions": "none", "activation": "gelu"},
    {"initialisation": "gaussian"}, {"initialisation": "random", "initialisation_gain": 0.5},
    {"feed_forward_width": 24, "heads": 2, "decay": "constant"},
])  # fmt: skip
def test_every_setting_trains_towards_a_lower_loss(settings):
    rate = 0.1 if settings.get("optimizer") in ("sgd", "momentum") else 3e-3
    module = make_classifier(**{"learning_rate": rate, "dropout": 0.0, "variant": "post_ln", **settings})
    losses = fit(module, max_epochs=6, log_every_n_steps=1).train["loss"]
    assert sum(losses[-6:]) < sum(losses[:6])


def test_bfloat16_trains_close_to_float32_and_attention_stays_in_float32(monkeypatch):
    kernel, dtypes = torch.nn.functional.scaled_dot_product_attention, set()

    def spy(query, *arguments, **keywords):
        dtypes.add((query.dtype, torch.is_autocast_enabled("cpu")))
        return kernel(query, *arguments, **keywords)

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", spy)
    histories = [fit(make_classifier(), precision=precision) for precision in ("32-true", "bf16-mixed")]
    assert dtypes == {(torch.float32, False)}
    assert histories[0].train["loss"] == pytest.approx(histories[1].train["loss"], rel=0.05)
    assert histories[0].train["loss"] != histories[1].train["loss"]
