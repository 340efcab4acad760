"""The tokens of a text, also of one that does not parse: whatever the text, none of it is lost."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["comment", "string", "number", "name", "operator", "bracket", "line", "other"]

_TOKEN = re.compile(
    r"""
      (?P<comment> \#[^\n]*)
    | (?P<string> "(?:[^"\\\n]|\\[^\n])*(?:"|(?=\n)|\\?\Z))
    | (?P<number> [0-9][0-9_]*(?:\.[0-9_]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)?)
    | (?P<name> [A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator> -> | \*\* | // | [-+*/%<>=!]=? | [,:.])
    | (?P<bracket> [()\[\]{}])
    | (?P<line> \n)
    | (?P<blank> [ \t\f\r]+)
    | (?P<other> .)
    """,
    re.VERBOSE | re.DOTALL,
)
CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a text that is no blank."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """The offset behind its last character."""
        return self.start + len(self.text)


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text; the ends of lines are among them."""
    return [
        Token(match.lastgroup, match[0], match.start())  # type: ignore[arg-type]
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "blank"
    ]


def before(found: Sequence[Token], offset: int) -> int:
    """Return how many tokens start before an offset."""
    return bisect_left(found, offset, key=lambda token: token.start)


def opening(found: Sequence[Token], at: int) -> int | None:
    """Return the index of the innermost bracket that is open before the token `at`, or None.

    In a text that is being written some brackets have no partner: a `{` counts as open even if
    round brackets before it were never opened, and other brackets without a partner do not count.
    """
    closed: list[str] = []
    for i in range(at - 1, -1, -1):
        token = found[i]
        if token.kind != "bracket":
            continue
        if token.text not in CLOSING:
            closed.append(token.text)
        elif not closed:
            return i
        elif closed[-1] == CLOSING[token.text]:
            closed.pop()
        elif token.text == "{":
            while closed and closed[-1] != "}":
                closed.pop()
            if not closed:
                return i
            closed.pop()
    return None


def follows_arrow(found: Sequence[Token], at: int) -> bool:
    """Whether the token `at` must be a layer: it is behind `->`, or behind `-> label:`."""
    i = at - 1
    while i >= 0 and found[i].kind == "line":
        i -= 1
    if i >= 0 and found[i].text == "->":
        return True
    if i < 0 or found[i].text != ":":
        return False
    for token in reversed(found[max(0, i - 40) : i]):
        if token.text == "->":
            return True
        if token.kind in ("line", "comment") or token.text in ("(", ")", "=", "[", "]"):
            return False
    return False
