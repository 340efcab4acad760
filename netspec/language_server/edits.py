"""Changes of a text as an editor tells them: what stands between two places is replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netspec.language_server.positions import LINE_END, characters

# A line and a column, as the protocol counts them.
Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TextChange:
    """New text for what stands between two places; for the whole text, if there are none."""

    text: str
    between: tuple[Position, Position] | None = None


def changed(text: str, changes: Iterable[TextChange], encoding: str = "utf-16") -> str:
    """Return a text after changes, each of which is told in places of the text after the one before.

    Args:
        text: the text.
        changes: the changes. A place outside the text counts as the nearest inside it.
        encoding: whose units the columns count.
    """
    rows = _rows(text)
    for change in changes:
        if change.between is None:
            rows = _rows(change.text)
        else:
            _replace(rows, *change.between, change.text, encoding)
    return "".join(rows)


def _rows(text: str) -> list[str]:
    """Return the lines of a text, each with its end; the last has none."""
    rows, start = [], 0
    for end in LINE_END.finditer(text):
        rows.append(text[start : end.end()])
        start = end.end()
    return [*rows, text[start:]]


def _replace(rows: list[str], start: Position, end: Position, text: str, encoding: str) -> None:
    (first, left), (last, right) = sorted(_place(rows, each, encoding) for each in (start, end))
    piece = rows[first][:left] + text + rows[last][right:]
    if first and rows[first - 1].endswith("\r") and piece.startswith("\n"):
        first, piece = first - 1, rows[first - 1] + piece  # the two are one end of a line now
    made = _rows(piece)
    if last + 1 < len(rows):
        made.pop()  # a piece that ends a line ends in no new one
    rows[first : last + 1] = made


def _place(rows: list[str], position: Position, encoding: str) -> tuple[int, int]:
    """Return a line, and how many of its characters are before a place."""
    line, column = position
    if line < 0:
        return 0, 0
    if line >= len(rows):
        return len(rows) - 1, len(rows[-1])
    return line, characters(rows[line].rstrip("\r\n"), column, encoding)
