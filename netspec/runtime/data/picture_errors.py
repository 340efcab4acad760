"""What is wrong with many pictures: a cause that repeats is told once, with how many and where."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from netspec import codes
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.text.printable import printable

# So many of one cause are told one by one, and so many others are named where there are more.
_EACH, _NAMED = 3, 10


def error_of_pictures(
    found: Iterable[tuple[str, Diagnostic]], *, there_are_more: bool = False
) -> NetspecError:
    """Return the error for pictures that cannot be taken.

    Args:
        found: the name of each, and what is wrong with it; at least one.
        there_are_more: whether others were not looked at any more.
    """
    groups: dict[Hashable, list[tuple[str, Diagnostic]]] = {}
    for name, each in found:
        groups.setdefault(_cause(name, each), []).append((name, each))
    told = [each for group in groups.values() for each in _told(group)]
    if there_are_more:
        told[-1] = replace(told[-1], notes=(*told[-1].notes, "and there are more"))
    return NetspecError(told)


def _cause(name: str, each: Diagnostic) -> Hashable:
    """Return what is equal for pictures with one cause: for sizes, what helps; else the reason."""
    if each.code == codes.DATA_SHAPE:
        return each.code, each.hints
    return each.code, each.message.replace(name, "", 1)


def _told(group: Sequence[tuple[str, Diagnostic]]) -> list[Diagnostic]:
    if len(group) <= _EACH:
        return [each for _, each in group]
    (_, first), *others = group
    names = ", ".join(printable(name) for name, _ in others[:_NAMED])
    more = ", ..." if len(others) > _NAMED else ""
    note = f"and so {len(others):,} others: {names}{more}"
    return [replace(first, notes=(*first.notes, note))]
