"""Statements that one member of a team runs, and those that all run; see `library/engine/turns.h`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from netspec.compiler.c_backend.loops import indented


def in_turns(lines: Sequence[str], shares: Callable[[str], bool]) -> list[str]:
    """Return statements of which one member runs those that do not share their loops.

    Args:
        lines: the statements, none of which declares what another one reads.
        shares: whether all members run a statement.
    """
    out: list[str] = []
    for is_shared, group in groupby(_statements(lines), lambda each: shares("\n".join(each))):
        inside = [line for statement in group for line in statement]
        out += inside if is_shared else ["ONCE {", *indented(inside), "}"]
    return out


def _statements(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yield the lines of each statement."""
    statement: list[str] = []
    depth = 0
    for line in lines:
        statement.append(line)
        depth += sum(map(line.count, "({")) - sum(map(line.count, ")}"))
        if depth == 0 and line.endswith((";", "}")):
            yield statement
            statement = []
    if statement:
        yield statement
