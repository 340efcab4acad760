"""What an error stands in is left out, where no small repair leads on; the braces in it stay."""

from __future__ import annotations

import re

from netspec.compiler.parse.layout import TooDeepError
from netspec.compiler.parse.reading import Reading, Repair
from netspec.compiler.parse.recognizer import Configuration
from netspec.diagnostics import Diagnostic

CONTINUES = re.compile(r"[ \t]*(?:->|[-+*/%<>=!])")
_DEFINITION = re.compile(r"^(?:net|block|from|language)\b", re.MULTILINE)
_BODY = re.compile(r"^[ \t]*(?:net|block)\b", re.MULTILINE)
_NO_CODE = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*')
# What stands for a line that opens a body, so that its `}` still closes something.
_OPENER = ("IF", "INT", "LBRACE")


class LeavingOut:
    """Says what to leave out of a reading."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def statement(self, diagnostic: Diagnostic) -> Repair | None:
        """Without the statement of an error, or its line of a chain, if the lines around it fit.

        Without the whole definition where the braces of the statement ask for that.

        None where there is nothing left to be read.
        """
        text = self.reading.source.text
        if _BODY.search(text) is None:
            return None  # no net and no block: there is nothing more to say of it
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
        """Without the net, block or import of an error, if what precedes that was read to its end."""
        place, text = self._place(diagnostic), self.reading.source.text
        starts = [match.start() for match in _DEFINITION.finditer(text)]
        start = max((s for s in starts if s <= place), default=0)
        # What precedes the first definition belongs to nothing: it goes up to the next one.
        end = min((s for s in starts if s > place), default=len(text))
        before = self.reading.before
        first = self.reading.number_of(start)
        if first >= len(before) or before[first].open is not None:
            return None
        return self._without(start, end, ())

    def _goes_on(self, repair: Repair) -> bool:
        """Whether the token behind what is left out can stand there."""
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
        """Puts words in the place of all tokens of a part of the text, if they can stand there."""
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
    """The start of the line at a place, and its end without the line break."""
    end = text.find("\n", at)
    return text.rfind("\n", 0, at) + 1, len(text) if end < 0 else end


def _instead(line: str) -> tuple[str, ...] | None:
    """What does nothing but balance the braces of a line, or None."""
    code = _NO_CODE.sub("", line)
    net = code.count("{") - code.count("}")
    closes_first = code.lstrip().startswith("}")
    return {
        (0, False): (), (1, False): _OPENER, (0, True): ("RBRACE", "_NL", *_OPENER),
        (-1, True): ("RBRACE",), (-1, False): ("RBRACE",),
    }.get((net, closes_first))  # fmt: skip
