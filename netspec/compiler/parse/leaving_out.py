"""Chooses the part of a text to skip around an error that no small repair mends.

Its braces are kept.
"""

from __future__ import annotations

import re

from netspec.compiler.parse.layout import TooDeepError
from netspec.compiler.parse.reading import Reading, Repair
from netspec.compiler.parse.recognizer import Configuration
from netspec.diagnostics import Diagnostic

CONTINUES = re.compile(r"[ \t]*(?:->|[-+*/%<>=!])")
_DEFINITION = re.compile(r"^(?:net|(?:(?:inline|scan)[ \t]+)?block|from|language)\b", re.MULTILINE)
_BODY = re.compile(r"^[ \t]*(?:net|(?:(?:inline|scan)[ \t]+)?block)\b", re.MULTILINE)
_NO_CODE = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*')
# The tokens that replace a line which opens a body, so that the body's `}` still closes something.
_OPENER = ("IF", "INT", "LBRACE")


class LeavingOut:
    """Finds what to skip in a reading."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def statement(self, diagnostic: Diagnostic) -> Repair | None:
        """Return the repair that skips the statement of an error.

        If the error is in one line of a chain and the lines around it fit together, only that line
        is skipped. If the braces of the statement cannot be kept balanced, the whole definition is
        skipped.

        The result is None if nothing would be left to read.
        """
        text = self.reading.source.text
        if _BODY.search(text) is None:
            return None  # without a net or block nothing more can be reported
        place = self._place(diagnostic)
        start, end = _line_of(text, place)
        if diagnostic.span is not None:
            end = max(end, _line_of(text, min(diagnostic.span.end, len(text)))[1])
        if text[start:end].lstrip().startswith("->"):
            line_of_chain = self._without(start, end, ())
            if line_of_chain is not None and self._goes_on(line_of_chain):
                return line_of_chain
        while start > 0 and CONTINUES.match(text, start):
            start = _line_of(text, start - 1)[0]
        while end < len(text) and CONTINUES.match(text, end + 1):
            end = _line_of(text, end + 1)[1]
        line = text[start:end]
        words = _instead(line)
        top_level = not line[:1].isspace()
        found = None if top_level or words is None else self._without(start, end, words)
        return found or self.definition(diagnostic)

    def definition(self, diagnostic: Diagnostic) -> Repair | None:
        """Return the repair that skips the net, block or import of an error.

        It is None if what precedes the definition was not read to its end.
        """
        place, text = self._place(diagnostic), self.reading.source.text
        starts = [match.start() for match in _DEFINITION.finditer(text)]
        start = max((s for s in starts if s <= place), default=0)
        # Text before the first definition belongs to none: it is skipped up to the first one.
        end = min((s for s in starts if s > place), default=len(text))
        before = self.reading.before
        first = self.reading.number_of(start)
        if first >= len(before) or before[first].open is not None:
            return None
        return self._without(start, end, ())

    def _goes_on(self, repair: Repair) -> bool:
        """Whether the token after the skipped part can follow what precedes it."""
        reading = self.reading
        following = reading.tokens[repair.at + repair.left_out]
        try:
            return reading.recognizer.step(reading.before[repair.at], following) is not None
        except TooDeepError:
            return False

    def _place(self, diagnostic: Diagnostic) -> int:
        start = diagnostic.span.start if diagnostic.span is not None else 0
        return max(0, min(start, len(self.reading.source.text) - 1))

    def _without(self, start: int, end: int, words: tuple[str, ...]) -> Repair | None:
        """Return the repair that replaces all tokens of a range by words; None if those cannot
        stand there.
        """
        reading = self.reading
        first, last = reading.number_of(start), reading.number_of(end)
        if first >= len(reading.before) or last <= first:
            return None
        now: Configuration | None = reading.before[first]
        if now is not None and now.in_brackets:
            words = (*reading.closers(now), "_NL", *words)
        repair = Repair(first, last - first, words)
        try:
            for token in reading.put_in(repair):
                now = None if now is None else reading.recognizer.step(now, token)
        except TooDeepError:
            return None
        return None if now is None else repair


def _line_of(text: str, at: int) -> tuple[int, int]:
    """Return the start of the line at a place, and its end without the line break."""
    end = text.find("\n", at)
    return text.rfind("\n", 0, at) + 1, len(text) if end < 0 else end


def _instead(line: str) -> tuple[str, ...] | None:
    """Return tokens that only balance the braces of a line, or None if there are none for it."""
    code = _NO_CODE.sub("", line)
    net = code.count("{") - code.count("}")
    closes_first = code.lstrip().startswith("}")
    return {
        (0, False): (), (1, False): _OPENER, (0, True): ("RBRACE", "_NL", *_OPENER),
        (-1, True): ("RBRACE",), (-1, False): ("RBRACE",),
    }.get((net, closes_first))  # fmt: skip
