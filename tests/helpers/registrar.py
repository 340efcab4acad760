"""Decorators that enter functions in a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Entry = TypeVar("Entry")


def registrar(table: dict[str, Entry]) -> Callable[..., Callable[[Entry], Entry]]:
    """Return a decorator that enters what it decorates under each of its names."""

    def entered_as(*names: str) -> Callable[[Entry], Entry]:
        def enter(entry: Entry) -> Entry:
            table.update(dict.fromkeys(names, entry))
            return entry

        return enter

    return entered_as
