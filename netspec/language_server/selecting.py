"""What is selected around a place, each time more: a word, what is in its brackets, these, its line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice

from netspec.compiler.parse.layout import MAX_NESTING
from netspec.language_server.analysis import Analysis
from netspec.language_server.tokens import CLOSING, Token

Range = tuple[int, int]


def selections(analysis: Analysis, offsets: Iterable[int]) -> list[list[Range]]:
    """Return for each offset the ranges around it, from the smallest to the whole text, each in the
    next one.
    """
    text, words = analysis.text, _Words(analysis.tokens)
    return [_nested([(0, len(text)), *words.around(o), _line(text, o)]) for o in offsets]


def _nested(ranges: Iterable[Range]) -> list[Range]:
    """Return the shortest range with those that hold it, in order."""
    found: list[Range] = []
    for start, end in sorted(ranges, key=lambda r: r[1] - r[0]):
        last = found[-1] if found else None
        if last is None or (start <= last[0] and last[1] <= end and (start, end) != last):
            found.append((start, end))
    return found


class _Words:
    """The words of a text, with their brackets as a tree: it is made once for all places.

    Brackets without a partner count as other words.
    """

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._words: list[Token] = []
        self._starts: list[int] = []
        self._lines: list[int] = []  # where the line of each word begins
        self._open: list[int | None] = []  # the innermost bracket that is open before each word
        self._partners: dict[int, int] = {}
        opened: list[int] = []
        line: int | None = None
        for token in tokens:
            if token.kind == "line":
                line = None
                continue
            line = token.start if line is None else line
            self._open.append(opened[-1] if opened else None)
            self._lines.append(line)
            self._starts.append(token.start)
            self._words.append(token)
            if token.kind == "bracket":
                self._pair(opened)

    def _pair(self, opened: list[int]) -> None:
        """Take the last word, a bracket."""
        at = len(self._words) - 1
        text = self._words[at].text
        if text in CLOSING:
            opened.append(at)
        elif opened and CLOSING[self._words[opened[-1]].text] == text:
            first = opened.pop()
            self._partners[first], self._partners[at] = at, first

    def around(self, offset: int) -> Iterator[Range]:
        """Yield the words that touch an offset, the brackets around it, and what is in these."""
        behind = bisect_right(self._starts, offset)
        # An offset may be at the end of one word and at the start of the next.
        for at in range(max(0, behind - 2), behind):
            word = self._words[at]
            if word.kind != "bracket" and offset <= word.end:
                yield word.start, word.end
            # A text that can be parsed has no deeper ones.
            for first, last in islice(self._pairs(at), MAX_NESTING):
                yield from self._of_pair(first, last, offset)

    def _pairs(self, at: int) -> Iterator[tuple[int, int]]:
        """Yield the brackets that a word is in, the innermost first; a bracket is in its own."""
        first = min(at, self._partners.get(at, at))
        here: int | None = first if first in self._partners else self._open[at]
        while here is not None and here in self._partners:
            yield here, self._partners[here]
            here = self._open[here]

    def _of_pair(self, first: int, last: int, offset: int) -> Iterator[Range]:
        start, end = self._words[first], self._words[last]
        if start.start <= offset <= end.end:
            yield start.start, end.end
            yield self._lines[first], end.end
        if start.end <= offset <= end.start and last == first + 1:
            yield start.end, end.start
        elif start.end <= offset <= end.start:
            yield self._words[first + 1].start, _end(self._words[last - 1])


def _end(word: Token) -> int:
    """Return the offset behind a word; blanks at the end of a comment are no part of it."""
    return word.start + len(word.text.rstrip())


def _line(text: str, offset: int) -> Range:
    """Return what is written on the line of an offset; of a blank line what is behind the offset."""
    start, end = text.rfind("\n", 0, offset) + 1, text.find("\n", offset)
    row = text[start : end if end >= 0 else len(text)]
    if not row.strip():
        return offset, start + len(row)
    return start + len(row) - len(row.lstrip()), start + len(row.rstrip())
