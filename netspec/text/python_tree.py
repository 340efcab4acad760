"""Python's own parser, one thread at a time.

In Python 3.11 trees that several threads make at once fail with "AST constructor recursion depth
mismatch" (python/cpython issue 106905).
"""

from __future__ import annotations

import ast
import os
import threading

_lock = threading.Lock()


def parse_python(text: str) -> ast.Module:
    """`ast.parse(text)`.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    with _lock:
        return ast.parse(text)


def _begin_anew() -> None:
    """In a forked child: the thread that held the lock is not there."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
