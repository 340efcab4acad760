"""The comments of a generated module that say where in the file a statement is from."""

from __future__ import annotations

import io
import tokenize


def without_notes(source: str) -> str:
    """Return the source of a generated module without its notes.

    They are the only comments in its classes. What stands at the beginning of a line is not one.
    """
    lines = source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT and column > 0:
            code = lines[row - 1][:column].rstrip()
            lines[row - 1] = f"{code}\n" if code else ""
    return "".join(lines)
