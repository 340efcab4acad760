"""Formats Python literals and calls as text of limited width."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

WIDTH = 96


def call(
    function: str, arguments: Sequence[str], options: Mapping[str, object], indent: int
) -> str:
    """Return `function(a, b, key=value)`, on several lines if one is too short."""
    given = [*arguments, *(f"{key}={value!r}" for key, value in options.items())]
    text = f"{function}({', '.join(given)})"
    if indent + len(text) <= WIDTH:
        return text
    return f"{function}(\n{filled(', '.join(given) + ',', indent + 4)}\n{' ' * indent})"


def filled(text: str, indent: int) -> str:
    """Wrap text into lines that begin after `indent` columns; lines are broken only at spaces."""
    pad = " " * indent
    if indent + len(text) <= WIDTH and text.isprintable() and text.strip() == text:
        return pad + text  # most texts, in a hundredth of the time
    return textwrap.fill(
        text, WIDTH, initial_indent=pad, subsequent_indent=pad,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def items(rows: Sequence[str], indent: int) -> str:
    """Return rows in parentheses, each on a separate line with a trailing comma."""
    inner = "".join(f"{filled(row + ',', indent + 4)}\n" for row in rows)
    return f"(\n{inner}{' ' * indent})" if rows else "()"
