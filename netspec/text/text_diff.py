"""The difference between two texts, line by line."""

from __future__ import annotations

import difflib
import io


def text_diff(before: str, after: str, before_name: str, after_name: str) -> str:
    """Return a unified diff that `patch` can read; empty for equal texts."""
    lines = difflib.unified_diff(_lines(before), _lines(after), before_name, after_name)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _lines(text: str) -> list[str]:
    """Split at line feeds only, unlike `str.splitlines`."""
    return list(io.StringIO(text, newline="\n"))
