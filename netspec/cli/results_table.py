"""Tables of what runs have reached: in a terminal, in Markdown and in LaTeX, the best in bold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from netspec import codes
from netspec.diagnostics import NetspecError, suggest
from netspec.text.table import Column, latex_lines, markdown_lines, table_lines
from netspec.text.width import terminal_width

TABLE_FORMATS = ("table", "md", "latex")
_LARGEST = ("val", "test", "train", "val_macro_f1")
_LEAST = ("val_perplexity", "test_perplexity", "train_perplexity", "val_loss", "loss")
# The least width of a choice in a terminal that is too narrow.
_CHOICE = 8


@dataclass(frozen=True)
class ResultsTable:
    """A table of results.

    Attributes:
        columns: its columns.
        rows: a cell for each column.
        measured: the numbers that cells show, by column and row; None for a cell without one.
        on_demand: the titles of columns that are shown only where they are named.
        heads: how many of the first columns say what a row is: its number, and its run or its settings.
            They are always shown, since numbers of nobody knows what are of no use.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    measured: Mapping[str, Sequence[float | None]]
    on_demand: Collection[str] = ()
    heads: int = 1

    @property
    def names(self) -> list[str]:
        """The titles of the columns that may be chosen."""
        return [column.title for column in self.columns[1:]]

    def chosen(self, names: Sequence[str] | None) -> ResultsTable:
        """Return the table with some columns, in the order of their names, behind those that say what a
        row is; None for all but those that are shown on demand.
        """
        if names is None:
            names = [name for name in self.names if name not in self.on_demand]
        titles = [column.title for column in self.columns]
        named = [titles.index(name, 1) for name in names if name in titles[1:]]
        at = [*(i for i in range(self.heads) if i not in named), *named]
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


def choice_column(title: str, cells: Sequence[str]) -> Column:
    """Return the column of a setting: numbers are aligned right."""
    return Column(title, left=not all(map(_is_number, cells)), least=_CHOICE)


def setting_titles(names: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Return titles of settings, by their names, of which none is that of another column: `loss` is a
    measure, and what is minimized is the `setting loss`.
    """
    return {name: f"setting {name}" if name in taken else name for name in names}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == "-"
    return True


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
