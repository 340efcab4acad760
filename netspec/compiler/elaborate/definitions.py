"""Where a body defines what it uses too early, and where its definition should stand."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Hint, Label

# The fields with names that a statement defines, or that are no names of values.
_OWN_NAMES = (*syntax.NAMING, "targets")


class Definition(NamedTuple):
    """A statement of a body that defines a name.

    Attributes:
        name: that name, where it is defined.
        statement: what defines it.
        outermost: the same, or the loop or condition of the body that it stands in.
    """

    name: syntax.Name
    statement: syntax.Statement
    outermost: syntax.Statement


def definitions(statements: Sequence[syntax.Statement]) -> dict[str, list[Definition]]:
    """Return what the statements of a body define, those in its loops and conditions too."""
    found: dict[str, list[Definition]] = {}
    for outermost in statements:
        for statement in syntax.nested((outermost,)):
            for name in _defined(statement):
                found.setdefault(name.id, []).append(Definition(name, statement, outermost))
    return found


def _defined(statement: syntax.Statement) -> Iterator[syntax.Name]:
    if isinstance(statement, syntax.Assign):
        yield from statement.targets
    elif isinstance(statement, syntax.Declared | syntax.Layer | syntax.Input):
        yield statement.name


def defined_only(found: Sequence[Definition]) -> tuple[Label, ...]:
    """Return labels for the only definitions of a name that is not defined where it is used."""
    return tuple(Label(each.name.span, "defined only here") for each in found)


def move_hints(
    use: syntax.Name,
    found: Sequence[Definition],
    statements: Sequence[syntax.Statement],
    known: Container[str],
) -> tuple[Hint, ...]:
    """Return the hint to move the only definition of a name above its use, if that would help.

    Args:
        use: The name, where it is used.
        found: What defines it.
        statements: Those of the body, in their order.
        known: The names that the definition may use where it would then stand.
    """
    if len(found) != 1 or found[0].statement is not found[0].outermost:
        return ()
    definition, source = found[0].statement, use.span.source
    same_file = (s for s in statements if s.span.source is source)
    users = [s for s in same_file if s.span.start <= use.span.start < s.span.end]
    if not users or definition.span.start < use.span.end:
        return ()
    needed = [
        part for part in syntax.parts(definition, _OWN_NAMES) if isinstance(part, syntax.Name)
    ]
    if not isinstance(definition, syntax.Input) and any(name.id not in known for name in needed):
        return ()  # an input may also name sizes that it leaves open
    first, last = definition.span.line, source.position(definition.span.end)[0]
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    text = f"statements run from top to bottom: move {lines} above line {users[0].span.line}"
    return (Hint(text),)
