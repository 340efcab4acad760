"""What is left of a text with syntax errors: its sound definitions, each at its own place.

All else is blank, so that every offset is that of the text itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace

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
    starts = [0, *(token.start for i, token in enumerate(tokens) if _is_first(tokens, i))]

    def at(offset: int) -> int:
        """Return the place of the definition that an offset is in."""
        return bisect_right(starts, offset) - 1

    defined: dict[int, list[str]] = {}
    for head in heads(tokens):
        defined.setdefault(at(tokens[head.start].start), []).append(head.name)
    named: dict[str, set[int]] = {}
    for token in tokens:
        if token.kind == "name":
            named.setdefault(token.text, set()).add(at(token.start))
    places = (error.span.start for error in errors if error.span is not None)
    broken = list(dict.fromkeys(at(place) for place in places if place < len(text)))
    seen = set(broken)
    for one in broken:  # which grows while it is walked
        for name in defined.get(one, ()):
            found = named.pop(name, set()) - seen
            seen |= found
            broken += found
    ends = [*starts[1:], len(text)]
    return _blank(text, ((starts[one], ends[one]) for one in broken))


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


def _blank(text: str, ranges: Iterable[Range]) -> str:
    parts, at = [], 0
    for start, end in sorted(ranges):
        parts += [text[at:start], _NO_BREAK.sub(" ", text[max(start, at) : end])]
        at = max(at, end)
    return "".join([*parts, text[at:]])
