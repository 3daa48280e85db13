"""Variants that answer for all where a test is too slow for every one: those of the first grids, one of each kind."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

from lightning_modules.schemes.families import TABLE_ORDER

REPRESENTATIVE = (
    *TABLE_ORDER,
    *("rms_norm", "batch_norm", "qk_norm_whole", "parallel", "mix_ln", "stochastic_depth", "highway", "gpas"),
    *("hyper_connections", "mhc", "dense_former", "attention_residuals", "sv_former", "sas", "ngpt", "admin"),
)


def all_others_later(names: Iterable[str], now: Collection[str] = REPRESENTATIVE) -> list[Any]:
    """Names to parametrise over; all that are not among those to test now are left to ``make test-all``."""
    return [name if name in now else pytest.param(name, marks=pytest.mark.stress) for name in names]
