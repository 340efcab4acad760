"""Tables as lines of text, within the width of a terminal where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from netspec.text.width import columns_of

_GAP = "  "
_DOTS = "..."


def end_cut(text: str, width: int) -> str:
    """The start of a text that is too long, with dots for the rest."""
    return _taken(text, width - len(_DOTS)) + _DOTS


def middle_cut(text: str, width: int) -> str:
    """Both ends of a text that is too long, such as a label of which both ends tell it apart."""
    room = width - len(_DOTS)
    end = _taken(text[::-1], room - room // 2)[::-1]
    return f"{_taken(text, room // 2)}{_DOTS}{end}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: above it.
        left: whether its cells begin at its left edge; numbers end at its right edge.
        least: terminal columns that it may be narrowed to; None for one that is never cut. Numbers
            are not, names are.
        cut: what makes a cell as narrow as that.
    """

    title: str
    left: bool = False
    least: int | None = None
    cut: Callable[[str, int], str] = end_cut


def text_column(title: str, least: int | None = None) -> Column:
    """A column of words."""
    return Column(title, left=True, least=least)


def name_column(title: str, least: int = 12) -> Column:
    """A column of names, which are cut in the middle."""
    return Column(title, left=True, least=least, cut=middle_cut)


def table_lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    total: Sequence[str] | None = None,
    titled: bool = True,
    width: int | None = None,
) -> Iterator[str]:
    """The lines of a table: titles, a rule, rows, and what they add up to below a second rule.

    Args:
        columns: of the table.
        rows: a cell for each column.
        total: the last row.
        titled: whether titles and rules are shown; without, these are rows below each other.
        width: terminal columns to keep to, as far as columns that may be narrowed allow; None for
            a table as wide as its cells are.
    """
    head = [column.title for column in columns]
    every = [head, *rows, *([total] if total is not None else [])]
    widths = [max(map(columns_of, cells)) for cells in zip(*every, strict=True)]
    if width is not None:
        widths = _narrowed(widths, columns, width - len(_GAP) * (len(columns) - 1))
    line = "-" * (sum(widths) + len(_GAP) * (len(columns) - 1))
    if titled:
        yield _line(columns, head, widths)
        yield line
    for row in rows:
        yield _line(columns, row, widths)
    if total is not None:
        yield line
        yield _line(columns, total, widths)


def _narrowed(widths: Sequence[int], columns: Sequence[Column], room: int) -> list[int]:
    """Widths that fit, taken from the widest of the columns that have some to give."""
    found = list(widths)
    while sum(found) > room:
        spare = [
            i
            for i, column in enumerate(columns)
            if column.least is not None and found[i] > max(column.least, len(_DOTS) + 1)
        ]
        if not spare:
            break
        found[max(spare, key=found.__getitem__)] -= 1
    return found


def _line(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> str:
    cells = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        shown = cell if columns_of(cell) <= width else column.cut(cell, width)
        space = " " * (width - columns_of(shown))
        cells.append(shown + space if column.left else space + shown)
    return _GAP.join(cells).rstrip()


def _taken(text: str, width: int) -> str:
    """So much of the start of a text as fits."""
    while columns_of(text) > width:
        text = text[: min(len(text) - 1, max(0, width))]
    return text
