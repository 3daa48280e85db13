"""One source file in place of many: all that a class uses of this project, gathered and put in order.

A statement of a module is taken if another taken statement uses its name. Imports of our modules are dropped; those of
others are gathered at the top. The text of the sources is kept, comments within statements included.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from experiments.errors import ExperimentError
from lightning_modules.schemes.own_files import LOADED

OURS = ("data_modules", "lightning_modules", "experiments")
REGISTRIES = ("op", "residual", "attention", "feed_forward", "recipe")
BUILTIN = frozenset(dir(builtins)) | {"__name__"}
Key = tuple[str, str]
"""A module, and a name that it defines."""


@dataclass
class SourceModule:
    """One module's statements by the names that they define, and what its imports mean."""

    name: str
    text: str
    defines: dict[str, ast.stmt] = field(default_factory=dict)
    follows: dict[str, ast.stmt] = field(default_factory=dict)
    """Statement after the one that defines a name, which may be its description."""
    inner: dict[str, Key] = field(default_factory=dict)
    """The module of ours, and the name in it, by imported name."""
    outer: dict[str, str] = field(default_factory=dict)
    """The import statement that binds a name of others."""
    registrations: list[ast.Expr] = field(default_factory=list)
    """Statements such as ``attention("softmax")(SelfAttention)``."""

    def segment(self, node: ast.stmt) -> str:
        """Return the text of a statement, its decorators included."""
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        return "\n".join(self.text.splitlines()[first - 1 : node.end_lineno])


@cache
def source_module(name: str) -> SourceModule:
    """Read a module of ours, or a file of schemes that was executed, without importing it."""
    own = next((file for digest, file in LOADED.items() if name == f"scheme_{digest[:16]}"), None)
    if own is not None:
        text = own.source.decode()
    else:
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None, f"{name} is a module of ours"
        text = Path(spec.origin).read_text(encoding="utf-8")
    module = SourceModule(name, text)
    body = ast.parse(text).body
    for statement, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            _read_import(module, statement)
        elif isinstance(statement, ast.FunctionDef | ast.ClassDef):
            module.defines[statement.name] = statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            module.defines |= dict.fromkeys(names, statement)
            module.follows |= dict.fromkeys(names, following)
        elif _is_registration(statement):
            assert isinstance(statement, ast.Expr)
            module.registrations.append(statement)
    return module


def _is_registration(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Call)
        and isinstance(call.func.func, ast.Name)
        and call.func.func.id in REGISTRIES
    )


def _read_import(module: SourceModule, statement: ast.Import | ast.ImportFrom) -> None:
    source = statement.module or "" if isinstance(statement, ast.ImportFrom) else ""
    for alias in statement.names:
        bound = alias.asname or alias.name
        renamed = f" as {alias.asname}" if alias.asname else ""
        if source == "__future__":
            continue
        if source.partition(".")[0] in OURS:
            module.inner[bound] = source, alias.name
        elif source:
            module.outer[bound] = f"from {source} import {alias.name}{renamed}"
        else:
            module.outer[bound.partition(".")[0]] = f"import {alias.name}{renamed}"


def names_in(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement reads, with those of its annotations, which may be text."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            yield part.id


def needed_at_once(node: ast.AST) -> Iterator[str]:
    """Yield the names that must be there when a statement is executed: no bodies of functions, no annotations."""
    if isinstance(node, ast.FunctionDef):
        parts: list[ast.AST] = [*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)]
    elif isinstance(node, ast.Lambda):
        parts = [*node.args.defaults, *(default for default in node.args.kw_defaults if default)]
    elif isinstance(node, ast.ClassDef):
        parts = [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords), *node.body]
    elif isinstance(node, ast.AnnAssign):
        parts = [node.value] if node.value is not None else []
    elif isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id
        return
    else:
        parts = list(ast.iter_child_nodes(node))
    for part in parts:
        yield from needed_at_once(part)


@dataclass
class FlatFile:
    """What is gathered for one file.

    Args:
        replaced: text to take instead of what a module defines, by module and name.
    """

    replaced: Mapping[Key, str] = field(default_factory=dict)
    taken: dict[Key, None] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    """Import statement by the name that it binds."""

    def take(self, key: Key) -> None:
        """Take a definition and all that it uses.

        Raises:
            ExperimentError: two things of one name are used.
        """
        waiting = [key]
        while waiting:
            module, name = waiting.pop()
            if (module, name) in self.taken:
                continue
            found = source_module(module)
            if (module, name) in self.replaced:
                self.taken[module, name] = None
                waiting += self._used(found, ast.parse(self.replaced[module, name]))
            elif name in found.defines:
                self.taken[module, name] = None
                waiting += self._used(found, found.defines[name])
            elif name in found.inner:  # a module that hands on what it has imported
                waiting.append(found.inner[name])
            else:
                raise ExperimentError(f"{module} defines no {name!r} that could be written to a file of its own")
        self._refuse_two_of_a_name()

    def _used(self, module: SourceModule, node: ast.AST) -> Iterator[Key]:
        for part in ast.walk(node):
            if isinstance(part, ast.ImportFrom) and (part.module or "").partition(".")[0] in OURS:
                raise ExperimentError(
                    f"{module.name} imports {part.module} inside a function, so it cannot be written to one file"
                )
        for name in names_in(node):
            if name in module.defines or (module.name, name) in self.replaced:
                yield module.name, name
            elif name in module.inner:
                yield module.inner[name]
            elif name in module.outer:
                statement = module.outer[name]
                if self.imports.setdefault(name, statement) != statement:
                    raise ExperimentError(f"{name} is imported twice, as {statement!r} and {self.imports[name]!r}")

    def _refuse_two_of_a_name(self) -> None:
        places: dict[str, str] = {}
        for module, name in self.taken:
            if places.setdefault(name, module) != module:
                raise ExperimentError(
                    f"{places[name]} and {module} both define {name!r}, so they cannot be in one file; rename one"
                )

    def statements(self) -> list[str]:
        """Return the text of all statements, each after those that it needs when it is executed."""
        modules = _in_order({module for module, _ in self.taken})
        rank = {module: place for place, module in enumerate(modules)}
        keys = sorted(self.taken, key=lambda key: (rank[key[0]], self._line(key)))
        written: dict[tuple[str, int, str], str] = {}
        done: set[Key] = set()
        by_name = {name: (module, name) for module, name in self.taken}

        def write(key: Key) -> None:
            """Add a statement to ``written``, after all that it needs when it is executed; once for each."""
            if key in done:
                return
            done.add(key)
            module, name = source_module(key[0]), key[1]
            if key in self.replaced:
                node: ast.AST = ast.parse(self.replaced[key])
                text, line = self.replaced[key].strip(), 0
            else:
                node = module.defines[name]
                text, line = _with_description(module, name), module.defines[name].lineno
            for needed in needed_at_once(node):
                if needed in by_name:
                    write(by_name[needed])
            written.setdefault((key[0], line, "" if line else name), text)

        for key in keys:
            write(key)
        registered = [text for name in modules for text in self._registrations(source_module(name), set(by_name))]
        return [*written.values(), *registered]

    def _registrations(self, module: SourceModule, names: set[str]) -> Iterator[str]:
        """Yield the statements of a module that give names to parts that are taken."""
        for statement in module.registrations:
            assert isinstance(statement.value, ast.Call)
            parts = [part.id for part in statement.value.args if isinstance(part, ast.Name)]
            if all(part in names for part in parts):
                yield module.segment(statement)

    def _line(self, key: Key) -> int:
        return 0 if key in self.replaced else source_module(key[0]).defines[key[1]].lineno

    def text(self, description: str, after: str = "") -> str:
        """Return the whole file.

        Args:
            description: its docstring.
            after: statements at its end.
        """
        body = self.statements()
        lines = _merged(self.imports.values())
        standard = [line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names]
        others = [line for line in lines if line not in standard]
        head = [f'"""{description}"""', "", "from __future__ import annotations", "", *standard, "", *others]
        return "\n".join(head) + "\n\n\n" + "\n\n\n".join([*body, *([after.strip()] if after else [])]) + "\n"


def _merged(statements: Iterable[str]) -> list[str]:
    """Return import statements in order, one for each module that names are taken from."""
    plain = sorted({statement for statement in statements if statement.startswith("import ")})
    named: dict[str, set[str]] = {}
    for statement in statements:
        if statement.startswith("from "):
            source, _, name = statement.removeprefix("from ").partition(" import ")
            named.setdefault(source, set()).add(name)
    return plain + [f"from {source} import {', '.join(sorted(names))}" for source, names in sorted(named.items())]


def _with_description(module: SourceModule, name: str) -> str:
    """Return the text of a definition, with the string after an assignment that describes it."""
    text, following = module.segment(module.defines[name]), module.follows.get(name)
    described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    return f"{text}\n{module.segment(following)}" if described and following is not None else text


def _in_order(modules: set[str]) -> list[str]:
    """Return modules, each after those that it imports."""
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in done:
            return
        for other in sorted({module for module, _ in source_module(name).inner.values()}):
            if other in modules:
                visit(other)
        done[name] = None

    for name in sorted(modules):
        visit(name)
    return list(done)


def flat_file(
    roots: Iterable[Key], description: str, *, replaced: Mapping[Key, str] | None = None, after: str = ""
) -> str:
    """Return one file with some definitions and all that they use.

    Args:
        roots: what is wanted, by module and name.
        description: docstring of the file.
        replaced: text to take instead of what a module defines.
        after: statements at its end.

    Raises:
        ExperimentError: it cannot be one file.
    """
    flat = FlatFile(replaced or {})
    for root in roots:
        flat.take(root)
    return flat.text(description, after)
