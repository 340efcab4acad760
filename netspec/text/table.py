"""Tables as lines of text that fit the width of the terminal, if there is one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from netspec.records import record
from netspec.text.printable import printable
from netspec.text.width import columns_of

_GAP = "  "
_DOTS = "..."


def end_cut(text: str, width: int) -> str:
    """Shorten a text that is too long to its beginning and dots."""
    return _taken(text, width - len(_DOTS)) + _DOTS


def middle_cut(text: str, width: int) -> str:
    """Shorten a text that is too long by cutting its middle, as for labels that differ at either end."""
    room = width - len(_DOTS)
    end = _taken(text[::-1], room - room // 2)[::-1]
    return f"{_taken(text, room // 2)}{_DOTS}{end}"


@record(slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: the title above it.
        left: True to align cells left; numbers are aligned right.
        least: the least width in terminal columns that it may be narrowed to; None if it is never
            narrowed, as for numbers.
        cut: the function that shortens a cell to a width.
    """

    title: str
    left: bool = False
    least: int | None = None
    cut: Callable[[str, int], str] = end_cut


def text_column(title: str, least: int | None = None) -> Column:
    """Return a column of words."""
    return Column(title, left=True, least=least)


def name_column(title: str, least: int = 12) -> Column:
    """Return a column of names, which are shortened in the middle."""
    return Column(title, left=True, least=least, cut=middle_cut)


def table_lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    total: Sequence[str] | None = None,
    titled: bool = True,
    width: int | None = None,
) -> Iterator[str]:
    """Return the lines of a table: titles, a rule, the rows, and totals below a second rule.

    Args:
        columns: the columns.
        rows: for each row, a cell for each column. Names in them may be of any origin: one with line
            ends would be read as several rows.
        total: the row of totals.
        titled: if False, titles and rules are left out.
        width: the terminal width to fit into, as far as the columns can be narrowed; None makes the
            table as wide as its cells.
    """
    head = [column.title for column in columns]
    rows = [[printable(cell) for cell in row] for row in rows]
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


Cells = Collection[tuple[int, int]]
"""Cells by their row and column, counted from 0."""


def markdown_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], bold: Cells = ()
) -> Iterator[str]:
    """Return the lines of a table in Markdown, with all of its cells; see `table_lines`."""
    yield _markdown([_escaped(column.title) for column in columns])
    yield _markdown([":--" if column.left else "--:" for column in columns])
    for i, row in enumerate(rows):
        cells = map(_escaped, row)
        yield _markdown([f"**{c}**" if (i, j) in bold else c for j, c in enumerate(cells)])


def latex_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], bold: Cells = ()
) -> Iterator[str]:
    """Return the lines of a table in LaTeX, with the rules of booktabs; see `table_lines`."""
    yield r"% needs \usepackage{booktabs}"
    yield rf"\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in columns)}}}"
    yield r"\toprule"
    yield _latex([_in_latex(column.title) for column in columns])
    yield r"\midrule"
    for i, row in enumerate(rows):
        cells = map(_in_latex, row)
        yield _latex([rf"\textbf{{{c}}}" if (i, j) in bold else c for j, c in enumerate(cells)])
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _latex(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


_LATEX = {
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
}


def _in_latex(cell: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in printable(cell))


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(cell: str) -> str:
    return printable(cell).replace("\\", r"\\").replace("|", r"\|")


def _narrowed(widths: Sequence[int], columns: Sequence[Column], room: int) -> list[int]:
    """Return column widths that fit, by narrowing the widest of the columns that may be narrowed."""
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
    """Return as much of the beginning of a text as fits."""
    while columns_of(text) > width:
        text = text[: min(len(text) - 1, max(0, width))]
    return text
