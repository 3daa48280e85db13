"""Names and values of settings, as headings and figures say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.runs.naming import short_names, spell

NAMES = {"beta2": "β₂", "gradient_clip_val": "gradient clipping", "max_train_rows": "training rows"}
"""Settings whose name in a configuration is not what a reader would call them."""


def spoken_name(name: str) -> str:
    """Return ``learning rate`` for ``model.learning_rate``."""
    last = name.rsplit(".", 1)[-1]
    return NAMES.get(last, last.replace("_", " "))


def spoken_value(name: str, value: Any) -> str:
    """Return ``24 layers`` where the name is that of a count, ``clipped at 1``, else ``learning rate 0.01``."""
    spelled = spell(value)
    if name.rsplit(".", 1)[-1] == "gradient_clip_val":
        return "no clipping" if value is None else f"clipped at {spelled}"
    noun, is_number = spoken_name(name), isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and noun.endswith("s"):
        return f"{spelled} {noun.removesuffix('s') if value == 1 else noun}"
    return f"{noun} {spelled}"


def spoken_setting(swept: Mapping[str, Any]) -> str:
    """Return swept values for reading, such as ``no clipping, learning rate 0.003``.

    Names that end alike are told apart by what stands before their last dot.
    """
    said = []
    for name in sorted(swept):
        whole = short_names(swept)[name] == name and "." in name
        text = f"{name.replace('_', ' ')} {spell(swept[name])}" if whole else spoken_value(name, swept[name])
        said.append(text)
    return ", ".join(said)
