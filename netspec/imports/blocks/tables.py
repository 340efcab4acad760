"""Lists of counting numbers that several calls read: made once in the net, and passed to blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from netspec.compiler.ops import registry
from netspec.imports.number_lists import Counting
from netspec.imports.outline import CountingTable, Loop, Statement, Step, When
from netspec.imports.value_names import Names


class Tables:
    """The lists, by the names that they have in the net and as arguments of blocks."""

    def __init__(self, taken: Sequence[str]) -> None:
        self._names = Names({*taken, *registry()})
        self._made: dict[Counting, str] = {}

    @property
    def names(self) -> frozenset[str]:
        """The names of all."""
        return frozenset(self._made.values())

    def name(self, counting: Counting) -> str:
        """Return the name of a list."""
        if counting not in self._made:
            self._made[counting] = self._names.word("numbers")
        return self._made[counting]

    def read_by(self, statements: Sequence[Statement]) -> list[CountingTable]:
        """Return those that the net's statements name."""
        words = set(_words(statements))
        return [
            CountingTable.of(name, counting, self._names)
            for counting, name in self._made.items()
            if name in words
        ]


def _words(statements: Sequence[Statement]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, Step):
            for _, text in statement.arguments:
                yield from re.findall(r"\w+", text)
        elif isinstance(statement, When):
            yield from _words((*statement.body, *statement.otherwise))
        elif isinstance(statement, Loop):
            yield from _words(statement.body)
