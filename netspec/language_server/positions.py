"""Places in a text as the protocol counts them: lines, and columns in UTF-16 units."""

from __future__ import annotations

import bisect
import re

LINE_END = re.compile(r"\r\n|\n|\r")
_BEHIND_RETURN = re.compile(r"(?<=\r)\r\n")
BYTE_ORDER_MARK = "\ufeff"


# The bytes of a column, by the encodings that the protocol knows.
_BYTES = {"utf-8": 1, "utf-16": 2, "utf-32": 4}


class Lines:
    """The lines of a text. Columns are counted in units of an encoding, which the editor chooses."""

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        self.text = text
        ends = list(LINE_END.finditer(text))
        self._encoding = encoding
        self._starts = [0, *(end.end() for end in ends)]
        self._ends = [*(end.start() for end in ends), len(text)]

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a place. One outside the text is moved to the nearest inside it."""
        if line < 0:
            return 0
        if line >= len(self._starts):
            return len(self.text)
        start = self._starts[line]
        return start + characters(self.text[start : self._ends[line]], column, self._encoding)

    def place(self, offset: int) -> tuple[int, int]:
        """Return the line and the column of an offset, both from 0."""
        line = self.line_of(offset)
        row = self.text[self._starts[line] : offset]
        return line, len(row) if row.isascii() else _units(row, self._encoding)

    def line_of(self, offset: int) -> int:
        """Return the line of an offset, from 0."""
        return bisect.bisect_right(self._starts, offset) - 1


def characters(row: str, column: int, encoding: str) -> int:
    """Return how many characters of a line are before a column, all of them if it has no such."""
    if row.isascii():
        return min(max(column, 0), len(row))
    units = 0
    for i, char in enumerate(row):
        if units >= column:
            return i
        units += _units(char, encoding)
    return len(row)


def _units(text: str, encoding: str) -> int:
    codec = encoding if encoding == "utf-8" else f"{encoding}-le"
    return len(text.encode(codec, "surrogatepass")) // _BYTES[encoding]


def as_compiled(text: str) -> str:
    r"""Return the text that the compiler reads in place of an editor's.

    It has `\n` in place of `\r\n`, which changes no line and no column, and a blank in place of a
    byte order mark. A blank also keeps a `\r` alone, which ends a line of its own, from that `\n`.
    """
    text = _BEHIND_RETURN.sub(" \n", text).replace("\r\n", "\n")
    return " " + text[1:] if text.startswith(BYTE_ORDER_MARK) else text


def line_break_of(text: str) -> str:
    r"""Return what ends the lines of a text, `\r\n` or `\n`: what ends its first."""
    return "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
