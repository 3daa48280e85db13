"""Adversarial training against a computation by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.facts import TaskFacts
from lightning_modules.tasks.causal_lm import CausalLanguageModel
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.adversarial import adversarial_loss, fast_gradient

FACTS = TaskFacts(
    vocabulary_size=20,
    class_names=("a", "b", "c"),
    class_counts=(1, 1, 1),
    padding_id=0,
    max_length=6,
    steps_per_epoch=1,
)


def test_the_move_of_a_linear_loss_is_along_its_weights() -> None:
    """loss = mean over rows of w·s, so g = w/B at real tokens, and r = ε·‖s‖·w/‖w‖ there."""
    torch.manual_seed(0)
    weights, vectors = torch.randn(2, 3, 4), torch.randn(2, 3, 4, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    loss = (weights * vectors).sum() / 2
    moved = fast_gradient(loss, vectors, mask, 0.1)
    for row, length in enumerate((3, 1)):
        w, s = weights[row, :length], vectors.detach()[row, :length]
        torch.testing.assert_close(moved[row, :length], 0.1 * s.norm() * w / w.norm())
        assert (moved[row, length:] == 0).all()
    assert not moved.requires_grad


def test_the_objective_has_the_gradient_of_both_losses_with_the_move_held_fixed() -> None:
    """A quadratic loss a·s²: r = ε·‖s‖·sign, so d/da [s² + (s + r)²] follows by hand for a single number s."""
    a = torch.tensor(3.0, requires_grad=True)
    s = torch.tensor([[[2.0]]], requires_grad=True)
    total = adversarial_loss(lambda x: (a * x.square()).sum(), s, torch.ones(1, 1, dtype=torch.bool), 0.25)
    total.backward()
    moved = 2.0 + 0.25 * 2.0
    assert total.item() == pytest.approx(3 * 4 + 3 * moved**2)
    assert a.grad is not None and s.grad is not None
    assert a.grad.item() == pytest.approx(4 + moved**2)
    assert s.grad.item() == pytest.approx(2 * 3 * 2 + 2 * 3 * moved)


def batch() -> dict[str, Tensor]:
    ids = torch.tensor([[2, 5, 7, 0], [3, 4, 9, 11]])
    return {"input_ids": ids, "attention_mask": ids != 0, "labels": torch.tensor([0, 2]), "rows": torch.arange(2)}


def classifier(**settings: object) -> TextClassifier:
    config = ModelConfig(layers=1, width=8, heads=2, dropout=0.0, embedding_std=1.0, **settings)
    return TextClassifier.from_config(config, FACTS)


def test_a_classifier_minimises_its_loss_and_that_of_a_harder_text() -> None:
    plain, hard = classifier(), classifier(adversarial="fgm", adversarial_size=0.05)
    loss = plain.objective(batch())
    assert loss.item() == pytest.approx(plain.loss(plain(batch()), batch()).item())
    other = hard.objective(batch()).item() - loss.item()
    assert loss.item() < other < 2 * loss.item()
    hard.objective(batch()).backward()
    assert all(p.grad is not None for p in hard.network.parameters() if p.requires_grad)


def test_two_steps_of_size_nearly_zero_are_twice_the_loss() -> None:
    tiny = classifier(adversarial="fgm", adversarial_size=1e-9)
    assert tiny.objective(batch()).item() == pytest.approx(2 * classifier().objective(batch()).item(), rel=1e-6)


def test_a_language_model_and_a_wrong_size_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="only a classifier"):
        CausalLanguageModel.from_config(ModelConfig(layers=1, width=8, heads=2, adversarial="fgm"), FACTS)
    with pytest.raises(ExperimentError, match="the task is causal_lm"):
        RunConfig(model=ModelConfig(adversarial="fgm"), task="causal_lm")
    with pytest.raises(ConfigurationError, match="adversarial_size is 0"):
        ModelConfig(adversarial_size=0)
    with pytest.raises(ConfigurationError, match="did you mean 'fgm'"):
        ModelConfig(adversarial="fgn")


def test_hashes_from_before_stay() -> None:
    assert RunConfig().hash() == RunConfig(model=ModelConfig(adversarial="none")).hash()
    assert "adversarial" not in RunConfig().identity()["model"]
    assert RunConfig(model=ModelConfig(adversarial="fgm")).identity()["model"]["adversarial"] == "fgm"
