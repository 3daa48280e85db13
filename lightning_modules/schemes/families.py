"""The files of schemes: their variants listed without torch, and their modules loaded when a network is built.

A family holds modules and the variants that use them in one file. Whoever lists variants (a report, ``--help``) must
not wait for torch, so they are read from a part of the file: the statements that do not depend on torch.
"""

from __future__ import annotations

import ast
import builtins
import sys
from importlib import import_module
from pathlib import Path

from lightning_modules.schemes.variants import VARIANTS

FOLDER = Path(__file__).parent
NO_FAMILY = frozenset({"__init__", "composing", "families", "files", "needs", "open_schemes", "place", "variants"})
TORCH_FREE = frozenset(
    {"lightning_modules.errors", *(f"lightning_modules.schemes.{name}" for name in ("place", "placements", "variants"))}
)
"""Modules of ours that a family's variants may use."""

TABLE_ORDER = (
    *("post_ln", "pre_ln", "no_residual", "no_residual_pre", "no_norm", "plain", "article_block"),
    *("article_layer_norm_dim1", "peri_ln", "layer_norm_scaling", "rezero", "deepnorm", "depth_scaled_post_ln"),
    "bag_of_embeddings",
)
"""Order in which tables show the variants of the first grids; all others follow, family by family."""


FAMILIES: dict[str, str] = {}
"""By the name of each of our variants, the file that registers it, without its suffix."""


def family_names() -> list[str]:
    """Return the names of the family files, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in NO_FAMILY)


def load_families() -> None:
    """Import every family, which registers its modules."""
    for name in family_names():
        import_module(f"lightning_modules.schemes.{name}")


def read_variants() -> None:
    """Register the variants of every family without running what needs torch."""
    import_module(f"{__package__}.placements")  # which the others import, and whose variants come first
    FAMILIES.update(dict.fromkeys(VARIANTS, "placements"))
    for name in family_names():
        path = FOLDER / f"{name}.py"
        data = without_torch(ast.parse(path.read_text(encoding="utf-8")))
        exec(compile(data, path, "exec"), {"__name__": f"{__package__}.{name}"})
        FAMILIES.update({variant: FAMILIES.get(variant, name) for variant in VARIANTS})
    ordered = {name: VARIANTS[name] for name in TABLE_ORDER} | VARIANTS
    VARIANTS.clear()
    VARIANTS.update(ordered)


def without_torch(module: ast.Module) -> ast.Module:
    """Leave out of a file what depends on torch: its import, and each statement that uses what was left out before."""
    bound = {*dir(builtins), "__name__"}
    kept: list[ast.stmt] = []
    for statement in module.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            if is_torch_free(statement):
                kept.append(statement)
                bound |= {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
        elif not isinstance(statement, ast.ClassDef) and names_used(statement) <= bound:
            kept.append(statement)
            bound |= names_bound(statement)
    return ast.Module(kept, module.type_ignores)


def is_torch_free(statement: ast.Import | ast.ImportFrom) -> bool:
    """Whether an import takes nothing but the standard library and modules known to be free of torch."""
    names = [statement.module or ""] if isinstance(statement, ast.ImportFrom) else [a.name for a in statement.names]
    return all(name in TORCH_FREE or name.partition(".")[0] in sys.stdlib_module_names for name in names)


def names_used(node: ast.AST) -> set[str]:
    """Return the names that a statement needs when it is executed: not those inside a function it defines."""
    if isinstance(node, ast.Lambda):
        return set()
    if isinstance(node, ast.FunctionDef):
        return {name for decorator in node.decorator_list for name in names_used(decorator)}
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    parts = [node.value] if isinstance(node, ast.AnnAssign) and node.value else ast.iter_child_nodes(node)
    return {name for part in parts for name in names_used(part)} - names_bound(node)


def names_bound(node: ast.AST) -> set[str]:
    """Return the names that a statement defines, or that a comprehension inside it uses for itself."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
