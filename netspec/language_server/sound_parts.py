"""What is left of a text with syntax errors: its sound definitions, each at its own place.

All else is blank, so that every offset is that of the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from netspec.diagnostics import Diagnostic, Edit, Hint, Label, Source, Span
from netspec.language_server.heads import heads
from netspec.language_server.tokens import Token

_NO_BREAK = re.compile(r"[^\n]")
_FIRST_WORDS = ("net", "block", "inline", "scan", "from", "use", "language")

# The range [start, end) of a text.
Range = tuple[int, int]


def without_lines(text: str, errors: Iterable[Diagnostic]) -> str:
    """Return a text without the lines that errors are about."""
    ranges = []
    for span in (error.span for error in errors):
        if span is not None:
            end = text.find("\n", span.end)
            ranges.append((text.rfind("\n", 0, span.start) + 1, len(text) if end < 0 else end))
    return _blank(text, ranges)


def sound_definitions(text: str, tokens: Sequence[Token], errors: Iterable[Diagnostic]) -> str:
    """Return a text without the definitions that errors are about, and without those that name one of
    these: what is said of them would be wrong.
    """
    starts = [token.start for i, token in enumerate(tokens) if _is_first(tokens, i)]
    ranges = list(pairwise([0, *starts, len(text)]))
    names = {tokens[head.start].start: head.name for head in heads(tokens)}
    places = [error.span.start for error in errors if error.span is not None]
    broken = [r for r in ranges if any(r[0] <= at < max(r[1], r[0] + 1) for at in places)]
    for one in broken:
        inside = [name for at, name in names.items() if one[0] <= at < one[1] and name]
        for other in ranges:
            if other not in broken and any(_names(text, other, name) for name in inside):
                broken.append(other)
    return _blank(text, broken)


def moved(diagnostic: Diagnostic, source: Source, to: Source) -> Diagnostic:
    """Return a diagnostic of what is left of a text as one of the text itself."""

    def span(old: Span) -> Span:
        return Span(to, old.start, old.end) if old.source is source else old

    def hint(old: Hint) -> Hint:
        return replace(old, edits=tuple(Edit(span(e.span), e.replacement) for e in old.edits))

    return replace(
        diagnostic,
        span=diagnostic.span and span(diagnostic.span),
        secondary=tuple(Label(span(each.span), each.text) for each in diagnostic.secondary),
        hints=tuple(map(hint, diagnostic.hints)),
        trace=tuple(replace(f, call=f.call and span(f.call)) for f in diagnostic.trace),
    )


def _is_first(tokens: Sequence[Token], i: int) -> bool:
    """Whether a token begins a definition: one of these words at the start of a line."""
    begins = i == 0 or tokens[i - 1].kind == "line"
    return begins and tokens[i].text in _FIRST_WORDS and _is_definition(tokens[i + 1 : i + 2])


def _is_definition(following: Sequence[Token]) -> bool:
    return not following or following[0].kind in ("name", "string", "number", "line")


def _names(text: str, where: Range, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text[where[0] : where[1]]) is not None


def _blank(text: str, ranges: Iterable[Range]) -> str:
    for start, end in ranges:
        text = text[:start] + _NO_BREAK.sub(" ", text[start:end]) + text[end:]
    return text
