"""Kinds of values that a training option takes: from a command line's text and from a recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from netspec.diagnostics import suggest


class Kind(Protocol):
    """What values an option takes."""

    @property
    def metavar(self) -> str:
        """What a usage line shows for the value."""
        ...

    def describe(self) -> str:
        """What a value must be, in words."""
        ...

    def problem(self, value: Any) -> tuple[str, str | None] | None:
        """Why a value cannot be taken, with a suggestion; None for one that can."""
        ...

    def from_text(self, text: str) -> Any:
        """The value that was typed.

        Raises:
            ValueError: it is none.
        """
        ...


@dataclass(frozen=True)
class Whole:
    """A whole number of at least `least`."""

    least: int = 0
    metavar: str = "N"

    def describe(self) -> str:
        """See `Kind`."""
        return f"a whole number of at least {self.least}"

    def problem(self, value: Any) -> tuple[str, str | None] | None:
        """See `Kind`."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and value >= self.least else (f"not {_shown(value)}", None)

    def from_text(self, text: str) -> int:
        """See `Kind`."""
        return int(text)


@dataclass(frozen=True)
class Number:
    """A finite number; its bounds are checked by what uses it."""

    metavar: str = "R"

    def describe(self) -> str:
        """See `Kind`."""
        return "a number"

    def problem(self, value: Any) -> tuple[str, str | None] | None:
        """See `Kind`."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if number and math.isfinite(value) else (f"not {_shown(value)}", None)

    def from_text(self, text: str) -> float:
        """See `Kind`."""
        return float(text)


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]
    metavar: str = "NAME"

    def describe(self) -> str:
        """See `Kind`."""
        return f"one of {', '.join(self.words)}"

    def problem(self, value: Any) -> tuple[str, str | None] | None:
        """See `Kind`."""
        if value in self.words:
            return None
        meant = suggest(value, self.words) if isinstance(value, str) else None
        return f"not {_shown(value)}", f"did you mean `{meant}`?" if meant else None

    def from_text(self, text: str) -> str:
        """See `Kind`."""
        return text


@dataclass(frozen=True)
class Text:
    """Any text: a name, a path."""

    metavar: str = "NAME"

    def describe(self) -> str:
        """See `Kind`."""
        return "a text"

    def problem(self, value: Any) -> tuple[str, str | None] | None:
        """See `Kind`."""
        return None if isinstance(value, str) and value else (f"not {_shown(value)}", None)

    def from_text(self, text: str) -> str:
        """See `Kind`."""
        return text


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    metavar: str = ""

    def describe(self) -> str:
        """See `Kind`."""
        return "true or false"

    def problem(self, value: Any) -> tuple[str, str | None] | None:
        """See `Kind`."""
        return None if isinstance(value, bool) else (f"not {_shown(value)}", None)

    def from_text(self, text: str) -> bool:
        """See `Kind`."""
        return {"true": True, "false": False}[text]


@dataclass(frozen=True)
class ListOf:
    """A list; on a command line with commas between its items, or one item each time."""

    item: Kind
    repeated: bool = False
    metavar: str = "LIST"

    def describe(self) -> str:
        """See `Kind`."""
        return f"a list, each item {self.item.describe()}"

    def problem(self, value: Any) -> tuple[str, str | None] | None:
        """See `Kind`."""
        if not isinstance(value, list):
            return f"not {_shown(value)}", None
        return next((wrong for v in value if (wrong := self.item.problem(v))), None)

    def from_text(self, text: str) -> list[Any]:
        """See `Kind`."""
        return [self.item.from_text(part) for part in text.split(",") if part]


def _shown(value: Any) -> str:
    """A value from a file for a message: short, on one line, the text itself in backticks."""
    text = f"`{value}`" if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."
