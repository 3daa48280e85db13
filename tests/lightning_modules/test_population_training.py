"""A population trained to the end leaves what Lightning's runs of its members leave."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from synthetic_batches import FACTS, SyntheticText, make_classifier, make_trainer

from lightning_modules.errors import ConfigurationError
from lightning_modules.population.members import Member
from lightning_modules.population.training import LoopSettings, PopulationTrainer
from lightning_modules.training.callbacks import DivergenceGuard, GradientNorms, History

LOOP: dict[str, Any] = {
    "max_epochs": 3,
    "gradient_clip_val": 0.5,
    "log_every_n_steps": 2,
    "val_check_interval": 0.5,
    "precision": "32-true",
}


def member_batches(seed: int) -> list[dict[str, torch.Tensor]]:
    """The synthetic batches in an order of the member's own, so that small and large ones meet."""
    batches = SyntheticText().train_batches
    return batches[seed:] + batches[:seed]


class MemberText(SyntheticText):
    """The same order as a data module."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.train_batches = member_batches(seed)


def alone(folder, settings: dict[str, Any], loop: dict[str, Any]) -> dict[str, Any]:
    """Train one member through Lightning."""
    module = make_classifier(**settings)
    history, guard = History(), DivergenceGuard()
    best = ModelCheckpoint(folder, monitor="validation/macro_f1", mode="max", save_weights_only=True)
    callbacks = [guard, history, GradientNorms(), best]
    trainer = make_trainer(callbacks=callbacks, enable_checkpointing=True, num_sanity_val_steps=0, **loop)
    trainer.fit(module, datamodule=MemberText(settings["seed"]))
    saved = torch.load(best.best_model_path, weights_only=True) if best.best_model_path else None
    end = {"steps": trainer.global_step, "epochs": trainer.current_epoch, "reason": guard.reason}
    return {"history": history.as_record(trainer), "best": saved, "module": module, "tokens": history.tokens, **end}


def together(settings: list[dict[str, Any]], loop: dict[str, Any]) -> list[Member]:
    configs = [make_classifier(**values).config for values in settings]
    trainer = PopulationTrainer(configs, FACTS, LoopSettings(**loop))
    orders = [member_batches(config.seed) for config in configs]
    return trainer.fit(lambda epoch: zip(*orders, strict=True), lambda: SyntheticText().validation_batches)


def assert_close(ours: Any, theirs: Any, relative: float) -> None:
    """Compare nested lists and dicts: numbers up to a tolerance, the rest exactly."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert_close(ours[name], theirs[name], relative)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, relative)
    else:
        assert ours == (pytest.approx(theirs, rel=relative, abs=1e-6, nan_ok=True))


def assert_same_end(member: Member, solo: dict[str, Any], relative: float = 1e-4) -> None:
    end = {"steps": member.steps, "epochs": member.epochs, "reason": member.reason, "tokens": member.history.tokens}
    assert end == {name: solo[name] for name in end}
    assert_close(member.curves(), solo["history"], relative)
    assert (member.best is None) == (solo["best"] is None)
    if member.best is not None:
        assert (member.best.step, member.best.epoch) == (solo["best"]["global_step"], solo["best"]["epoch"])
        for name, value in member.best.weights.items():
            if "query_key_value.bias" not in name:  # of keys, a gradient of rounding noise
                torch.testing.assert_close(value, solo["best"]["state_dict"][f"network.{name}"], rtol=1e-3, atol=1e-4)


MEMBERS = [
    {"seed": 0, "learning_rate": 3e-3, "warmup_fraction": 0.0},
    {"seed": 1, "learning_rate": 1e-2, "warmup_fraction": 0.3, "weight_decay": 0.2},
    {"seed": 2, "learning_rate": 1e-3, "initialisation_gain": 1.3, "schedule_epochs": 5},
]


@pytest.mark.parametrize("variant", ["post_ln", "pre_ln", "plain", "rezero"])
def test_every_member_ends_as_its_run_through_lightning(tmp_path, variant):
    settings = [{**values, "variant": variant, "dropout": 0.2} for values in MEMBERS]
    for index, (member, values) in enumerate(zip(together(settings, LOOP), settings, strict=True)):
        assert_same_end(member, alone(tmp_path / str(index), values, LOOP))


def test_bfloat16_members_end_close_to_their_runs(tmp_path):
    loop = {**LOOP, "precision": "bf16-mixed"}
    for index, (member, values) in enumerate(zip(together(MEMBERS, loop), MEMBERS, strict=True)):
        solo = alone(tmp_path / str(index), values, loop)
        ours, theirs = member.curves(), solo["history"]
        assert_close(ours["train"]["loss"], theirs["train"]["loss"], 0.02)
        assert_close(ours["validation"]["loss"], theirs["validation"]["loss"], 0.02)


@pytest.mark.parametrize(("rate", "variant"), [(1e30, "no_norm"), (1e8, "no_norm"), (1e12, "plain")])
def test_a_diverging_member_ends_at_its_step_and_the_others_are_unmoved(tmp_path, rate, variant):
    common = {"variant": variant, "optimizer": "sgd", "dropout": 0.1}
    settings = [{**values, **common} for values in MEMBERS]
    settings[1] |= {"learning_rate": rate, "warmup_fraction": 0.0}
    loop = {**LOOP, "gradient_clip_val": None, "log_every_n_steps": 1}
    members = together(settings, loop)
    assert [member.has_diverged for member in members] == [False, True, False]
    for index, (member, values) in enumerate(zip(members, settings, strict=True)):
        assert_same_end(member, alone(tmp_path / str(index), values, loop))


def test_training_ends_when_all_members_have_diverged():
    common = {"variant": "no_norm", "optimizer": "sgd", "learning_rate": 1e30, "warmup_fraction": 0.0}
    members = together([{**common, "seed": 0}, {**common, "seed": 1}], {**LOOP, "gradient_clip_val": None})
    assert all(member.has_diverged and member.epochs == 0 and member.best is None for member in members)


def test_an_epoch_of_another_length_is_refused():
    trainer = PopulationTrainer([make_classifier().config], FACTS, LoopSettings(**LOOP))
    with pytest.raises(ConfigurationError, match="has 2 batches and the facts say 6"):
        trainer.fit(lambda epoch: [[batch] for batch in member_batches(0)[:2]], lambda: [])


def test_a_precision_that_a_population_lacks_is_refused():
    with pytest.raises(ConfigurationError, match="16-true"):
        LoopSettings(**{**LOOP, "precision": "16-true"})
