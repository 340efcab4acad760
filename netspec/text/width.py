"""Widths of text, in the columns of a terminal."""

from __future__ import annotations

import os
import sys
import unicodedata


def columns_of(text: str) -> int:
    """The terminal columns that a text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def terminal_width() -> int | None:
    """The columns that stdout has: of its terminal, or as COLUMNS says; None in pipes and files."""
    import shutil

    if sys.stdout is not None and sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    said = os.environ.get("COLUMNS", "")
    return int(said) if said.isdecimal() and int(said) > 0 else None
