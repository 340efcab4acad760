"""Text of any origin in C: comments, string literals and numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from netspec.text.printable import printable

_PLAIN = re.compile(r"[A-Za-z0-9 _.,:;+\-*/()\[\]{}<>=!@#&|~^$']")
# How each byte is written in a string literal.
_SHOWN = [
    chr(byte) if _PLAIN.match(chr(byte)) else '\\"' if byte == 34 else f"\\{byte:03o}"
    for byte in range(256)
]


@lru_cache(maxsize=10_000)  # a layer has several steps, in several functions
def comment(text: str) -> str:
    """Return a text of one line that can stand in a comment, and cannot end it."""
    out = printable(" ".join(text.split())).encode("ascii", "backslashreplace").decode()
    while "*/" in out or "/*" in out or "??" in out:
        out = out.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
    return out.rstrip("\\")


def without_comments(code: str) -> str:
    """Return C without its comments."""
    return re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)


def without_brackets(text: str) -> str:
    """Return an expression without the brackets around all of it."""
    if not text.startswith("("):
        return text
    depth = 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return text[1:-1] if i == len(text) - 1 else text
    return text


def literal(text: str) -> str:
    """Return a text as a string literal of C, in UTF-8."""
    shown = map(_SHOWN.__getitem__, text.encode("utf-8", "backslashreplace"))
    return f'"{"".join(shown)}"'


def declared(net: str, lines: Iterable[str], *, double: bool, arena: int | None = None) -> str:
    """Return what a file declares, for C and C++, behind the type of its numbers.

    Args:
        net: what the names of the file begin with. The type has a name of the net's own, so that
            headers of different precision can be included together.
        lines: the declarations.
        double: whether numbers have double precision unless the compiler is told another type.
        arena: the numbers of the arena, whose bytes depend on the type.
    """
    kind, number_bytes = ("double", 8) if double else ("float", 4)
    bytes_name, numbers_name = (f"{net.upper()}_ARENA_{what}" for what in ("BYTES", "NUMBERS"))
    known = [f"#define {bytes_name} ({numbers_name} * (int)sizeof(REAL))"]
    usual = [f"#define {bytes_name} {number_bytes * (arena or 0)}"]
    return "\n".join([
        "/* The type of all numbers: -DREAL=double for another. */",
        "#ifdef REAL",
        f"typedef REAL {net}_real;",
        *(known if arena is not None else []),
        "#else",
        f"typedef {kind} {net}_real;",
        *(usual if arena is not None else []),
        "#endif",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        *lines,
        "#ifdef __cplusplus",
        "}",
        "#endif",
    ])  # fmt: skip


def number(value: float, *, double: bool = False) -> str:
    """Return a number as a constant of the type `real`, which reads back as the same number.

    In single precision it is the nearest number of that precision.
    """
    if math.isnan(value):
        return "(real)NAN"
    if math.isinf(value):
        return "(real)INFINITY" if value > 0 else "(real)-INFINITY"
    with np.errstate(over="ignore"):
        single = np.float32(value)
    if not math.isfinite(float(single)) or (double and float(single) != value):
        return f"(real){_with_point(repr(float(value)))}"
    return f"{_with_point(str(single))}f"


def numbers(values: NDArray[np.float64], *, double: bool = False) -> list[str]:
    """Return the same for each number of an array."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    plain = np.isfinite(single) & ((single == values) | (not double))
    texts = single.astype(str).tolist()
    return [
        f"{_with_point(text)}f" if is_plain else number(value, double=double)
        for text, value, is_plain in zip(texts, values.tolist(), plain.tolist(), strict=True)
    ]


def _with_point(digits: str) -> str:
    return digits if "." in digits or "e" in digits else f"{digits}.0"
