"""The kind of each word, for editors that colour by it: what a grammar alone cannot tell."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from netspec.highlight.words import words
from netspec.language_server.analysis import Analysis
from netspec.language_server.callables import callables
from netspec.language_server.heads import Head, heads, names_before
from netspec.language_server.tokens import Token

# The types of the protocol that are used, in the order that their numbers follow.
TYPES = (
    "keyword", "operator", "comment", "string", "number", "class", "function", "parameter",
    "variable", "property", "label",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Coloured:
    """A range of a text, on one line, and the type of what is there."""

    start: int
    end: int
    type: str


def coloured(analysis: Analysis) -> list[Coloured]:
    """Return the words of a text with their types, in order."""
    return list(_Colours(analysis).all())


class _Colours:
    def __init__(self, analysis: Analysis) -> None:
        self.found = analysis.tokens
        self.known = callables(analysis)
        known = words()
        self.words = {*known.keywords, *known.operators, *known.constants}
        self.declared = known.declared
        found = heads(self.found)
        self.starts = [head.start for head in found]
        self.bodies = [self._names(head, end) for head, end in _with_ends(found, self.found)]

    def _names(self, head: Head, end: int) -> tuple[set[str], set[str], int]:
        given = {each.partition(" ")[0] for each in head.parameters}
        return given, set(names_before(self.found, head, end)), end

    def all(self) -> Iterator[Coloured]:
        in_label = False
        for i, token in enumerate(self.found):
            if token.text == "->":
                in_label = self._has_label(i)
            elif token.text == ":" or token.kind == "line":
                in_label = False
            type_ = (
                "label" if in_label and token.kind in ("name", "number") else self._type(i, token)
            )
            if type_ is not None:
                yield Coloured(token.start, token.end, type_)

    def _has_label(self, arrow: int) -> bool:
        for token in self.found[arrow + 1 : arrow + 60]:
            if token.text == ":":
                return True
            if token.kind == "line" or token.text in ("(", ")", "->", "=", ","):
                return False
        return False

    def _type(self, i: int, token: Token) -> str | None:
        if token.kind in ("comment", "string", "number"):
            return token.kind
        if token.kind == "operator":
            return "operator" if token.text not in (",", ":", ".") else None
        return self._of_name(i, token) if token.kind == "name" else None

    def _of_name(self, i: int, token: Token) -> str | None:
        before = self.found[i - 1].text if i else "\n"
        following = [t.text for t in self.found[i + 1 : i + 3]]
        if before == ".":
            return "property"
        if token.text in self.words:
            return "keyword"
        if token.text in self.declared and before in ("\n", "{") and len(following) == 2:
            return "keyword" if following[1] == ":" else self._bound(i, token)
        if before in ("net", "block"):
            return "class"
        if following[:1] == ["="] and self._in_round(i):
            return "parameter"
        called = self.known.get(token.text)
        if called is not None and (before in ("->", ":") or following[:1] == ["("]):
            return "class" if called.kind == "block" else "function"
        return self._bound(i, token)

    def _bound(self, i: int, token: Token) -> str | None:
        at = bisect_right(self.starts, i) - 1
        if at >= 0 and i < self.bodies[at][2]:
            given, names, _ = self.bodies[at]
            if token.text in given:
                return "parameter"
            return "variable" if token.text in names else None
        return "class" if token.text in self.known else None

    def _in_round(self, i: int) -> bool:
        before = self.found[i - 1].text
        return before in ("(", ",") or (before == "\n" and self.found[i - 2].text in ("(", ","))


def _with_ends(found: list[Head], tokens: list[Token]) -> Iterator[tuple[Head, int]]:
    ends = [*(head.start for head in found[1:]), len(tokens)]
    return zip(found, ends, strict=False)
