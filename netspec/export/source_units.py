"""Definitions of modules as source text: what each needs, and where names are used in it.

A unit is one statement at the top level of a module that defines something. The modules are given
by name; none of them is imported or run.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netspec.text.python_tree import parse_python

# The definition that a name at the top of a module refers to, as (module, name).
Target = tuple[str, str]

PACKAGE = "netspec"


@dataclass(frozen=True)
class NameUse:
    """A place in a unit's text where a definition is named: the line, and columns in bytes."""

    line: int
    start: int
    stop: int
    target: Target
    dotted: bool


@dataclass
class Unit:
    """A statement that defines names, and the names that it uses.

    Attributes:
        module: the module it is in.
        names: the names it defines.
        text: its source, including comment lines directly above it.
        uses: where it names definitions, including its own; lines count from the beginning of the
            text.
        imports: the imports from other packages that it needs: (module, name, alias), where an
            empty name stands for the module itself.
        local: the local names of its functions.
        unread: its syntax tree, until `resolve` has found the uses, imports and local names in it.
    """

    module: str
    names: tuple[str, ...]
    text: str
    line: int
    uses: list[NameUse] = field(default_factory=list)
    imports: set[tuple[str, str, str]] = field(default_factory=set)
    local: set[str] = field(default_factory=set)
    unread: ast.stmt | None = None


@dataclass
class SourceModule:
    """The source of a module: its units by the names they define, and what its imports refer to.

    `wrap` wraps the lines of a function in which names have changed, if the module has a style of
    its own.
    """

    name: str
    doc: str
    units: dict[str, Unit]
    imported: dict[str, tuple[str, str, str]]  # local name: (module, name, alias)
    wrap: Callable[[str], str] | None = None


def read(name: str, text: str) -> SourceModule:
    """Parse a module's text."""
    tree = parse_python(text)
    lines = text.splitlines(keepends=True)
    imported: dict[str, tuple[str, str, str]] = {}
    module = SourceModule(name, ast.get_docstring(tree) or "", {}, imported)
    for statement in _statements(tree):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                local = alias.asname or alias.name.partition(".")[0]
                imported[local] = (alias.name, "", alias.asname or "")
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                imported[alias.asname or alias.name] = (
                    statement.module or "", alias.name, alias.asname or ""
                )  # fmt: skip
        elif names := tuple(_defined(statement)):
            module.units |= dict.fromkeys(names, _unit(name, names, statement, lines))
    return module


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the top-level statements, including those under `if TYPE_CHECKING`."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            yield from statement.body
        else:
            yield statement


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            for node in ast.walk(target):
                if isinstance(node, ast.Name):
                    yield node.id


def _unit(module: str, names: tuple[str, ...], statement: ast.stmt, lines: list[str]) -> Unit:
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(d.lineno for d in decorators)])
    assert statement.end_lineno is not None
    while (
        first > 1 and lines[first - 2].startswith("#") and not lines[first - 2].startswith("# --")
    ):
        first -= 1
    text = "".join(lines[first - 1 : statement.end_lineno]).rstrip("\n")
    if lines[statement.end_lineno - 1].rstrip().endswith("# fmt: skip"):
        text = text.rstrip()
    return Unit(module, names, text, first, unread=statement)


@functools.cache
def module(name: str) -> SourceModule:
    """Return a module of netspec by name. What its units use is found when one of them is needed."""
    found = importlib.util.find_spec(name)
    assert found is not None, name
    assert found.origin is not None, name
    return read(name, Path(found.origin).read_text("utf-8"))


def resolve(made: SourceModule, unit: Unit) -> None:
    """Determine what a unit of a module uses, and drop its syntax tree, which is large."""
    if unit.unread is not None:
        _Resolver(made, unit).visit(unit.unread)
        unit.unread = None


def target_of(made: SourceModule, name: str) -> Target | str | None:
    """Return what a name at the top of a module refers to.

    This is a definition in netspec, or the name of a module of netspec; None for anything else.
    """
    if name in made.units:
        return made.name, name
    if name not in made.imported:
        return None
    source, member, _ = made.imported[name]
    if source.partition(".")[0] != PACKAGE:
        return None
    if not member:
        return source
    whole = f"{source}.{member}"
    if importlib.util.find_spec(source) and _is_module(whole):
        return whole
    return target_of(module(source), member)


def modules_used(made: SourceModule) -> set[str]:
    """Return the modules of netspec whose definitions a module imports, or that it imports whole."""
    targets = (target_of(made, name) for name in made.imported if name not in made.units)
    return {each[0] if isinstance(each, tuple) else each for each in targets if each is not None}


@functools.cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class _Resolver(ast.NodeVisitor):
    """Finds what a unit uses: definitions in netspec, and imports from other packages."""

    def __init__(self, made: SourceModule, unit: Unit) -> None:
        self.made, self.unit = made, unit
        self.scopes: list[set[str]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self.visit(part)
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg) and argument.annotation is not None:
                self.visit(argument.annotation)
        if node.returns is not None:
            self.visit(node.returns)
        own = _locals(node)
        self.unit.local |= own
        self.scopes.append(own)
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()

    def visit_Lambda(self, node: ast.Lambda) -> None:
        own = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}
        self.unit.local |= own
        self.scopes.append(own)
        self.visit(node.body)
        self.scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        for statement in node.body:
            # A name at the top of a class body is the class's own, even if the module defines it
            # too.
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                self.visit(statement.annotation)
                if statement.value is not None:
                    self.visit(statement.value)
            elif isinstance(statement, ast.Assign):
                self.visit(statement.value)
            else:
                self.visit(statement)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        target = self._dotted(node)
        if target is None:
            self.generic_visit(node)
        elif isinstance(target, tuple):
            self._use(node, target, dotted=True)

    def visit_Name(self, node: ast.Name) -> None:
        if any(node.id in scope for scope in self.scopes):
            return
        target = target_of(self.made, node.id)
        if isinstance(target, tuple):
            self._use(node, target, dotted=False)
        elif node.id in self.made.imported:
            self.unit.imports.add(self.made.imported[node.id])

    def _dotted(self, node: ast.expr) -> Target | str | None:
        """Resolve a dotted name if it begins with a module of netspec."""
        if isinstance(node, ast.Name):
            if any(node.id in scope for scope in self.scopes):
                return None
            target = target_of(self.made, node.id)
            return target if isinstance(target, str) else None
        if isinstance(node, ast.Attribute):
            owner = self._dotted(node.value)
            if isinstance(owner, str):
                return target_of(module(owner), node.attr)
        return None

    def _use(self, node: ast.Name | ast.Attribute, target: Target, *, dotted: bool) -> None:
        assert node.end_col_offset is not None
        assert node.lineno == node.end_lineno, "a dotted name over several lines"
        line = node.lineno - self.unit.line
        self.unit.uses.append(NameUse(line, node.col_offset, node.end_col_offset, target, dotted))


def _locals(node: ast.FunctionDef) -> set[str]:
    """Return the local names of a function."""
    own = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}
    free: set[str] = set()
    pending: list[ast.AST] = list(node.body)
    while pending:
        part = pending.pop()
        if isinstance(part, ast.Name):  # the usual case first
            if isinstance(part.ctx, ast.Store):
                own.add(part.id)
            continue
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            own.add(part.name)
            continue
        if isinstance(part, (ast.Constant, ast.expr_context, ast.operator, ast.Lambda)):
            continue
        if isinstance(part, ast.Global):
            free |= set(part.names)
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            own |= {alias.asname or alias.name.partition(".")[0] for alias in part.names}
        if isinstance(part, ast.ExceptHandler) and part.name:
            own.add(part.name)
        pending.extend(ast.iter_child_nodes(part))
    return own - free


def closure(roots: Mapping[str, SourceModule], start: list[Target]) -> list[Unit]:
    """Return the units that some definitions need, including themselves; modules are found by name."""
    found: dict[int, Unit] = {}
    pending = list(start)
    while pending:
        name, member = pending.pop()
        made = roots.get(name) or module(name)
        unit = made.units[member]
        if id(unit) not in found:
            found[id(unit)] = unit
            resolve(made, unit)
            pending.extend(use.target for use in unit.uses)
    return list(found.values())
