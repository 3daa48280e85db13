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
