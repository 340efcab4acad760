"""What is selected around a place, each time more: a word, what is in its brackets, these, its line."""

from __future__ import annotations

from collections.abc import Iterator

from netspec.language_server.analysis import Analysis
from netspec.language_server.tokens import CLOSING, Token

Range = tuple[int, int]


def selections(analysis: Analysis, offset: int) -> list[Range]:
    """Return ranges around an offset, from the smallest to the whole text, each in the next one."""
    text = analysis.text
    found: list[Range] = []
    for start, end in sorted(_around(text, analysis.tokens, offset), key=lambda r: r[1] - r[0]):
        last = found[-1] if found else None
        if last is None or (start <= last[0] and last[1] <= end and (start, end) != last):
            found.append((start, end))
    return found


def _around(text: str, tokens: list[Token], offset: int) -> Iterator[Range]:
    yield 0, len(text)
    opened: list[Token] = []
    for token in tokens:
        if token.kind not in ("line", "bracket") and token.start <= offset <= token.end:
            yield token.start, token.end
        if token.kind != "bracket":
            continue
        if token.text in CLOSING:
            opened.append(token)
        elif opened and CLOSING[opened[-1].text] == token.text:
            first = opened.pop()
            if first.start <= offset <= token.end:
                yield first.start, token.end
                yield _line_start(text, first.start), token.end
            if first.end <= offset <= token.start:
                yield _without_blanks(text, first.end, token.start)
    start = _line_start(text, offset)
    end = text.find("\n", offset)
    yield _without_blanks(text, start, len(text) if end < 0 else end)


def _line_start(text: str, offset: int) -> int:
    """Return where what is written on a line begins."""
    start = text.rfind("\n", 0, offset) + 1
    return start + len(text[start:offset]) - len(text[start:offset].lstrip())


def _without_blanks(text: str, start: int, end: int) -> Range:
    inside = text[start:end]
    if not inside.strip():
        return start, end
    left = len(inside) - len(inside.lstrip())
    return start + left, start + len(inside.rstrip())
