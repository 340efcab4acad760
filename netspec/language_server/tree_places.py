"""What stands at a place of a text, in the tree of the last text that could be parsed."""

from __future__ import annotations

from typing import Any

from netspec.compiler.syntax import tree as syntax


def path_to(tree: syntax.File | None, offset: int) -> list[Any]:
    """Return the nodes of a tree that an offset lies in, the innermost last.

    An offset between two nodes belongs to the later one, or to the earlier one if nothing begins
    there.
    """
    path: list[Any] = []
    inside: Any = tree.definitions if tree is not None else ()
    while (found := _child(inside, offset)) is not None:
        path.append(found)
        inside = tuple(getattr(found, slot) for slot in found.__slots__)
    return path


def _child(fields: Any, offset: int) -> Any:
    touched = [item for item in _nodes(fields) if item.span.start <= offset <= item.span.end]
    inside = [item for item in touched if offset < item.span.end]
    return min(inside or touched, key=lambda item: item.span.end - item.span.start, default=None)


def _nodes(fields: Any) -> list[Any]:
    found, stack = [], [fields]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(reversed(item))
        elif type(item).__module__ == syntax.__name__:
            found.append(item)
    return found
