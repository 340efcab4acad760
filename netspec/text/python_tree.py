"""Python's own parser, one thread at a time and without a word of its own.

In Python 3.11, parsing in several threads at once fails with "AST constructor recursion depth
mismatch" (python/cpython issue 106905). Text of any origin, such as `1if x`, makes the parser warn on
standard error, which tells nobody anything.
"""

from __future__ import annotations

import ast
import warnings

from netspec.fork_lock import ForkLock

_lock = ForkLock()


def parse_python(text: str) -> ast.Module:
    """Return `ast.parse(text)`.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    with _lock.current, warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # what the former was before Python 3.12
        return ast.parse(text)


def parse_expression(text: str) -> ast.expr:
    """Return the expression that a text is.

    Raises:
        SyntaxError: also for a text that is anything else.
        ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    body = parse_python(text.strip()).body
    if len(body) != 1 or not isinstance(body[0], ast.Expr):
        raise SyntaxError("this is no expression")
    return body[0].value
