"""Text of any origin in C: comments, string literals, numbers and identifiers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from netspec.text.free_name import free_name
from netspec.text.printable import printable

# Words of C and C++, and names that headers of either may define as macros.
_WORDS = """
alignas alignof and and_eq asm assert auto bitand bitor bool break case catch char class compl
complex concept const consteval constexpr constinit const_cast continue co_await co_return co_yield
decltype default delete do double dynamic_cast else enum errno explicit export extern false far
float for friend goto huge if imaginary import inline int interrupt linux long main module mutable
namespace near new noexcept noreturn not not_eq nullptr operator or or_eq pascal private protected
public real register reinterpret_cast requires restrict return short signal signed sizeof
static static_assert static_cast stderr stdin stdout struct switch template this thread_local throw
true try typedef typeid typename typeof typeof_unqual union unix unsigned using virtual void
volatile wchar_t while xor xor_eq
"""
# Functions that compilers know, whether or not their header is included.
_FUNCTIONS = """
abort abs acos acosh alloca asin asinh assert atan atan2 atanh atof atoi atol bcmp bcopy bsearch
bzero cabs calloc carg cbrt ccos ceil cexp cimag clog conj copysign cos cosh cpow cproj creal csin
csqrt ctan div drem erf erfc errno exit exp exp10 exp2 expm1 fabs fdim ffs finite floor fma fmax
fmin fmod fopen fprintf free frexp gamma getenv hypot ilogb index isalpha isdigit isfinite isgreater
isinf isless isnan isnormal isunordered j0 j1 jn labs ldexp ldiv lgamma llabs llrint llround log
log10 log1p log2 logb lrint lround main malloc memchr memcmp memcpy memmove memset mempcpy modf nan
nearbyint nextafter pow pow10 printf putchar puts qsort rand realloc remainder remquo rindex rint
round scalb scalbln scalbn signbit significand sin sincos sinh sprintf sqrt srand sscanf stpcpy
strcat strchr strcmp strcpy strcspn strdup strlen strncat strncmp strncpy strspn strstr strtod
strtol system tan tanh tgamma time trunc vprintf y0 y1 yn
"""
WORDS = frozenset(_WORDS.split()) | frozenset(_FUNCTIONS.split())


def comment(text: str) -> str:
    """Return a text of one line that can stand in a comment, and cannot end it."""
    out = printable(" ".join(text.split())).encode("ascii", "backslashreplace").decode()
    while "*/" in out or "/*" in out or "??" in out:
        out = out.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
    return out.rstrip("\\")


def without_comments(code: str) -> str:
    """Return C without its comments."""
    return re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)


def literal(text: str) -> str:
    """Return a text as a string literal of C, in UTF-8."""
    plain = re.compile(rb"[A-Za-z0-9 _.,:;+\-*/()\[\]{}<>=!@#&|~^$']")
    shown = (
        chr(byte) if plain.match(bytes([byte])) else '\\"' if byte == 34 else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "backslashreplace")
    )
    return f'"{"".join(shown)}"'


def declared(lines: Iterable[str], *, double: bool) -> str:
    """Return what a file declares, for C and C++, behind the type of its numbers."""
    return "\n".join([
        "/* The type of all numbers: -DREAL=double for another. */",
        "#ifndef REAL",
        f"#define REAL {'double' if double else 'float'}",
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


def identifier(text: str) -> str:
    """Return an ASCII identifier that resembles a text; see `Names` for a free one."""
    ascii_text = re.sub(r"[^\x00-\x7f]", lambda found: f"u{ord(found.group()):04x}", text)
    name = re.sub(r"\W+", "_", ascii_text).strip("_") or "value"
    return f"n{name}" if name[0].isdigit() else name


class Names:
    """Gives names that are not taken yet, and no words of C or C++."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*WORDS, *taken}

    def free(self, text: str) -> str:
        """Return an identifier for a text, and take it."""
        name = free_name(identifier(text)[:60], self._taken)
        self._taken.add(name)
        return name
