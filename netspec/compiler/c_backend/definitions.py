"""Definitions in C: constant arrays and functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from netspec.compiler.c_backend.c_text import numbers, without_comments
from netspec.compiler.c_backend.loops import indented
from netspec.compiler.c_backend.memory import ConstantArray

WIDTH = 100


def array_text(kind: str, name: str, texts: Sequence[str]) -> str:
    """Return a constant array."""
    lines, line = [], "   "
    for text in texts:
        if len(line) + len(text) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {text},"
    head = f"static const {kind} {name}[{len(texts)}] = {{"
    return "\n".join([head, *lines, line.rstrip(","), "};"])


def array_texts(
    arrays: Sequence[ConstantArray], tables: Sequence[ConstantArray], *, double: bool
) -> Iterator[str]:
    """Yield constant arrays of numbers, and of whole numbers."""
    for array in arrays:
        yield array_text("real", array.name, numbers(array.values, double=double))
    for table in tables:
        yield array_text("int", table.name, [str(int(v)) for v in table.values])


def wrapped(head: str) -> list[str]:
    """Return a function's head, `void f(int a)`, on as many lines as it needs."""
    name, _, given = head.partition("(")
    lines, line = [], f"{name}("
    for i, part in enumerate(given.split(", ")):
        if i and len(line) + len(part) + 2 > WIDTH:
            lines.append(f"{line},")
            line = " " * (len(name) + 1) + part
        else:
            line += f", {part}" if i else part
    return [*lines, line]


def function(head: str, body: Sequence[str]) -> str:
    """Return a function that says which of its arguments it does not use."""
    text = without_comments("\n".join(body))
    given = re.findall(r"\w+(?=[,)])", head)
    unused = [f"(void){name};" for name in given if not re.search(rf"\b{name}\b", text)]
    return "\n".join([*wrapped(head), "{", *indented([*unused, *body]), "}"])
