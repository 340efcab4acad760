"""Tables of what runs have reached: in a terminal, in Markdown and in LaTeX, the best in bold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from netspec import codes
from netspec.diagnostics import NetspecError, suggest
from netspec.text.table import Column, latex_lines, markdown_lines, table_lines
from netspec.text.width import terminal_width

TABLE_FORMATS = ("table", "md", "latex")
_LARGEST, _LEAST = ("val", "test", "train", "val_macro_f1"), ("perplexity", "val_loss", "loss")


@dataclass(frozen=True)
class ResultsTable:
    """A table of results.

    Attributes:
        columns: its columns; the first, that of numbers or titles of rows, is always shown.
        rows: a cell for each column.
        measured: the numbers that cells show, by column and row; None for a cell without one.
        on_demand: the titles of columns that are shown only where they are named.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    measured: Mapping[str, Sequence[float | None]]
    on_demand: Collection[str] = ()

    @property
    def names(self) -> list[str]:
        """The titles of the columns that may be chosen."""
        return [column.title for column in self.columns[1:]]

    def chosen(self, names: Sequence[str] | None) -> ResultsTable:
        """Return the table with some columns, in the order of their names; None for all but those that
        are shown on demand.
        """
        if names is None:
            names = [name for name in self.names if name not in self.on_demand]
        titles = [column.title for column in self.columns]
        at = [0, *(titles.index(name) for name in names if name in titles[1:])]
        return ResultsTable(
            [self.columns[i] for i in at],
            [[row[i] for i in at] for row in self.rows],
            self.measured,
        )

    def text(self, form: str) -> str:
        """Return the table in one of `TABLE_FORMATS`.

        Descriptions of runs and choices may be shortened to fit the terminal, but never results.
        """
        if form == "table":
            return "\n".join(table_lines(self.columns, self.rows, width=terminal_width()))
        lines = latex_lines if form == "latex" else markdown_lines
        return "\n".join(lines(self.columns, self.rows, self._best()))

    def _best(self) -> set[tuple[int, int]]:
        """Return the cells with the best number of their columns, if rows differ in it."""
        found = set()
        for j, column in enumerate(self.columns):
            numbers = self.measured.get(column.title, ())
            known = {n for n in numbers if n is not None}
            if len(known) < 2 or column.title not in (*_LARGEST, *_LEAST):
                continue
            best = max(known) if column.title in _LARGEST else min(known)
            found |= {(i, j) for i, number in enumerate(numbers) if number == best}
        return found


def chosen_names(text: str | None, tables: Sequence[ResultsTable]) -> list[str] | None:
    """Return the names of columns in the text of `--columns`.

    Raises:
        NetspecError: `usage/column` for a name that no table has.
    """
    if text is None:
        return None
    known = list(dict.fromkeys(name for table in tables for name in table.names))
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in known:
            meant = suggest(name, known)
            raise NetspecError.simple(
                codes.USAGE_COLUMN, f"there is no column `{name}`",
                f"did you mean `{meant}`?" if meant else f"the columns are {', '.join(known)}",
            )  # fmt: skip
    return names
