"""Where names are defined and used: what a definition, references and a new name are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span
from netspec.language_server.analysis import Analysis

Kind = Literal["net", "block", "value", "label", "file", "output"]


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a name stands for.

    Attributes:
        kind: what it is.
        file: the name of the file that defines it.
        body: the net or block that it belongs to; empty for one of the file itself.
        name: the name.
    """

    kind: Kind
    file: str
    body: str
    name: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A place at which a symbol is named. `line` is the line of its definition, where known."""

    symbol: Symbol
    span: Span
    is_definition: bool
    line: str = ""


def occurrences(module: Module) -> list[Occurrence]:
    """Return all places of a file that name something which a file defines, in order."""
    found = list(_Finder(module).all())
    return sorted(found, key=lambda each: each.span.start)


def occurrence_at(analysis: Analysis, offset: int) -> Occurrence | None:
    """Return what is named at an offset of a text that could be parsed; None if nothing is."""
    if analysis.module is None:
        return None
    found = [
        each for each in occurrences(analysis.module) if each.span.start <= offset <= each.span.end
    ]
    inside = [each for each in found if offset < each.span.end]
    return next(iter(inside or found), None)


class _Finder:
    def __init__(self, module: Module) -> None:
        self.module = module
        self.file = module.source.name

    def all(self) -> Iterator[Occurrence]:
        tree = self.module.tree
        for definition in tree.definitions if tree is not None else ():
            if isinstance(definition, syntax.Import):
                yield from self._import(definition)
            elif isinstance(definition, syntax.Net | syntax.Block):
                kind: Kind = "net" if isinstance(definition, syntax.Net) else "block"
                name = definition.name
                yield self._at(name.span, kind, "", name.id, is_definition=True)
                yield from self._body(definition)

    def _at(
        self, span: Span, kind: Kind, body: str, name: str, *, is_definition: bool = False
    ) -> Occurrence:
        line = span.source.line(span.line).strip() if is_definition else ""
        return Occurrence(Symbol(kind, self.file, body, name), span, is_definition, line)

    def _import(self, statement: syntax.Import) -> Iterator[Occurrence]:
        home: Module | None = None
        for name in statement.names:
            if name.id in self.module.blocks:
                home = self.module.blocks[name.id][1]
                yield Occurrence(Symbol("block", home.source.name, "", name.id), name.span, False)
        if home is not None:
            symbol = Symbol("file", home.source.name, "", home.source.name)
            yield Occurrence(symbol, statement.path_span, False)

    def _body(self, definition: syntax.Net | syntax.Block) -> Iterator[Occurrence]:
        body = definition.name.id
        bound = dict(_bindings(definition))
        seen: set[str] = set()
        for name in bound.values():
            is_first = name.id not in seen
            seen.add(name.id)
            yield Occurrence(
                Symbol("value", self.file, body, name.id),
                name.span,
                is_first,
                name.span.source.line(name.span.line).strip(),
            )
        names = {name.id: name for name in reversed(bound.values())}
        other = bound.keys() | _not_values(definition)
        for part in syntax.parts((definition.parameters, definition.body)):
            if isinstance(part, syntax.Name) and part.span not in other and part.id in names:
                yield self._use(part, body, names)
            elif isinstance(part, syntax.Call):
                yield from self._call(part)
            elif isinstance(part, syntax.Label):
                yield self._at(part.span, "label", body, part.span.text, is_definition=True)
            elif isinstance(part, syntax.Output) and part.name is not None:
                yield self._at(part.name.span, "output", body, part.name.id, is_definition=True)

    def _use(self, name: syntax.Name, body: str, names: dict[str, syntax.Name]) -> Occurrence:
        defined = names[name.id].span
        line = defined.source.line(defined.line).strip()
        return Occurrence(Symbol("value", self.file, body, name.id), name.span, False, line)

    def _call(self, call: syntax.Call) -> Iterator[Occurrence]:
        if call.callee.id not in self.module.blocks:
            return
        block, home = self.module.blocks[call.callee.id]
        symbol = Symbol("block", home.source.name, "", block.name.id)
        yield Occurrence(symbol, call.callee.span, False)
        takes = {parameter.name.id for parameter in block.parameters}
        for argument in call.arguments:
            if argument.name is not None and argument.name.id in takes:
                of = Symbol("value", home.source.name, block.name.id, argument.name.id)
                yield Occurrence(of, argument.name.span, False)


def _bindings(definition: syntax.Net | syntax.Block) -> Iterator[tuple[Span, syntax.Name]]:
    """Yield the names that a body binds, by their spans, in order."""
    names: list[syntax.Name] = [parameter.name for parameter in definition.parameters]
    if isinstance(definition, syntax.Block):
        names += definition.inputs
    for statement in syntax.nested(definition.body):
        match statement:
            case syntax.Input() | syntax.Layer() | syntax.Declared():
                names.append(statement.name)
            case syntax.Assign() | syntax.For():
                names += statement.targets
    for name in names:
        yield name.span, name


def _not_values(definition: syntax.Net | syntax.Block) -> set[Span]:
    """Return the spans of the names that stand for no value: of arguments, outputs and roles."""
    found: set[Span] = set()
    for part in syntax.parts(definition.body):
        match part:
            case syntax.Argument() | syntax.Output():
                found.update({part.name.span} if part.name is not None else ())
            case syntax.Init():
                found.update(role.span for role, _ in part.rules)
    return found
