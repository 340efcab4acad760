"""Layers that are written behind one another without the arrows that join them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netspec import codes
from netspec.compiler.ops import registry
from netspec.compiler.parse.lalr import Token
from netspec.compiler.parse.layout import token_span
from netspec.compiler.syntax import other_frameworks
from netspec.diagnostics import Diagnostic, Edit, Hint, Source, Span

_FURTHEST = 2000  # no statement of that length has commas for arrows
_LEXEME = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*|->|\w+|\n|[^\s]')
_BEHIND = re.compile(r"\s*(->|[A-Za-z_]\w*)")
# A statement that a layer on the next line may go on: one that gives or names a value, or goes on itself.
_GOES_ON = re.compile(r"[ \t]*(?:(?:output|return)\b|->|[A-Za-z_]\w*[ \t]*=[^=])")


def commas_for_arrows(source: Source, token: Token, accepted: set[str]) -> Diagnostic | None:
    """Return the diagnostic for `x -> conv(8, 3), relu`, or None."""
    if token != "," or "_NL" not in accepted:
        return None
    edits = tuple(_arrows(source, token_span(source, token).start))
    if not edits:
        return None
    return Diagnostic(
        codes.SYNTAX_UNEXPECTED_TOKEN, "layers are joined by `->`, not by `,`",
        token_span(source, token), hints=(Hint("put arrows between them", edits),),
    )  # fmt: skip


def arrow_of_the_line_above(source: Source, line_start: int, name: Span) -> Hint | None:
    """Return the hint to join a layer that begins a line to the statement above, which can go on."""
    if not _is_called(name.text):
        return None
    above = source.text[max(0, line_start - _FURTHEST) : line_start].rstrip()
    if _GOES_ON.match(above[above.rfind("\n") + 1 :]) is None:
        return None
    edit = Edit(Span(source, name.start, name.start), "-> ")
    return Hint("write `->` before it if it goes on with the line above", (edit,))


def _arrows(source: Source, start: int) -> Iterator[Edit]:
    """Yield the edits that make arrows of the commas of a statement, from a place on."""
    text, depth, before = source.text, 0, ""
    for lexeme in _LEXEME.finditer(text, start, start + _FURTHEST):
        what = lexeme.group()
        depth += (what in "([{") - (what in ")]}")
        behind = _BEHIND.match(text, lexeme.end())
        if depth < 0 or (what == "\n" and before != "," and (behind is None or behind[1] != "->")):
            return
        if depth == 0 and what == ",":
            if behind is None or not (behind[1] == "->" or _is_called(behind[1])):
                return
            is_apart = text[lexeme.end()].isspace()
            arrow = "" if behind[1] == "->" else " ->" if is_apart else " -> "
            yield Edit(Span(source, *lexeme.span()), arrow)
        if what != "\n":
            before = what


def _is_called(name: str) -> bool:
    """Whether a name is that of a layer, or nearly, or like that of a block."""
    return name[:1].isupper() or other_frameworks.layer_meant(name, list(registry())) is not None
