"""Classify texts by an exported graph: ``python classify.py "A text" "Another"``, or one text a line on standard input.

It needs numpy, tokenizers, and onnxruntime or torch. The folder of this file holds the graph, ``tokenizer.json`` and
``classifier.json`` (the classes, and whether texts are cleaned).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from data_modules.cleaning.text import clean_text

ROWS_AT_ONCE = 64
FEWEST_TOKENS = 2
"""Rows are padded to at least this many tokens, the fewest that a graph of free length takes."""


class GraphClassifier:
    """An exported classifier.

    Args:
        folder: with ``model.onnx`` or ``model.pt2``, ``tokenizer.json`` and ``classifier.json``.
    """

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
        self.classes: list[str] = facts["classes"]
        self.clean: bool = facts["clean"]
        self.padding_id: int = facts["padding_id"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.logits = onnx_logits(folder) if (folder / "model.onnx").is_file() else torch_logits(folder)

    def answer(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return the class probabilities of texts, ``(N, K)``, in float32."""
        given = [clean_text(text) for text in texts] if self.clean else list(texts)
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(given)]
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))  # little padding
        answers = np.zeros((len(rows), len(self.classes)), dtype=np.float32)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            batch = order[start : start + ROWS_AT_ONCE]
            logits = self.logits(*self.padded([rows[row] for row in batch]))
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            answers[batch] = powers / powers.sum(axis=1, keepdims=True)
        return answers

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return ids and mask ``(B, T)``, int64 both."""
        length = max(FEWEST_TOKENS, *map(len, rows))
        ids = np.full((len(rows), length), self.padding_id, dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)], mask[place, : len(row)] = row, 1
        return ids, mask


Logits = Callable[[Any, Any], Any]


def onnx_logits(folder: Path) -> Logits:
    """Return the function from ids and mask to logits that ``model.onnx`` holds."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def torch_logits(folder: Path) -> Logits:
    """Return the function from ids and mask to logits that ``model.pt2`` holds."""
    import torch

    program = torch.export.load(folder / "model.pt2").module()

    def logits(ids: Any, mask: Any) -> Any:
        with torch.no_grad():
            return program(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    return logits


def classify(texts: Sequence[str]) -> None:
    """Print the class and its probability for each text."""
    model = GraphClassifier(Path(__file__).resolve().parent)
    for probabilities in model.answer(texts) if texts else ():
        best = int(probabilities.argmax())
        print(f"{json.dumps(model.classes[best], ensure_ascii=True)}\t{probabilities[best]:.4f}")


def classify_arguments() -> None:
    """Classify what the command line or standard input gives."""
    classify(sys.argv[1:] or [line.rstrip("\n") for line in sys.stdin])
