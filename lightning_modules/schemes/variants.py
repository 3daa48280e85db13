"""What a variant is, and the registry: every scheme as a named, cited difference from a parent.

A variant is data, free of torch. It says which *ops* (norms, gains, gates) are at which *sites*. If a residual, an
attention, a feed-forward network or recipes are not the usual ones, it names them. ``network/`` builds it.

Sites of a sublayer, of attention and of the feed-forward network::

    x ─┬─► input ──► F ──► output ──►(+)──► post ──► x
       └─► skip ──────────────────────┘
    F = attention:     q ► query, k ► key, v ► value ──► softmax(q·kᵀ)·v ──► heads ──► inner ──► W_o
    F = feed-forward:  W₁ ──► hidden ──► activation ──► inner ──► W₂

Before and after the blocks: ``tokens`` (between table and positions), ``embedding``, ``final`` and ``logits``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lightning_modules.errors import ConfigurationError, reject_unknown
from lightning_modules.schemes.place import Place, Role

TOKENS, EMBEDDING, FINAL, LOGITS = "tokens", "embedding", "final", "logits"
INPUT, SKIP, OUTPUT, POST = "input", "skip", "output", "post"
QUERY, KEY, VALUE, HEADS, INNER, HIDDEN = "query", "key", "value", "heads", "inner", "hidden"
SITES = (TOKENS, EMBEDDING, INPUT, QUERY, KEY, VALUE, HEADS, HIDDEN, INNER, OUTPUT, SKIP, POST, FINAL, LOGITS)

TIME, PADDING, ROWS = "time", "padding", "rows"

NORM = "norm"
"""The op that a variant names as its norm."""


@dataclass(frozen=True)
class Use:
    """A part with options: what :func:`use` makes."""

    name: str
    options: tuple[tuple[str, Any], ...]


def use(name: str, **options: Any) -> Use:
    """Return the part ``name`` with options other than its own defaults, such as ``use("drop_path", rate=0.2)``."""
    return Use(name, tuple(sorted(options.items())))


Part = str | Use | Callable[..., Any]
"""A part of a network: its registered name, a use of it with options, or, in a person's own file, the class itself."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A residual and normalisation scheme.

    Raises:
        ConfigurationError: at construction, if a site or an entry of ``mixes`` is unknown, or the name is not an
            identifier.
    """

    name: str
    """Name in configurations, folders and tables: lower-case letters, digits and underscores."""

    title: str
    """Name in figures and reports."""

    formula: str
    """One sublayer, with ``F`` the attention or feed-forward function and ``LN`` the norm."""

    source: str
    """Where the scheme was published."""

    parent: str | None = None
    """Variant that this one differs from by a few fields; set by :meth:`derive`."""

    also_without: tuple[str, ...] = ()
    """Further variants that differ from this one in a single part, as ``parent`` does: reports compare it with them
    too. A child does not inherit this."""

    norm: Part = "layer_norm"
    """What ``norm`` means at the sites."""

    sites: dict[str, Part | tuple[Part, ...]] = field(default_factory=dict, hash=False)
    """Op, or ops in order, by site. ``post`` means every sublayer, ``attention.post`` or ``feed_forward.post`` one kind
    of them; a site without an entry is empty."""

    residual: Part = "identity"
    """How the stream takes up what a sublayer computes."""

    attention: Part = "softmax"
    """Attention function."""

    feed_forward: Part = "two_layers"
    """Feed-forward function."""

    parallel: bool = False
    """Whether a block's two functions are side by side in one sublayer."""

    biases: bool = True
    """Whether the linear maps of attention and feed-forward network have biases."""

    recipes: tuple[Part, ...] = ()
    """What the paper prescribes about start and training."""

    by_place: Callable[[Place], Variant] | None = field(default=None, compare=False)
    """If blocks are not alike, the variant at a place; it need not be registered."""

    layers: int | None = None
    """Number of blocks if the variant fixes it; otherwise ``model.layers`` decides."""

    mixes: frozenset[str] = frozenset()
    """What else a token's output depends on: ``time`` (tokens that a causal mask hides), ``padding``, or ``rows`` (the
    other rows of its batch). Causal language models refuse a variant that mixes ``time``."""

    unverified: str = ""
    """What could not be compared with the paper or its authors' code; empty for a variant that is verified. Like the
    next three, a child does not inherit it."""

    differs: str = ""
    """How the network around the scheme differs from the published one, for example in positions or activations."""

    published: dict[str, Any] = field(default_factory=dict, hash=False)
    """Settings of the published network that ``model.form`` ``published`` takes: :data:`PUBLISHED_SETTINGS`. A child
    does not inherit them, nor the next."""

    published_lacks: str = ""
    """What even that form lacks, such as experts."""

    pitfalls: str = ""
    """What goes wrong with it, and where published code departs from its paper."""

    tune: str = ""
    """What to tune in addition to the learning rate."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ConfigurationError(
                f"a variant is named {self.name!r}; take lower-case letters, digits and underscores, a letter first"
            )
        for key in self.sites:
            role, _, site = key.rpartition(".")
            reject_unknown(f"site of variant {self.name}", site, SITES)
            if role:
                reject_unknown(f"sublayer of site {key} of variant {self.name}", role, [kind.value for kind in Role])
        for mixed in self.mixes:
            reject_unknown(f"mixes of variant {self.name}", mixed, (TIME, PADDING, ROWS))
        for setting in self.published:
            reject_unknown(f"published setting of variant {self.name}", setting, PUBLISHED_SETTINGS)
        for mapping in ("sites", "published"):
            object.__setattr__(self, mapping, dict(getattr(self, mapping)))  # the caller's mapping may change

    def at(self, place: Place) -> Variant:
        """Return the variant at ``place``: this one if all blocks are alike."""
        return self if self.by_place is None else self.by_place(place)

    def ops_at(self, site: str, role: Role | None = None) -> tuple[Part, ...]:
        """Return the ops at ``site`` in order, for a sublayer of ``role`` if the site belongs to one."""
        ops = self.sites.get(f"{role}.{site}", self.sites.get(site, ()))
        ops = ops if isinstance(ops, tuple) else (ops,)
        return tuple(self.norm if op == NORM else op for op in ops)

    def derive(self, name: str, **changes: Any) -> Variant:
        """Return a child: this variant under another name, with a few fields changed."""
        fresh: dict[str, Any] = dict.fromkeys(("unverified", "differs", "pitfalls", "tune", "published_lacks"), "")
        fresh |= {"published": {}}
        return replace(self, name=name, **{"parent": self.name, "also_without": (), **fresh, **changes})

    def published_settings(self) -> dict[str, Any]:
        """Return the settings of the published network.

        Raises:
            ConfigurationError: the variant names none.
        """
        if not self.published:
            known = ", ".join(name for name, variant in VARIANTS.items() if variant.published)
            raise ConfigurationError(
                f"model.form is published, and variant {self.name} has no published form of its own; choose {known}"
            )
        return self.published

    def with_biases(self, biases: bool) -> Variant:
        """Return this variant with or without biases of its linear maps, in every block."""
        by_place = None if self.by_place is None else partial(with_biases, by_place=self.by_place, biases=biases)
        return replace(self, biases=biases, by_place=by_place)

    @property
    def year(self) -> int | None:
        """Year of publication, taken from ``source``."""
        found = re.search(r"(?<![\d:.])(?:19|20)\d\d(?![\d.])", self.source)
        return int(found[0]) if found else None

    @property
    def arxiv(self) -> str:
        """First arXiv id of ``source``; empty if it names none."""
        found = re.search(r"arXiv:(\d{4}\.\d{5})", self.source)
        return found[1] if found else ""

    @property
    def options(self) -> dict[str, Any]:
        """What ``model.scheme_options`` may set, with the defaults: the options of all its parts."""
        found: dict[str, Any] = {}
        for part in self._parts():
            found |= dict(part.options) if isinstance(part, Use) else {}
        return found | (dict(self.by_place.keywords) if isinstance(self.by_place, partial) else {})

    def with_options(self, options: Mapping[str, Any]) -> Variant:
        """Return this variant with some of its :attr:`options` set.

        Raises:
            ConfigurationError: it has no such option, or a value is of another kind than the option's own.
        """
        if not options:
            return self
        own = self.options
        if not own:
            raise ConfigurationError(
                f"variant {self.name} has no options, and model.scheme_options sets {', '.join(sorted(options))}"
            )
        for name, value in options.items():
            reject_unknown(f"option of variant {self.name}", name, own)
            refuse_other_kind(f"option {name} of variant {self.name}", value, own[name])
        by_place = self.by_place
        if isinstance(by_place, partial):
            by_place = partial(by_place.func, **chosen(by_place.keywords, options))

        def with_choice(part: Any) -> Any:
            if isinstance(part, tuple):
                return tuple(with_choice(each) for each in part)
            return use(part.name, **chosen(dict(part.options), options)) if isinstance(part, Use) else part

        parts = {name: with_choice(getattr(self, name)) for name in PARTS}
        sites = {site: with_choice(ops) for site, ops in self.sites.items()}
        return replace(self, sites=sites, by_place=by_place, **parts)

    def _parts(self) -> Iterator[Part]:
        for held in (*(getattr(self, name) for name in PARTS), *self.sites.values()):
            yield from held if isinstance(held, tuple) else (held,)


PUBLISHED_SETTINGS = ("positions", "activation", "biases", "feed_forward_factor")
"""What differs between published networks around a scheme: two settings of the model, the biases of linear maps, and
the hidden width of the feed-forward network in terms of D."""


def with_biases(place: Place, *, by_place: Callable[[Place], Variant], biases: bool) -> Variant:
    """Return the variant at a place, its linear maps with or without biases."""
    return replace(by_place(place), biases=biases)


PARTS = ("norm", "residual", "attention", "feed_forward", "recipes")
"""Fields of a variant that hold a part or several."""


def chosen(own: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``own`` with the values that ``options`` has for its names; a whole number may replace a float.

    >>> chosen({"rate": 0.1, "steps": 5}, {"rate": 1})
    {'rate': 1.0, 'steps': 5}
    """
    return {
        name: type(value)(options[name]) if name in options and value is not None else options.get(name, value)
        for name, value in own.items()
    }


def refuse_other_kind(what: str, value: Any, own: Any) -> None:
    """Refuse a value of another kind than ``own``, the option's usual one, or one that is not finite.

    Raises:
        ConfigurationError: naming both.
    """
    kinds = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}.get(type(own), ())
    if (kinds and not isinstance(value, kinds)) or (isinstance(value, bool) and not isinstance(own, bool)):
        raise ConfigurationError(f"{what} is {value!r}; it must be {KINDS[type(own)]}, such as {own!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{what} is {value!r}; it must be finite")


KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def refuse_causal(variant: Variant) -> None:
    """Refuse a variant that mixes in later tokens where a task hides them.

    Raises:
        ConfigurationError: it mixes time.
    """
    if TIME in variant.mixes:
        raise ConfigurationError(f"variant {variant.name} mixes in later tokens, so it cannot be causal")


VARIANTS: dict[str, Variant] = {}
"""All registered variants by name; parents come before their children."""

SCHEME_SHA256: dict[str, str] = {}
"""By the name of each variant of a person's own file, the digest of that file."""


def register(variant: Variant) -> Variant:
    """Add a variant to :data:`VARIANTS` and return it; the same one may be added again.

    Raises:
        ConfigurationError: another variant has its name or its title, or a variant that it names is unknown.
    """
    if VARIANTS.get(variant.name, variant) != variant:
        raise ConfigurationError(f"the name of variant {variant.name} is taken by another variant; choose another name")
    for other in VARIANTS.values():
        if other.title == variant.title and other.name != variant.name:
            raise ConfigurationError(f"variant {variant.name} has the title of {other.name}; give it one of its own")
    if variant.parent is not None:
        reject_unknown(f"parent of variant {variant.name}", variant.parent, VARIANTS)
    return VARIANTS.setdefault(variant.name, variant)


def ancestors(variant: Variant) -> Iterator[str]:
    """Yield the names of the variants that one was derived from, nearest first."""
    while variant.parent is not None:
        yield variant.parent
        variant = VARIANTS[variant.parent]
