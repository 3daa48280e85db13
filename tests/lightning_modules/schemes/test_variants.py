"""A variant is data: what it derives from, what stands at its sites, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_modules.errors import ConfigurationError
from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.placements import POST_LN, PRE_LN
from lightning_modules.schemes.variants import INPUT, NORM, OUTPUT, POST, VARIANTS, ancestors, register, use


def test_a_derived_variant_names_its_parent_and_changes_only_what_it_says():
    child = PRE_LN.derive("sandwich", sites=PRE_LN.sites | {OUTPUT: NORM})
    assert child.parent == "pre_ln"
    assert (child.ops_at(INPUT), child.ops_at(OUTPUT), child.ops_at(POST)) == (("layer_norm",), ("layer_norm",), ())
    assert child.residual == PRE_LN.residual


def test_a_site_may_belong_to_one_kind_of_sublayer_and_hold_several_ops():
    child = PRE_LN.derive("hybrid", norm="other", sites={POST: NORM, "attention.post": (NORM, use("gain", start=2))})
    assert child.ops_at(POST, Role.ATTENTION) == ("other", use("gain", start=2))
    assert child.ops_at(POST, Role.FEED_FORWARD) == ("other",)
    assert PRE_LN.derive("empty", sites={POST: NORM, "attention.post": ()}).ops_at(POST, Role.ATTENTION) == ()


def test_another_variant_may_stand_at_a_place():
    mixed = PRE_LN.derive("mixed", by_place=lambda place: POST_LN if place.block == 1 else PRE_LN)
    assert [mixed.at(Place(width=8, index=index, sublayers=4)).name for index in range(4)] == [
        *("post_ln", "post_ln", "pre_ln", "pre_ln")
    ]
    assert PRE_LN.at(Place(width=8)) is PRE_LN


@pytest.mark.parametrize("per_block", [1, 2])
def test_a_place_knows_its_block(per_block):
    places = [Place(width=8, index=index, sublayers=6, per_block=per_block) for index in range(6)]
    assert [place.block for place in places] == ([1, 2, 3, 4, 5, 6] if per_block == 1 else [1, 1, 2, 2, 3, 3])
    assert {place.blocks for place in places} == {6 // per_block}
    assert [place.index for place in places if place.starts_block] == list(range(0, 6, per_block))
    assert [place.index for place in places if place.ends_block] == list(range(per_block - 1, 6, per_block))
    assert [place.index for place in places if place.is_last] == [5]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sites": {"outptu": NORM}}, "did you mean 'output'"),
        ({"sites": {"atention.post": NORM}}, "did you mean 'attention'"),
        ({"mixes": frozenset({"pading"})}, "did you mean 'padding'"),
        ({"name": "../elsewhere"}, "lower-case letters, digits and underscores"),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest_choice(changes, said):
    with pytest.raises(ConfigurationError, match=said):
        PRE_LN.derive(**{"name": "wrong", **changes})


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        (PRE_LN.derive("post_ln", title="Mine"), "the name of variant post_ln is taken"),
        (PRE_LN.derive("mine"), "variant mine has the title of pre_ln"),
        (PRE_LN.derive("first").derive("second", title="Second"), "parent of variant second is 'first'"),
    ],
)
def test_the_registry_refuses_what_would_be_mistaken_for_another(variant, said):
    before = dict(VARIANTS)
    with pytest.raises(ConfigurationError, match=said):
        register(variant)
    assert before == VARIANTS


def test_registering_the_same_variant_again_changes_nothing():
    assert register(replace(PRE_LN)) is PRE_LN


def test_every_variant_says_where_it_comes_from():
    for name, variant in VARIANTS.items():
        assert variant.name == name
        assert variant.source and variant.formula and variant.title
        assert {*ancestors(variant), *variant.also_without} <= set(VARIANTS)
    assert [name for name, variant in VARIANTS.items() if variant.parent is None] == ["post_ln"]


def test_each_cell_of_the_two_by_two_knows_the_variants_that_have_one_part_more():
    parts = {  # residual connections, norm (where it stands)
        "post_ln": (True, POST),
        "pre_ln": (True, INPUT),
        "no_residual": (False, POST),
        "no_residual_pre": (False, INPUT),
        "no_norm": (True, None),
        "plain": (False, None),
    }
    for name, (skips, site) in parts.items():
        one_more = {
            other
            for other, (s, n) in parts.items()
            if (not skips and s and n == site) or (s == skips and not site and n)
        }
        stated = {VARIANTS[name].parent, *VARIANTS[name].also_without}
        assert stated == one_more or (not one_more and stated <= {None, "post_ln"})


def test_a_child_does_not_inherit_with_what_its_parent_is_compared():
    assert VARIANTS["no_norm"].also_without == ("pre_ln",)
    assert VARIANTS["no_norm"].derive("child").also_without == ()
