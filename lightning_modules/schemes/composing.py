"""Compositions: a placement, and the parts that other variants change, in one variant of a person's own; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightning_modules.errors import ConfigurationError, reject_unknown
from lightning_modules.schemes.needs import as_tuple, refuse_meaningless
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import EMBEDDING, NORM, PARTS, VARIANTS, Part, Variant

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

    The ops of a site come in order: those of ``base``, those of each variant, then those of ``sites``. An empty list
    empties a site.

    Args:
        base: the placement, a variant.
        takes: variants whose parts are added.
        name: of the composition.
        sites: ops to add at sites, by name; ``norm`` is the composition's norm.
        recipes: further recipes, by name.
        slots: values of :data:`SLOTS`, which win over all variants' own.

    Raises:
        ConfigurationError: two variants want one slot for different parts; one has blocks that are not alike; or a part
            has no meaning next to the others.
    """
    reject_unknown("variant", base, VARIANTS)
    start, taken = VARIANTS[base], [composable(base, name) for name in takes]
    for slot in set(slots) - set(SLOTS):
        reject_unknown("slot", slot, SLOTS)
    wanted = [*start.recipes]
    for variant in taken:
        wanted += [recipe for recipe in variant.recipes if recipe not in wanted]
    made = ", ".join([base, *(variant.name for variant in taken)])
    composition = start.derive(
        name,
        title=f"Composition {name}",
        formula=f"composed of {made}",
        source=f"a composition of {made}",
        sites=gathered_ops(start, taken, sites or {}),
        recipes=(*wanted, *(recipe for recipe in recipes if recipe not in wanted)),
        mixes=start.mixes.union(*(variant.mixes for variant in taken)),
        **settled_slots(taken, slots),
    )
    refuse_meaningless(composition)
    return composition


def composable(base: str, name: str) -> Variant:
    """Return a variant that is to be composed with another one.

    Raises:
        ConfigurationError: there is none of this name, or one of the two has blocks that are not alike.
    """
    reject_unknown("variant", name, VARIANTS)
    variant, start = VARIANTS[name], VARIANTS[base]
    if variant.by_place is not None or variant.layers is not None or start.by_place is not None:
        odd = name if start.by_place is None else base
        raise ConfigurationError(f"blocks of {odd} are not alike, so it cannot be composed with another variant")
    return variant


def settled_slots(taken: Iterable[Variant], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the slots that variants change, where values that are ``given`` win.

    Raises:
        ConfigurationError: two variants want one slot for different parts.
    """
    changes: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for variant in taken:
        for slot, value in changed_slots(variant, parent_of(variant)).items():
            if slot in given:
                continue
            if changes.get(slot, value) != value:
                what = f"{owners[slot]} and {variant.name} both set the {slot.replace('_', '-')}"
                raise ConfigurationError(f"{what}; take one")
            changes[slot], owners[slot] = value, variant.name
    return changes | dict(given)


def gathered_ops(
    start: Variant, taken: Iterable[Variant], more: Mapping[str, Sequence[Part]]
) -> dict[str, tuple[Part, ...]]:
    """Return ops by site: those of ``start``, those that each variant adds, then ``more``; an empty one empties."""
    built = {site: as_tuple(ops) for site, ops in start.sites.items()}
    for variant in taken:
        for site, added in added_ops(variant, parent_of(variant)).items():
            built[site] = (*built.get(site, ()), *(op for op in added if op not in built.get(site, ())))
    for site, last in more.items():
        built[site] = (*built.get(site, ()), *last) if last else ()
    return {site: ops for site, ops in built.items() if ops}


def parent_of(variant: Variant) -> Variant:
    """Return the variant that another one was derived from; one without a parent is its own."""
    return VARIANTS[variant.parent] if variant.parent else variant


def norms() -> list[str]:
    """Return the variants that differ from their parents by their norm alone."""
    return [
        variant.name
        for variant in VARIANTS.values()
        if variant.parent
        and changed_slots(variant, VARIANTS[variant.parent]).keys() == {"norm"}
        and (variant.sites, variant.by_place, variant.recipes) == (VARIANTS[variant.parent].sites, None, ())
    ]


def with_norm(variant: Variant, taken: str) -> Variant:
    """Return ``variant`` with the norm of another one in place of its own, at the same sites.

    Raises:
        ConfigurationError: there is no such norm, or the blocks are not alike.
    """
    reject_unknown("model.norm", taken, norms())
    if variant.by_place is not None:
        raise ConfigurationError(f"blocks of {variant.name} are not alike, so model.norm cannot change their norm")
    other = VARIANTS[taken]
    return replace(variant, norm=other.norm, mixes=variant.mixes | other.mixes)


@dataclass(frozen=True)
class OneBlock:
    """One variant at one block, another at all others."""

    number: int
    """The block, counted from 1."""
    there: Variant
    others: Variant

    def __call__(self, place: Place) -> Variant:
        """Return the variant at a place."""
        return self.there if place.block == self.number else self.others


def at_one_block(variant: Variant, others: Variant, number: int) -> Variant:
    """Return a variant whose block ``number`` is of ``variant`` and whose other blocks, and ends, are of ``others``.

    Raises:
        ConfigurationError: the two pass on different states, or the blocks of one are not alike.
    """
    for each in (variant, others):
        odd = each.by_place is not None or each.layers is not None or each.parallel
        if odd or each.residual not in ("identity", "none"):
            raise ConfigurationError(
                f"model.only_block puts blocks of {variant.name} and {others.name} into one stream, and {each.name} "
                "has a stream or blocks of its own"
            )
    mixes = variant.mixes | others.mixes
    return replace(others, name=variant.name, by_place=OneBlock(number, variant, others), mixes=mixes)


def with_embedding_norm(variant: Variant) -> Variant:
    """Return a variant with its norm after the embeddings too; one without norms stays as it is."""
    has_norms = any(NORM in as_tuple(ops) for ops in variant.sites.values())
    return replace(variant, sites=variant.sites | {EMBEDDING: NORM}) if has_norms else variant


def changed_slots(variant: Variant, parent: Variant) -> dict[str, Any]:
    """Return the slots whose value a variant does not share with its parent."""
    return {slot: getattr(variant, slot) for slot in SLOTS if getattr(variant, slot) != getattr(parent, slot)}


def added_ops(variant: Variant, parent: Variant) -> dict[str, tuple[Part, ...]]:
    """Return the ops that a variant has beyond its parent's, by site."""
    return {
        site: tuple(op for op in as_tuple(ops) if op not in as_tuple(parent.sites.get(site, ())))
        for site, ops in variant.sites.items()
    }


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
