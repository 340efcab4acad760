"""Python source laid out as `ruff format` would: lines of 88, brackets broken from the outside in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 88
INDENT = "    "


@dataclass(frozen=True)
class Group:
    """Items between brackets: `open` is all up to and with the opening one.

    `exploded` puts every item on a line of its own even where one line would do. `notes` are comments
    behind the items then.
    """

    open: str
    items: tuple[Doc, ...]
    close: str = ")"
    exploded: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comprehension:
    """`item for ... in ...`, between the brackets of a group."""

    item: Doc
    tail: str


Doc = str | Group | Comprehension


def call(function: str, *items: Doc) -> Doc:
    """`function(items)`."""
    return Group(f"{function}(", tuple(items))


def flat(doc: Doc) -> str:
    """All on one line."""
    if isinstance(doc, Group):
        comma = "," if doc.open.endswith("(") and _is_tuple(doc) and len(doc.items) == 1 else ""
        return doc.open + ", ".join(map(flat, doc.items)) + comma + doc.close
    if isinstance(doc, Comprehension):
        return f"{flat(doc.item)} {doc.tail}"
    return doc


def statement(doc: Doc, depth: int, *, after: str = "", note: str = "") -> list[str]:
    """The lines of a statement; `after` follows it at once, `note` is a comment on it."""
    lines = _lines(doc, INDENT * depth, after)
    if not note:
        return lines
    if len(lines) == 1 and len(lines[0]) + len(note) + 4 <= WIDTH:
        return [f"{lines[0]}  # {note}"]
    return [f"{INDENT * depth}# {note}", *lines]


def _lines(doc: Doc, indent: str, after: str) -> list[str]:
    line = indent + flat(doc) + after
    if (len(line) <= WIDTH and not _has_exploded(doc)) or isinstance(doc, str):
        return [line]
    inner = indent + INDENT
    if isinstance(doc, Comprehension):
        return [*_lines(doc.item, indent, ""), indent + doc.tail + after]
    if not doc.items:
        return [line]
    first, last = indent + doc.open, indent + doc.close + after
    only = doc.items[0]
    if isinstance(only, Comprehension):
        whole = inner + flat(only)
        fits = len(whole) <= WIDTH and not _has_exploded(only)
        return [first, *([whole] if fits else _lines(only, inner, "")), last]
    body = inner + ", ".join(map(flat, doc.items))
    if not doc.exploded and len(body) <= WIDTH and not any(map(_has_exploded, doc.items)):
        return [first, body, last]
    lines = [first]
    for at, item in enumerate(doc.items):
        part = _lines(item, inner, ",")
        note = doc.notes[at] if at < len(doc.notes) else ""
        if note and len(part[-1]) + len(note) + 4 <= WIDTH and len(part) == 1:
            part[-1] += f"  # {note}"
        elif note:
            part.insert(0, f"{inner}# {note}")
        lines += part
    return [*lines, last]


def _has_exploded(doc: Doc) -> bool:
    if isinstance(doc, Group):
        return doc.exploded or any(map(_has_exploded, doc.items))
    return isinstance(doc, Comprehension) and _has_exploded(doc.item)


def _is_tuple(doc: Group) -> bool:
    return doc.open == "("


def prefixed(prefix: str, doc: Doc) -> Doc:
    """A document with text in front, such as the target of an assignment."""
    if isinstance(doc, Group):
        return Group(prefix + doc.open, doc.items, doc.close, doc.exploded, doc.notes)
    assert isinstance(doc, str)
    return prefix + doc


def tuple_of(items: Sequence[Doc]) -> Doc:
    """`(a, b)`."""
    return Group("(", tuple(items))
