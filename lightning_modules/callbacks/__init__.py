"""Callbacks: what is watched while a model trains. Each keeps its state in the checkpoint where resuming needs it."""

from lightning_modules.callbacks.confusion_matrix import ConfusionMatrixPicture
from lightning_modules.callbacks.divergence import DivergenceGuard
from lightning_modules.callbacks.gradient_norms import GradientNorms
from lightning_modules.callbacks.history import History
from lightning_modules.callbacks.probes import Probes
from lightning_modules.callbacks.throughput import Throughput

__all__ = ["ConfusionMatrixPicture", "DivergenceGuard", "GradientNorms", "History", "Probes", "Throughput"]
