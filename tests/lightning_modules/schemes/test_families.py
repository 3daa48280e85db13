"""Variants are listed without torch, from the very files that hold their modules."""

from __future__ import annotations

import ast
import subprocess
import sys
from textwrap import dedent

from lightning_modules.network.parts import attention, feed_forward, op, recipe, residual
from lightning_modules.schemes import families
from lightning_modules.schemes.variants import VARIANTS


def test_listing_gives_every_variant_that_the_files_register_and_loads_no_torch():
    code = """
    import sys
    from lightning_modules.schemes.families import load_families
    from lightning_modules.schemes.variants import VARIANTS
    assert not {"torch", "numpy", "lightning"} & set(sys.modules)
    listed = dict(VARIANTS)
    VARIANTS.clear()
    del sys.modules["lightning_modules.schemes.placements"]  # which listing has imported
    load_families()
    assert listed == VARIANTS, set(listed) ^ set(VARIANTS)
    print(len(listed))
    """
    listed = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    assert int(listed.stdout) >= 14


def test_every_part_that_a_variant_names_is_there():
    families.load_families()
    for variant in VARIANTS.values():
        for kind, part in ((residual, "residual"), (attention, "attention"), (feed_forward, "feed_forward")):
            assert kind.find(getattr(variant, part))
        for part in variant.recipes:
            assert recipe.find(part)
        for site in variant.sites:
            for part in variant.ops_at(site):
                assert op.find(part)


FAMILY = """
from __future__ import annotations
import math
import torch
from torch import nn
from lightning_modules.network.parts import op
from lightning_modules.schemes.variants import register
HALF, SIZE = math.sqrt(0.25), 3
DTYPE = torch.float32
def rule(place): return torch.zeros(place)
@op("mine")
class Mine(nn.Module): pass
op("other")(lambda width, place: Mine())
squares = {n: n * n for n in range(3)}
wide = Mine()
register(HALF, by_place=lambda place: Mine)
register(wide)
typed: nn.Module = squares
"""


def test_statements_that_need_torch_are_left_out_and_all_others_kept():
    kept = families.without_torch(ast.parse(FAMILY))
    assert [ast.unparse(statement) for statement in kept.body] == [
        "from __future__ import annotations",
        "import math",
        "from lightning_modules.schemes.variants import register",
        "HALF, SIZE = (math.sqrt(0.25), 3)",
        "def rule(place):\n    return torch.zeros(place)",
        "squares = {n: n * n for n in range(3)}",
        "register(HALF, by_place=lambda place: Mine)",
        "typed: nn.Module = squares",
    ]


def test_tables_begin_with_the_variants_of_the_first_grids():
    names = list(VARIANTS)
    assert names[: len(families.TABLE_ORDER)] == list(families.TABLE_ORDER)
    assert {"__init__", "families", "place", "variants"}.isdisjoint(families.family_names())
