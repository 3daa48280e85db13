"""Models for the ablation: schemes, networks, tasks and their training.

``from lightning_modules import build_backbone`` gives the Transformer of any scheme; it needs torch and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.network.backbone import build_backbone

__all__ = ["build_backbone"]


def __getattr__(name: str) -> Any:
    """Import :func:`build_backbone` when it is asked for: configurations and variants load no torch."""
    if name == "build_backbone":
        from lightning_modules.network.backbone import build_backbone

        return build_backbone
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
