"""Types of training options: those of the language's attributes, and also text and lists.

A value is given as text on the command line, or as a TOML value in a recipe, where 3.0 is not an
integer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from netspec.compiler.ir.attributes import Bool, Choice, Int, Kind, Real, WrongValueError, show
from netspec.runtime.data.augmentations import split_calls
from netspec.runtime.data.choices import meant_by

__all__ = [
    "Bool",
    "Call",
    "Choice",
    "CountOrShare",
    "Int",
    "Kind",
    "ListOf",
    "Real",
    "TableOf",
    "Text",
    "WordOrFile",
    "WordOrList",
    "from_text",
    "is_name",
    "problem",
]


@dataclass(eq=False, repr=False)
class Text(Kind):
    """Any text: a name, a path."""

    def convert(self, value: Any) -> str:
        """Return the text; refuses an empty one, and one that cannot be a file name."""
        if not isinstance(value, str) or not value or not is_name(value):
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        return value

    def describe(self) -> str:
        """See `Kind`."""
        return "a text"


@dataclass(eq=False, repr=False)
class Call(Choice):
    """One of a few names, perhaps with arguments in parentheses, such as `mixup(0.2)`."""

    def convert(self, value: Any) -> str:
        """Return the text, whose arguments are not looked at."""
        if not isinstance(value, str):
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        super().convert(value.partition("(")[0].strip())
        return value


@dataclass(eq=False, repr=False)
class WordOrFile(Choice):
    """One of a few words, or the path of a file with a suffix such as `.json`."""

    suffix: str

    def convert(self, value: Any) -> str:
        """Return the word or the path."""
        if isinstance(value, str) and value.endswith(self.suffix) and is_name(value):
            return value
        return super().convert(value)

    def describe(self) -> str:
        """See `Kind`."""
        return f"{super().describe()}, or a {self.suffix} file"


@dataclass(eq=False, repr=False)
class WordOrList(Choice):
    """One of a few words, or a list: on a command line separated by commas."""

    item: Kind

    def convert(self, value: Any) -> Any:
        """Return the word, or the list with each item converted."""
        if isinstance(value, list):
            return [self.item.convert(item) for item in value]
        return super().convert(value)

    def describe(self) -> str:
        """See `Kind`."""
        return f"{super().describe()}, or a list, each item {self.item.describe()}"


@dataclass(eq=False, repr=False)
class CountOrShare(Kind):
    """A number of images, or a share of them between 0 and 1."""

    def convert(self, value: Any) -> float:
        """Return the number or the share."""
        is_share = isinstance(value, float) and 0 < value < 1
        if not is_share and (type(value) is not int or value < 0):
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        return value  # type: ignore[no-any-return]

    def describe(self) -> str:
        """See `Kind`."""
        return "a whole number, at least 0, or a share between 0 and 1"


def is_name(text: str) -> bool:
    """Return True if the system could have a file of this name, regardless of its length."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


@dataclass(eq=False, repr=False)
class ListOf(Kind):
    """A list: on a command line separated by commas, or one item for each use of the option."""

    item: Kind
    repeated: bool = False

    def convert(self, value: Any) -> list[Any]:
        """Return the list with each item converted."""
        if not isinstance(value, list):
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        return [self.item.convert(item) for item in value]

    def describe(self) -> str:
        """See `Kind`."""
        return f"a list, each item {self.item.describe()}"


@dataclass(eq=False, repr=False)
class TableOf(Kind):
    """A number for each of some patterns of names: on a command line `NAME=NUMBER`, with commas."""

    item: Kind

    def convert(self, value: Any) -> dict[str, Any]:
        """Return the table with each item converted."""
        if not isinstance(value, dict):
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        return {name: self.item.convert(item) for name, item in value.items()}

    def describe(self) -> str:
        """See `Kind`."""
        return f"a table, each item {self.item.describe()}"


def problem(kind: Kind, value: Any) -> tuple[str, str | None] | None:
    """Return why an option does not accept a value, with a suggestion; None if it does."""
    if isinstance(kind, TableOf) and isinstance(value, dict):
        return next(
            (_in_table(name, item, wrong) for name, item in value.items()
             if (wrong := problem(kind.item, item))), None,
        )  # fmt: skip
    if isinstance(kind, ListOf | WordOrList) and isinstance(value, list):
        return next((wrong for item in value if (wrong := problem(kind.item, item))), None)
    try:
        converted = kind.convert(value)
    except WrongValueError:
        meant = meant_by(value, kind.words) if isinstance(value, str) else None
        help = f"did you mean `{meant}`?" if meant else _without_quotes(kind, value)
        return f"not {_shown(value)}", help
    if isinstance(value, float) and isinstance(converted, int):
        return f"not {_shown(value)}", None
    return None


@singledispatch
def from_text(kind: Kind, text: str) -> Any:
    """Parse a value from the command line.

    Raises:
        ValueError: if it is not of this type.
    """
    return text


@from_text.register
def _(kind: Int, text: str) -> int:
    return int(text)


@from_text.register
def _(kind: CountOrShare, text: str) -> float:
    return int(text) if text.lstrip("+-").isdecimal() else float(text)


@from_text.register
def _(kind: Real, text: str) -> float:
    return float(text)


@from_text.register
def _(kind: WordOrList, text: str) -> Any:
    if text in kind.words:
        return text
    return [from_text(kind.item, part) for part in text.split(",") if part]


@from_text.register
def _(kind: ListOf, text: str) -> list[Any]:
    parts = split_calls(text) if isinstance(kind.item, Call) else text.split(",")
    return [from_text(kind.item, part) for part in parts if part]


@from_text.register
def _(kind: TableOf, text: str) -> dict[str, Any]:
    pairs = [part.rpartition("=") for part in text.split(",") if part]
    if not all(name for name, _, _ in pairs):
        raise ValueError(text)
    return {name: from_text(kind.item, value) for name, _, value in pairs}


def _in_table(name: str, item: Any, wrong: tuple[str, str | None]) -> tuple[str, str | None]:
    """Return what is wrong with an item of a table; a name with dots was perhaps left without quotes."""
    if isinstance(item, dict) and item:
        return wrong[0], f'a name with dots is in quotes: "{name}.{next(iter(item))}"'[:200]
    return wrong


def _without_quotes(kind: Kind, value: Any) -> str | None:
    """Suggest to remove the quotes of a value such as `"32"` or `"True"` that is valid without them."""
    plain = value.strip() if isinstance(value, str) else ""
    if isinstance(kind, Bool) and plain.lower() in ("true", "false"):
        return f"without the quotes: {plain.lower()}"
    try:
        converted = kind.convert(from_text(kind, plain))
    except (ValueError, WrongValueError):
        return None
    return None if isinstance(converted, (str, list)) else f"without the quotes: {plain}"


def _shown(value: Any) -> str:
    """Format a value from a file for a message: short, on one line; a string is in backticks."""
    text = f"`{value}`" if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."
