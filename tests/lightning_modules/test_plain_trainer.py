"""Our task in a bare `lightning.pytorch.Trainer` of somebody's script: right numbers, or a refusal in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from lightning.pytorch.tuner import Tuner
from synthetic_batches import FACTS, SyntheticText, make_batch, make_classifier
from torch.utils.data import DataLoader

from lightning_modules.errors import ConfigurationError, SpoiltWeights
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.optimization import learning_rate_factor

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Rates(Callback):
    """Notes the learning rate of every optimiser step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


def fit(*, data: SyntheticText | None = None, module: TextClassifier | None = None, **flags: Any) -> TextClassifier:
    module = make_classifier() if module is None else module
    barebones = {"barebones": True, "accelerator": "cpu"}
    settings = (barebones if flags.get("barebones") else QUIET) | {"max_epochs": 2} | flags
    ckpt_path = settings.pop("ckpt_path", None)
    Trainer(**settings).fit(module, datamodule=data or SyntheticText(), ckpt_path=ckpt_path)
    return module


def same(first: TextClassifier, second: TextClassifier) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(value, twin) for (name, value), (other, twin) in pairs)


@pytest.mark.parametrize("schedule", [{0: 2}, {0: 1, 1: 2}])
def test_a_schedule_of_accumulation_is_refused(schedule: dict[int, int]) -> None:
    with pytest.raises(ConfigurationError, match="use the trainer's accumulate_grad_batches"):
        fit(callbacks=[GradientAccumulationScheduler(schedule)])


@pytest.fixture(scope="module")
def usual() -> TextClassifier:
    return fit()


@pytest.mark.parametrize(
    "flags",
    [
        {"inference_mode": False},
        {"deterministic": True},
        {"benchmark": False},
        {"barebones": True},
        {"num_sanity_val_steps": 0},
        {"num_sanity_val_steps": -1},
        {"reload_dataloaders_every_n_epochs": 1},
        {"use_distributed_sampler": False},
        {"sync_batchnorm": True},
        {"detect_anomaly": True},
        {"val_check_interval": 0.5},
        {"val_check_interval": 2},
        {"check_val_every_n_epoch": 2},
        {"limit_val_batches": 1},
        {"limit_val_batches": 0},
        {"limit_train_batches": 1.0},
        {"log_every_n_steps": 1},
        {"precision": 32},
        {"max_time": "00:01:00:00"},
        {"min_epochs": 1},
        {"profiler": "simple"},
        {"devices": "auto"},
        {"strategy": "auto"},
    ],
    ids=str,
)
def test_flags_that_decide_no_weight_leave_every_bit(flags: dict[str, Any], usual: TextClassifier) -> None:
    assert same(fit(**flags), usual)


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ({}, 12),
        ({"limit_train_batches": 3}, 6),
        ({"limit_train_batches": 0.5}, 6),
        ({"accumulate_grad_batches": 4}, 4),
        ({"accumulate_grad_batches": 4, "limit_train_batches": 5}, 4),
        ({"max_epochs": -1, "max_steps": 7}, 7),
        ({"fast_dev_run": 2}, 2),
    ],
    ids=str,
)
def test_the_schedule_is_as_long_as_training(flags: dict[str, Any], steps: int) -> None:
    rates = Rates()
    fit(callbacks=[rates], **flags)
    expected = [1e-3 * learning_rate_factor(step, steps, 0.1, "linear") for step in range(steps)]
    assert rates.rates == pytest.approx(expected)


def test_a_gradient_is_clipped_at_the_norm_and_never_turned_round() -> None:
    plain = {"max_epochs": 1, "limit_train_batches": 1}
    settings = {"optimizer": "sgd", "learning_rate": 1.0, "dropout": 0.0, "warmup_fraction": 0.0, "weight_decay": 0.0}

    def moved(bound: float | None) -> float:
        module = make_classifier(**settings)
        module.build(FACTS)
        before = torch.cat([parameter.detach().flatten() for parameter in module.network.parameters()])
        fit(module=module, gradient_clip_val=bound, **plain)
        return float((torch.cat([p.detach().flatten() for p in module.network.parameters()]) - before).norm())

    assert moved(0.01) == pytest.approx(0.01, rel=1e-3)
    assert moved(None) == moved(0) > 0.1
    for bound in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="gradient_clip_val"):
            fit(module=make_classifier(**settings), gradient_clip_val=bound, **plain)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("bf16-mixed", 0.03), ("bf16-true", 0.1), ("16-mixed", 0.03), ("64-true", 5e-3)]
)
def test_every_precision_starts_alike_and_trains_near_the_usual_one(
    precision: Any, tolerance: float, usual: TextClassifier
) -> None:
    module = fit(precision=precision)
    for (name, weight), twin in zip(module.state_dict().items(), usual.state_dict().values(), strict=True):
        assert weight.isfinite().all(), name
        torch.testing.assert_close(weight.float(), twin.float(), atol=tolerance, rtol=0)


def test_weights_in_float16_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="16-true"):
        fit(precision="16-true")


def test_the_rate_that_the_tuner_finds_is_the_rate_that_is_taken_and_recorded(tmp_path: Path) -> None:
    module, data, rates = make_classifier(warmup_fraction=0.0, decay="constant"), SyntheticText(), Rates()
    checkpoint = ModelCheckpoint(dirpath=tmp_path, filename="last")
    trainer = Trainer(**QUIET | {"max_epochs": 5, "enable_checkpointing": True}, callbacks=[rates, checkpoint])
    found = Tuner(trainer).lr_find(module, datamodule=data, num_training=20, min_lr=1e-5, max_lr=1e-1)
    assert found is not None and found.suggestion() is not None
    rates.rates.clear()
    trainer.fit(module, datamodule=data)
    assert rates.rates == pytest.approx([found.suggestion()] * 30)
    assert module.config.learning_rate == pytest.approx(found.suggestion())
    loaded = TextClassifier.load_from_checkpoint(tmp_path / "last.ckpt")
    assert loaded.config.learning_rate == module.config.learning_rate


def test_the_tuner_says_that_it_cannot_change_the_batch_size() -> None:
    tuner = Tuner(Trainer(**QUIET | {"max_epochs": 1}))
    with pytest.raises(MisconfigurationException, match="batch_size"):
        tuner.scale_batch_size(make_classifier(), datamodule=SyntheticText())


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the first of two epochs."""
    folder = tmp_path_factory.mktemp("half")
    callback = ModelCheckpoint(dirpath=folder, filename="{epoch}", save_top_k=-1)
    fit(callbacks=[callback], enable_checkpointing=True)
    return folder / "epoch=0.ckpt"


def test_a_resumed_fit_ends_where_an_undisturbed_one_does(half: Path, usual: TextClassifier) -> None:
    assert same(fit(ckpt_path=half), usual)


class OtherText(SyntheticText):
    def __init__(self, **facts: Any) -> None:
        super().__init__()
        self.facts = replace(FACTS, **facts)


def test_training_does_not_go_on_with_another_schedule_or_on_another_text(half: Path) -> None:
    with pytest.raises(ConfigurationError, match="schedule spans 12 steps and this fit's 24"):
        fit(ckpt_path=half, max_epochs=4)
    with pytest.raises(ConfigurationError, match="schedule spans 12 steps and this fit's 6"):
        fit(ckpt_path=half, accumulate_grad_batches=2)
    for facts in ({"class_names": ("south", "north", "west")}, {"class_counts": (29, 21, 10)}):
        with pytest.raises(ConfigurationError, match="was made on another text: its class_"):
            fit(ckpt_path=half, data=OtherText(**facts))


def test_a_checkpoint_is_not_tested_on_classes_in_another_order_or_other_tokens(half: Path) -> None:
    trainer = Trainer(**QUIET)
    for facts in ({"class_names": ("south", "north", "west")}, {"vocabulary_size": 41}, {"max_length": 13}):
        with pytest.raises(ConfigurationError, match="was made on another text"):
            trainer.test(make_classifier(), datamodule=OtherText(**facts), ckpt_path=half, verbose=False)
    other_rows = OtherText(class_counts=(29, 21, 10), steps_per_epoch=9)
    assert trainer.test(make_classifier(), datamodule=other_rows, ckpt_path=half, verbose=False)


def test_loaders_with_another_number_of_batches_than_the_facts_are_refused() -> None:
    module = make_classifier()
    module.build(FACTS)
    loader = DataLoader([make_batch(16, seed) for seed in range(4)], batch_size=None)
    with pytest.raises(ConfigurationError, match="has 4 batches an epoch and the facts of the text say 6"):
        Trainer(**QUIET | {"max_epochs": 1}).fit(module, train_dataloaders=loader)
    module = make_classifier()
    module.build(replace(FACTS, steps_per_epoch=4))
    Trainer(**QUIET | {"max_epochs": 1}).fit(module, train_dataloaders=loader)
    with pytest.raises(ConfigurationError, match="needs a data module with facts"):
        Trainer(**QUIET | {"max_epochs": 1}).fit(make_classifier(), train_dataloaders=loader)


def test_predictions_of_a_plain_trainer_are_the_networks_answers_batch_by_batch(usual: TextClassifier) -> None:
    batches = SyntheticText().validation_batches
    answers: Any = Trainer(**QUIET).predict(usual, dataloaders=DataLoader(batches, batch_size=None))
    usual.eval()
    with torch.no_grad():
        expected = [usual(batch) for batch in batches]
    torch.testing.assert_close(torch.cat(answers), torch.cat(expected))
    spoilt = make_classifier()
    spoilt.build(FACTS)
    next(iter(spoilt.network.parameters())).data.fill_(float("nan"))
    with pytest.raises(SpoiltWeights, match="answer to batch 0 is not finite"):
        Trainer(**QUIET).predict(spoilt, dataloaders=DataLoader(batches, batch_size=None))


def test_a_mask_of_numbers_is_a_mask(usual: TextClassifier) -> None:
    batch = make_batch(5)
    usual.eval()
    with torch.no_grad():
        expected, as_numbers = usual(batch), usual({**batch, "attention_mask": batch["attention_mask"].long()})
    assert torch.equal(expected, as_numbers)


def test_weights_that_arrive_before_the_network_is_built_are_taken_up_when_it_is(usual: TextClassifier) -> None:
    module = make_classifier()
    module.load_state_dict(usual.state_dict(), strict=False)  # as Lightning does after processes that it spawned
    module.build(FACTS)
    assert same(module, usual)


def test_the_export_of_a_task_says_what_to_export_instead(usual: TextClassifier, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"export module\.network"):
        usual.to_onnx(tmp_path / "task.onnx", make_batch(2))
