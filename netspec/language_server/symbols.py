"""The outline of a text: its nets and blocks, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span
from netspec.language_server.analysis import Analysis
from netspec.language_server.changes import Change

Kind = Literal["net", "block", "input", "output", "layer", "value"]


@dataclass(frozen=True, slots=True)
class DocumentSymbol:
    """A part of a text: its name, a few words, its range, and the range of the name."""

    name: str
    kind: Kind
    detail: str
    place: tuple[int, int]
    named: tuple[int, int]
    inside: tuple[DocumentSymbol, ...] = ()


def document_symbols(analysis: Analysis) -> list[DocumentSymbol]:
    """Return the outline; that of the last text that could be parsed, if this one cannot."""
    readable, since = analysis.readable
    found: list[DocumentSymbol] = []
    for definition in readable.definitions():
        inside = tuple(_placed(_inside(definition), since))
        parameters = ", ".join(" ".join(p.span.text.split()) for p in definition.parameters)
        kind: Kind = "net" if isinstance(definition, syntax.Net) else "block"
        whole = _Part(definition.name.id, kind, parameters, definition.span, definition.name.span)
        found += _placed([whole], since, inside)
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    kind: Kind
    detail: str
    whole: Span
    named: Span


def _placed(
    parts: Iterator[_Part] | list[_Part], since: Change, inside: tuple[DocumentSymbol, ...] = ()
) -> Iterator[DocumentSymbol]:
    for part in parts:
        ends = [since.forward(at) for s in (part.whole, part.named) for at in (s.start, s.end)]
        start, end, name_start, name_end = ends
        if start is None or end is None or name_start is None or name_end is None:
            continue
        place, named = (start, end), (name_start, name_end)
        yield DocumentSymbol(part.name, part.kind, part.detail, place, named, inside)


def _inside(definition: syntax.Net | syntax.Block) -> Iterator[_Part]:
    seen: set[str] = set()
    for statement in syntax.nested(definition.body):
        span = statement.span
        match statement:
            case syntax.Input():
                name, detail = statement.name, statement.shape.span.text
                yield _Part(name.id, "input", detail, span, name.span)
            case syntax.Output():
                named = statement.name.span if statement.name is not None else span
                name_ = statement.name.id if statement.name is not None else "output"
                yield _Part(name_, "output", "", span, named)
            case syntax.Layer() | syntax.Declared():
                yield _Part(statement.name.id, "layer", "", span, statement.name.span)
            case syntax.Assign():
                for target in statement.targets:
                    if target.id not in seen:
                        seen.add(target.id)
                        yield _Part(target.id, "value", "", span, target.span)
        if not isinstance(statement, syntax.For | syntax.If):
            yield from _labelled(statement)


def _labelled(statement: syntax.Statement) -> Iterator[_Part]:
    for part in syntax.parts(statement):
        if isinstance(part, syntax.Stage) and part.label is not None:
            called = part.call.callee.id
            yield _Part(part.label.span.text, "layer", called, part.span, part.label.span)
