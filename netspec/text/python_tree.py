"""Python's own parser, one thread at a time.

In Python 3.11, parsing in several threads at once fails with "AST constructor recursion depth
mismatch" (python/cpython issue 106905).
"""

from __future__ import annotations

import ast

from netspec.fork_lock import ForkLock

_lock = ForkLock()


def parse_python(text: str) -> ast.Module:
    """Return `ast.parse(text)`.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    with _lock.current:
        return ast.parse(text)
