"""Lays out Python source as `ruff format` would: lines of 88, brackets broken from the outside in."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from netspec.records import record
from netspec.text import doc as layout

WIDTH = 88
INDENT = "    "


@record
class Group:
    """Items between brackets. `open` is the text up to the opening bracket, which it includes.

    `exploded` puts every item on a line of its own, even if one line would be enough. `notes` are
    then comments behind the items. `grouping` brackets hold one expression: a comma in them would
    make it a tuple.
    """

    open: str
    items: tuple[Doc, ...]
    close: str = ")"
    exploded: bool = False
    notes: tuple[str, ...] = ()
    grouping: bool = False


Doc = str | Group


def unbracketed(text: str) -> str:
    """An expression that stands alone."""
    return text[1:-1] if is_bracketed(text) else text


def is_bracketed(text: str) -> bool:
    """Whether an expression is all in one pair of round brackets."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    depth = 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return at == len(text) - 1
    return False


def split_items(text: str) -> list[str]:
    """`a, [b, c]` at the commas that no bracket holds.

    >>> split_items("a, [b, c], d(e, f)")
    ['a', '[b, c]', 'd(e, f)']
    """
    items, depth, start = [], 0, 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        depth += (token in "([{") - (token in ")]}")
        if token == "," and depth == 0:
            items.append(text[start : match.start()].strip())
            start = match.end()
    return [*items, text[start:].strip()]


def call(function: str, *items: Doc) -> Doc:
    """Return `function(items)`."""
    return Group(f"{function}(", tuple(items))


def flat(doc: Doc) -> str:
    """Return a document on one line."""
    if isinstance(doc, Group):
        comma = "," if doc.open.endswith("(") and _is_tuple(doc) and len(doc.items) == 1 else ""
        return doc.open + ", ".join(map(flat, doc.items)) + comma + doc.close
    return doc


def statement(doc: Doc, depth: int, *, after: str = "", note: str = "") -> list[str]:
    """Return the lines of a statement. `after` follows it directly, `note` is a comment on it."""
    indent = INDENT * depth
    if isinstance(doc, str) and len(indent + doc + after) > WIDTH:
        if doc.endswith(":"):
            doc, after = doc[:-1], f":{after}"
        doc = _in_brackets(doc)
    body = doc if isinstance(doc, str) else _document(doc)
    whole = layout.Group.of(indent, body, after, indent=len(indent), is_group=False)
    lines = layout.typeset(whole, WIDTH).splitlines()
    if not note:
        return lines
    if len(lines) == 1 and len(lines[0]) + len(note) + 4 <= WIDTH:
        return [f"{lines[0]}  # {note}"]
    return [f"{indent}# {note}", *lines]


def _document(doc: Doc) -> layout.Doc:
    """Return how a document breaks: brackets from the outside in, long expressions at their weakest
    operators.
    """
    if isinstance(doc, str):
        parts = [part for part in operands(doc) if part]  # an expression may begin with an operator
        if len(parts) == 1 or " ".join(parts) != doc.strip():  # breaking must not change it
            return doc
        first, *others = (_document(_bracketed(part)) for part in parts)
        broken = (item for part in others for item in (layout.Break(), part))
        return layout.Group.of(first, *broken)
    if not doc.items:
        return flat(doc)
    inner = layout.Group.of(layout.Break(""), _items(doc), indent=len(INDENT), is_group=False)
    return layout.Group.of(doc.open, inner, layout.Break(""), doc.close)


def _items(doc: Group) -> layout.Group:
    """Return what is between brackets: all on one line, or one item per line."""
    last = len(doc.items) - 1
    parts: list[layout.Doc] = []
    for at, item in enumerate(doc.items):
        note = doc.notes[at] if doc.exploded and at < len(doc.notes) else ""
        comma: layout.Doc = "," if at < last or (_is_tuple(doc) and last == 0) else _last_comma(doc)
        parts += [layout.Break()] if at else []
        parts += [_noted(item, comma, note)] if note else [_document(item), comma]
    return layout.Group.of(*parts, breaks=doc.exploded)


def _noted(item: Doc, comma: layout.Doc, note: str) -> layout.Group:
    """Return an item with a comment: behind it, or above it where there is no room."""
    place = layout.IfBroken(f"# {note}", ""), layout.Break("")
    return layout.Group.of(*place, _document(item), comma, layout.IfBroken("", f"  # {note}"))


def _last_comma(doc: Group) -> layout.Doc:
    """Return what follows the last item: a comma if each item has its own line."""
    if doc.grouping:
        return ""
    return "," if doc.exploded else layout.IfBroken(",")


def _is_tuple(doc: Group) -> bool:
    before = doc.open[:-1]
    return doc.open.endswith("(") and before[-1:] in ("", " ", "=") and not doc.grouping


def prefixed(prefix: str, doc: Doc) -> Doc:
    """Return a document with text in front, such as the target of an assignment."""
    if isinstance(doc, Group):
        return replace(doc, open=prefix + doc.open)
    assert isinstance(doc, str)
    return prefix + doc


# ------------------------------------------------------------------------- long expressions

# The operators that bind weakest are broken first.
_LEVELS = (("if", "else"), ("and", "or"), ("==", "!=", "<=", ">=", "<", ">"), ("+", "-"),
           ("*", "//", "/", "%"))  # fmt: skip
# A number with its exponent is one token. A power is never broken.
_TOKEN = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\d[\d.]*[eE][+-]?\d+|[\w.]+|\*\*|//|[=!<>]=|\S"""
)
_HEAD = re.compile(r"(?:if |elif |return |[\w., ]+ = )")


def operands(text: str) -> list[str]:
    """Split an expression before each of its weakest operators outside brackets.

    >>> operands("a * (b + c) + d - 2")
    ['a * (b + c)', '+ d', '- 2']
    >>> operands("1e-06"), operands("a ** -2"), operands("dim=-1")
    (['1e-06'], ['a ** -2'], ['dim=-1'])
    """
    found: dict[str, list[int]] = {}
    depth, before = 0, ""
    for match in _TOKEN.finditer(text):
        token = match.group()
        depth += (token in "([{") - (token in ")]}")
        sign = token in "+-" and (not before or before in _BEFORE_SIGNS)
        if depth == 0 and token in _OPERATORS and not sign:
            found.setdefault(token, []).append(match.start())
        before = token
    for level in _LEVELS:
        places = sorted(place for token in level for place in found.get(token, []))
        if places:
            ends = [0, *places, len(text)]
            return [text[a:b].strip() for a, b in itertools.pairwise(ends)]
    return [text]


_OPERATORS = frozenset(token for level in _LEVELS for token in level)
# After these a plus or minus is the sign of what follows.
_BEFORE_SIGNS = _OPERATORS | {*"([{,=:", "**", "return", "not"}


def _bracketed(part: str) -> Doc:
    """Return an operand that is wholly in brackets, with its operator, in a form that can be
    broken.
    """
    head, bracket, rest = part.partition("(")
    whole = bracket and rest.endswith(")") and (not head.strip() or head.strip() in _PREFIXES)
    if not whole or len(operands(f"({rest}")) > 1:
        return part
    return Group(f"{head}(", (rest[:-1],), grouping=True)


_PREFIXES = _OPERATORS | {f"{word} not" for word in ("and", "or")} | {"not"}


def _in_brackets(text: str) -> Doc:
    """Put the expression of a statement in brackets, so that it can be broken."""
    match = _HEAD.match(text)
    if match is None:
        return text
    head, rest = match.group(), text[match.end() :]
    if len(operands(rest)) == 1:
        whole = _bracketed(rest)
        return prefixed(head, whole) if isinstance(whole, Group) else text
    return Group(f"{head}(", (rest,), grouping=True)
