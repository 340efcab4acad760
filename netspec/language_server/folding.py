"""What can be folded: bodies, brackets over several lines, comments above each other, imports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from netspec.language_server.analysis import Analysis
from netspec.language_server.positions import Lines
from netspec.language_server.tokens import CLOSING, Token


@dataclass(frozen=True, slots=True)
class Fold:
    """Lines that can be folded, from the first, which stays, to the last, both from 0."""

    first: int
    last: int
    kind: Literal["region", "comment", "imports"] = "region"


def folds(analysis: Analysis) -> list[Fold]:
    """Return what can be folded, in order; each line begins one fold at most."""
    lines = Lines(analysis.text)
    found: dict[int, Fold] = {}
    for fold in (*_brackets(analysis.tokens, lines), *_runs(analysis.tokens, lines)):
        if fold.last > fold.first:
            earlier = found.get(fold.first)
            if earlier is None or earlier.last < fold.last:
                found[fold.first] = fold
    return [found[first] for first in sorted(found)]


def _brackets(tokens: list[Token], lines: Lines) -> Iterator[Fold]:
    """Yield the folds of brackets; the line of the closing one stays."""
    opened: list[Token] = []
    for token in tokens:
        if token.kind != "bracket":
            continue
        if token.text in CLOSING:
            opened.append(token)
            continue
        while opened:
            start = opened.pop()
            if CLOSING[start.text] == token.text:
                yield Fold(lines.line_of(start.start), lines.line_of(token.start) - 1)
                break


def _runs(tokens: list[Token], lines: Lines) -> Iterator[Fold]:
    """Yield the folds of comments alone on their lines, and of imports, that follow each other."""
    alone = [t for i, t in enumerate(tokens) if i == 0 or tokens[i - 1].kind == "line"]
    kinds = {lines.line_of(t.start): _kind(t) for t in alone}
    first = 0
    for line, kind in kinds.items():
        if kind is not None and kinds.get(line - 1) != kind:
            first = line
        if kind is not None and kinds.get(line + 1) != kind:
            yield Fold(first, line, kind)


def _kind(token: Token) -> Literal["comment", "imports"] | None:
    if token.kind == "comment":
        return "comment"
    return "imports" if token.text in ("from", "use") else None
