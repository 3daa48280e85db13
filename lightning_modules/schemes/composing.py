"""Compositions: a placement, and the parts that other variants change, in one variant of a person's own; no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lightning_modules.errors import ConfigurationError, reject_unknown
from lightning_modules.schemes.variants import (
    INNER,
    INPUT,
    NORM,
    OUTPUT,
    PARTS,
    POST,
    SITES,
    SKIP,
    VARIANTS,
    Part,
    Variant,
)

SLOTS = ("norm", "residual", "attention", "feed_forward", "parallel", "biases")
"""Fields of a variant that can have one value."""


def compose(
    base: str,
    takes: Iterable[str] = (),
    *,
    name: str = "composed",
    sites: Mapping[str, Sequence[Part]] | None = None,
    recipes: Sequence[str] = (),
    **slots: Any,
) -> Variant:
    """Return ``base`` with everything in which the variants ``takes`` differ from their parents.

    ::

        compose("pre_ln", ["rms_norm", "hyper_connections"], sites={"output": ["layer_scale"]})

    Ops of a site come in order: those of ``base``, of each variant, then those of ``sites``. An empty list empties it.

    Args:
        base: the placement, a variant.
        takes: variants whose parts are added.
        name: of the composition.
        sites: ops to add at sites, by name; ``norm`` is the composition's norm.
        recipes: further recipes, by name.
        slots: values of :data:`SLOTS`, which win over all variants' own.

    Raises:
        ConfigurationError: two variants want one slot for different parts, one has blocks that are not alike, or a part
            has no meaning beside the others.
    """
    reject_unknown("variant", base, VARIANTS)
    start = VARIANTS[base]
    changes: dict[str, Any] = {}
    owners: dict[str, str] = {}
    built = {site: as_tuple(ops) for site, ops in start.sites.items()}
    wanted = [*start.recipes]
    mixes = set(start.mixes)
    for taken in takes:
        reject_unknown("variant", taken, VARIANTS)
        variant = VARIANTS[taken]
        if variant.by_place is not None or variant.layers is not None or start.by_place is not None:
            odd = taken if start.by_place is None else base
            raise ConfigurationError(f"blocks of {odd} are not alike, so it cannot be composed with another variant")
        parent = VARIANTS[variant.parent] if variant.parent else variant
        for slot, value in changed_slots(variant, parent).items():
            if slot in slots:
                continue
            if changes.get(slot, value) != value:
                raise ConfigurationError(f"{owners[slot]} and {taken} both set the {slot.replace('_', '-')}; take one")
            changes[slot], owners[slot] = value, taken
        for site, added in added_ops(variant, parent).items():
            built[site] = (*built.get(site, ()), *(op for op in added if op not in built.get(site, ())))
        wanted += [recipe for recipe in variant.recipes if recipe not in wanted]
        mixes |= variant.mixes
    for site, more in (sites or {}).items():
        built[site] = (*built.get(site, ()), *more) if more else ()
    unknown = set(slots) - set(SLOTS)
    for slot in unknown:
        reject_unknown("slot", slot, SLOTS)
    made = ", ".join([base, *takes])
    composition = start.derive(
        name,
        title=f"Composition {name}",
        formula=f"composed of {made}",
        source=f"a composition of {made}",
        sites={site: ops for site, ops in built.items() if ops},
        recipes=(*wanted, *(recipe for recipe in recipes if recipe not in wanted)),
        mixes=frozenset(mixes),
        **{**changes, **slots},
    )
    refuse_meaningless(composition)
    return composition


def changed_slots(variant: Variant, parent: Variant) -> dict[str, Any]:
    """Return the slots whose value a variant does not share with its parent."""
    return {slot: getattr(variant, slot) for slot in SLOTS if getattr(variant, slot) != getattr(parent, slot)}


def added_ops(variant: Variant, parent: Variant) -> dict[str, tuple[Part, ...]]:
    """Return the ops that a variant has beyond its parent's, by site."""
    return {
        site: tuple(op for op in as_tuple(ops) if op not in as_tuple(parent.sites.get(site, ())))
        for site, ops in variant.sites.items()
    }


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


def source_of(variant: Variant) -> str:
    """Return a scheme file that registers a composition, for ``--schemes``."""
    parts = {name: getattr(variant, name) for name in (*PARTS, "parallel", "biases", "mixes")}
    parent = VARIANTS[variant.parent or "post_ln"]
    own = {name: value for name, value in parts.items() if value != getattr(parent, name)}
    lines = [f"    {name}={written(value)}," for name, value in own.items()]
    return "\n".join(
        [
            "from lightning_modules.schemes.variants import VARIANTS, register, use",
            "",
            f"parts = dict(\n    sites={written(variant.sites)},",
            *lines,
            ")",
            f"text = dict(title={variant.title!r}, formula={variant.formula!r}, source={variant.source!r})",
            f"register(VARIANTS[{parent.name!r}].derive({variant.name!r}, **text, **parts))",
            "",
        ]
    )


def written(value: Any) -> str:
    """Return a part, or several, as Python writes it."""
    if hasattr(value, "options") and hasattr(value, "name"):
        return f"use({', '.join([repr(value.name), *(f'{name}={option!r}' for name, option in value.options)])})"
    if isinstance(value, tuple):
        return f"({' '.join(written(each) + ',' for each in value)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, frozenset):
        return f"frozenset({sorted(value)!r})"
    return repr(value)
