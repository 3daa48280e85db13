"""Text classification: one class for each row of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torchmetrics import Metric

from lightning_modules.tasks.base import Batch, Evaluation, TaskModule
from lightning_modules.training.adversarial import adversarial_loss
from lightning_modules.training.evaluation import Predictions, predict, score
from lightning_modules.training.losses import build_evaluation_loss, build_training_loss
from lightning_modules.training.metrics import MeanLoss, classification_metrics


class TextClassifier(TaskModule):
    """A Transformer encoder that classifies text; ``labels`` (B,) of a batch are the true classes.

    Args:
        settings: fields of :class:`~lightning_modules.config.ModelConfig`.
    """

    def build(self, facts: Any) -> None:
        """Build network, metrics and losses for a text with these facts, whose ``class_names`` must be known."""
        super().build(facts)
        assert self.facts is not None
        self.training_loss = build_training_loss(self.config, self.facts.class_counts)
        self.evaluation_loss = build_evaluation_loss(self.config)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes, in label order."""
        assert self.facts is not None, "build() takes the facts"
        return self.facts.class_names

    def outputs(self) -> int:
        """One logit for each of the K classes."""
        return len(self.class_names)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Training loss of logits ``(B, K)``, with the configured class weights and label smoothing."""
        return self.training_loss(outputs, batch["labels"])

    def objective(self, batch: Batch) -> Tensor:
        """The training loss and, if the configuration asks for it, that of embeddings moved against it."""
        if self.config.adversarial == "none":
            return super().objective(batch)
        mask = batch["attention_mask"].bool()
        vectors = self.network.backbone.embeddings.table(batch["input_ids"])
        return adversarial_loss(
            lambda moved: self.loss(self.network(moved, mask), batch), vectors, mask, self.config.adversarial_size
        )

    def observe(self, outputs: Tensor, batch: Batch) -> dict[str, Any]:
        """Logits ``(B, K)`` in float32, predicted and true classes ``(B,)``, and the mean evaluation loss."""
        logits, labels = outputs.float(), batch["labels"]
        loss = self.evaluation_loss(logits, labels)
        return {"logits": logits, "preds": logits.argmax(-1), "target": labels, "loss": loss, "rows": len(labels)}

    def metrics(self) -> dict[str, Metric]:
        """The loss and the metrics of :func:`~lightning_modules.training.metrics.classification_metrics`."""
        return {"loss": MeanLoss(), **classification_metrics(len(self.class_names))}

    def evaluate(self, batches: Iterable[Batch]) -> Evaluation:
        """Predict every row and score the predictions; shares and means are in double precision."""
        return evaluation_of(predict(self, batches), self.class_names)


def evaluation_of(predictions: Predictions, class_names: Sequence[str]) -> Evaluation:
    """Score predictions of classes, a network's or another model's."""
    scores = score(predictions, class_names)
    details = {name: scores.pop(name) for name in ("per_class", "confusion")}
    return Evaluation(metrics=scores, details=details, predictions=predictions)
