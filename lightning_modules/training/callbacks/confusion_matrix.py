"""The confusion matrix of the validation split, as a picture in TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray

from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.callbacks.attached import steps_of_fit
from lightning_modules.training.processes import total_counts

MOST_COUNTED, MOST_NUMBERED = 5, 14
"""Most classes with counts, and with any numbers, in the cells of the picture."""
LONGEST_NAME = 30
"""Characters of a class name that the picture shows."""
PICTURES = 10
"""Most pictures of a fit: as many as TensorBoard shows of a tag. Drawing took 17 % of a run with 80 validations."""


class ConfusionMatrixPicture(Callback):
    """Draw ``validation/confusion_matrix`` for every TensorBoard logger of the trainer.

    A fit draws after each validation, or, if there are more than ``PICTURES`` of them, after about ``PICTURES``, with
    the last one among them.
    """

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] | None = None
        self._tenths = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with no picture drawn."""
        self._tenths = 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with an empty matrix."""
        assert isinstance(pl_module, TextClassifier)
        number_of_classes = len(pl_module.class_names)
        self._counts = np.zeros((number_of_classes, number_of_classes), dtype=np.int64)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch's pairs of true and predicted class."""
        assert self._counts is not None
        np.add.at(self._counts, (outputs["target"].cpu().numpy(), outputs["preds"].cpu().numpy()), 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the matrix."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if trainer.sanity_checking or not self._is_due(trainer, pl_module) or not loggers:
            return
        assert isinstance(pl_module, TextClassifier) and self._counts is not None
        counts = total_counts(trainer, self._counts)
        title = f"Validation, after step {trainer.global_step}"
        image = draw_confusion_matrix(counts, pl_module.class_names, title)
        for logger in loggers:
            logger.experiment.add_image(
                "validation/confusion_matrix", image, global_step=trainer.global_step, dataformats="HWC"
            )
            if shown_names(pl_module.class_names) != list(pl_module.class_names):  # the key to what the picture shows
                key = [f"{index}: {shown(name)}" for index, name in enumerate(pl_module.class_names)]
                logger.experiment.add_text("validation/classes", "    " + "\n    ".join(key), trainer.global_step)

    def _is_due(self, trainer: Trainer, module: LightningModule) -> bool:
        """Tell whether a validation is to be drawn: the first in each tenth of the fit's steps that are done."""
        steps = steps_of_fit(trainer, module) if trainer.state.fn == TrainerFn.FITTING else math.inf
        if steps == math.inf:  # no fit, or one without an end
            return True
        before, self._tenths = self._tenths, int(trainer.global_step * PICTURES / steps)
        return self._tenths > before


def shown(name: str) -> str:
    r"""Spell out characters that act instead of being seen, such as ``\x1b``."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in name)


def shown_names(class_names: Sequence[str]) -> list[str]:
    """Return class names as a picture can show them: their numbers if the font lacks a character of any of them."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    glyphs = FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap()
    names = [shown(name) for name in class_names]
    if all(ord(character) in glyphs for name in names for character in name):
        return [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names]
    return [str(index) for index in range(len(names))]


def draw_confusion_matrix(counts: NDArray[np.int64], class_names: Sequence[str], title: str) -> NDArray[np.uint8]:
    """Draw counts ``(K, K)``, rows true and columns predicted, as an RGB image ``(height, width, 3)``.

    Colour is the share of the true class; the number is that share in per cent and, with few classes, the small one
    below it the count. TensorBoard's gallery shows pictures about 350 pixels wide, so the more classes there are, the
    less fits into a cell: with more than ``MOST_NUMBERED`` classes nothing but its colour.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = len(class_names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.3 + classes * (0.62 if classes <= MOST_COUNTED else 0.33 if classes <= MOST_NUMBERED else 0.2)
    figure = Figure(figsize=(size + 0.3, size), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names: Any = {"labels": shown_names(class_names), "parse_math": False}  # a dollar is a dollar
    axes.set_xticks(range(classes), **names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), **names)
    axes.tick_params(labelsize=11)
    axes.set_xlabel("predicted class, % of the true", fontsize=11)
    axes.set_ylabel("true class", fontsize=11)
    axes.set_title(title, fontsize=11)
    for true, predicted in np.ndindex(*counts.shape) if classes <= MOST_NUMBERED else ():
        colour, percent = "white" if shares[true, predicted] > 0.55 else "black", f"{100 * shares[true, predicted]:.0f}"
        if classes <= MOST_COUNTED:
            axes.text(predicted, true - 0.12, percent, ha="center", va="center", color=colour, fontsize=13)
            count = f"{counts[true, predicted]}"
            axes.text(predicted, true + 0.28, count, ha="center", va="center", color=colour, fontsize=9)
        elif percent != "0":
            axes.text(predicted, true, percent, ha="center", va="center", color=colour, fontsize=11)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
