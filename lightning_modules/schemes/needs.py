"""What the parts of a scheme need of the blocks around them, and the refusal of compositions without meaning; no torch.

A start that replaces norms means nothing next to norms. A weight of a norm's summands means nothing without a norm.
Each need is a function with the reason that a person reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lightning_modules.errors import ConfigurationError
from lightning_modules.schemes.variants import INNER, INPUT, NORM, OUTPUT, POST, SITES, SKIP, Part, Variant


@dataclass(frozen=True)
class Need:
    """What a part needs of the blocks around it."""

    parts: frozenset[str]
    """Ops, recipes or residuals that need it."""
    holds: Callable[[Variant], bool]
    reason: str
    """What is wrong where it does not hold; ``{part}`` is the part's name."""


def needs(*parts: str, reason: str) -> Callable[[Callable[[Variant], bool]], Callable[[Variant], bool]]:
    """Return a decorator that adds a function to :data:`NEEDS` as what some parts need."""

    def add(holds: Callable[[Variant], bool]) -> Callable[[Variant], bool]:
        NEEDS.append(Need(frozenset(parts), holds, reason))
        return holds

    return add


NEEDS: list[Need] = []
"""Every need of a part, in the order in which they are looked at."""
NORMS = frozenset({NORM, "layer_norm", "rms_norm", "plain_rms_norm", "simple_rms_norm", "layer_norm_without_bias"})
"""Ops that normalise a token's features, whatever the size of these is."""


def parts_at(variant: Variant, *sites: str) -> set[str]:
    """Return the names of the ops at sites of any role; the variant's own norm is ``norm``."""
    found: set[str] = set()
    for key, ops in variant.sites.items():
        if key.rpartition(".")[2] in sites:
            found |= {name_of(op) for op in as_tuple(ops)}
    return found


def has_norm(variant: Variant, *sites: str) -> bool:
    """Tell whether a norm is at one of some sites."""
    return bool(parts_at(variant, *sites) & NORMS)


@needs(
    "admin", reason="{part} sets the weights ω at `skip` so that a norm at `post` sees a balanced sum; one is missing"
)
def is_post_norm_with_weights(variant: Variant) -> bool:
    """Admin profiles Post-LN blocks (arXiv:2004.08249)."""
    return has_norm(variant, POST) and "gain" in parts_at(variant, SKIP)


@needs(
    *("deepnorm_alpha", "deepnorm_beta", "keel_alpha"),
    reason="{part} weighs the two summands of a norm; without a norm at `post` the stream outgrows the branch",
)
def is_post_norm(variant: Variant) -> bool:
    """DeepNorm and KEEL weigh the two summands of a norm."""
    return has_norm(variant, POST)


@needs(
    *("fixup", "t_fixup", "dt_fixup"),
    reason="{part} is a start in the place of norms; the blocks have one at `input`, `output` or `post`",
)
def is_without_norms(variant: Variant) -> bool:
    """The three starts take the place of norms."""
    return not has_norm(variant, INPUT, OUTPUT, POST)


@needs("sub_ln_gain", reason="{part} is derived for a norm before the output matrix; there is none at `inner`")
def is_normed_within(variant: Variant) -> bool:
    """Sub-LN's gain belongs to its inner norm (arXiv:2210.06423)."""
    return has_norm(variant, INNER)


@needs(
    *("over_root_of_sublayers", "over_root_of_more_sublayers", "over_root_of_own_sublayers", "root_of_streams"),
    reason="{part} scales output matrices at the start, and a norm at `output` undoes that",
)
def is_free_at_output(variant: Variant) -> bool:
    """A norm is blind to the size of its input."""
    return not has_norm(variant, OUTPUT)


@needs("root_of_streams", reason="{part} is for hyper-connections; the residual has one stream")
def has_streams(variant: Variant) -> bool:
    """The factor √n belongs to n streams (arXiv:2409.19606)."""
    return name_of(variant.residual) in ("hyper_connections", "dynamic_hyper_connections")


@needs(
    *("zero_gain", "shared_gain"),
    reason="{part} starts at zero, and without a skip a zero branch leaves nothing to learn from",
)
def keeps_the_stream(variant: Variant) -> bool:
    """A branch that starts at zero needs the stream."""
    return name_of(variant.residual) != "none"


@needs(
    *("drop_path", "layer_drop", "ramp", "progressive_ramp"),
    reason="{part} takes branches away for a time, and without a skip nothing is left then",
)
def survives_without_a_branch(variant: Variant) -> bool:
    """What is dropped must have a way around it."""
    return name_of(variant.residual) != "none"


@needs(
    "hypersphere",
    "unit_weights",
    reason="{part} keeps the stream at length one, so a norm in the blocks has nothing to do",
)
def is_on_the_sphere(variant: Variant) -> bool:
    """nGPT has no other norms (arXiv:2410.01131)."""
    return not has_norm(variant, INPUT, POST, OUTPUT)


def refuse_meaningless(variant: Variant) -> None:
    """Refuse a part whose reason is missing from the blocks around it.

    Raises:
        ConfigurationError: naming the part and what it needs.
    """
    slots = [variant.residual, variant.attention, *variant.recipes]
    there = {name_of(part) for part in slots} | parts_at(variant, *SITES)
    for need in NEEDS:
        wanting = sorted(need.parts & there)
        if wanting and not need.holds(variant):
            raise ConfigurationError(need.reason.format(part=wanting[0]))
    for site, ops in variant.sites.items():
        names = [name_of(op) for op in as_tuple(ops)]
        for first, second in pairwise(names):
            if first in NORMS and second in NORMS:
                raise ConfigurationError(
                    f"{second} follows {first} at `{site}`, and a norm of a normed input changes nothing but its gain"
                )


def name_of(part: Part) -> str:
    """Return the name of a part; that of a class in a file of one's own is the class's."""
    return part if isinstance(part, str) else getattr(part, "name", getattr(part, "__name__", str(part)))


def as_tuple(ops: Any) -> tuple[Part, ...]:
    """Return a site's ops in order."""
    return ops if isinstance(ops, tuple) else (ops,)
