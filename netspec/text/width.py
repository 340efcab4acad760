"""Width of text in terminal columns."""

from __future__ import annotations

import os
import sys


def columns_of(text: str) -> int:
    """Return the terminal columns that a text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def terminal_width() -> int | None:
    """Return the width of the terminal on stdout, or COLUMNS if set; None for a pipe or a file."""
    import shutil

    if sys.stdout is not None and sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    said = os.environ.get("COLUMNS", "")
    return int(said) if said.isdecimal() and int(said) > 0 else None
