"""Python literals and calls as text, filled to the width of a line."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

WIDTH = 96


def call(
    function: str, arguments: Sequence[str], options: Mapping[str, object], indent: int
) -> str:
    """`function(a, b, key=value)`, over several lines where one is too short."""
    given = [*arguments, *(f"{key}={value!r}" for key, value in options.items())]
    text = f"{function}({', '.join(given)})"
    if indent + len(text) <= WIDTH:
        return text
    return f"{function}(\n{filled(', '.join(given) + ',', indent + 4)}\n{' ' * indent})"


def filled(text: str, indent: int) -> str:
    """Text filled into lines that begin after `indent` columns; it breaks at spaces alone."""
    pad = " " * indent
    return textwrap.fill(
        text, WIDTH, initial_indent=pad, subsequent_indent=pad,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def items(rows: Sequence[str], indent: int) -> str:
    """Rows in parentheses, each on lines of its own with a comma behind it."""
    inner = "".join(f"{filled(row + ',', indent + 4)}\n" for row in rows)
    return f"(\n{inner}{' ' * indent})" if rows else "()"
