"""Callbacks: what is watched while a model trains. Each keeps its state in the checkpoint where resuming needs it."""

from lightning_modules.training.callbacks.confusion_matrix import ConfusionMatrixPicture
from lightning_modules.training.callbacks.divergence import DivergenceGuard
from lightning_modules.training.callbacks.gradient_norms import GradientNorms
from lightning_modules.training.callbacks.history import History
from lightning_modules.training.callbacks.probes import Probes
from lightning_modules.training.callbacks.step_budget import StepBudget
from lightning_modules.training.callbacks.throughput import Throughput

__all__ = [
    "ConfusionMatrixPicture",
    "DivergenceGuard",
    "GradientNorms",
    "History",
    "Probes",
    "StepBudget",
    "Throughput",
]
