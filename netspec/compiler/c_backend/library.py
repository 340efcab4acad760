"""The C functions that a file can be made of, from `library/*.c`, with those that they call."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from netspec.compiler.c_backend.c_text import without_comments
from netspec.records import record

# Functions for any compiler and machine; those in `engine` are for netspec's own programs alone.
FOLDER = Path(__file__).parent / "library"

# Functions of <math.h> in the precision of `real`, which are called `real_exp` and so on.
MATH = ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "erf", "rint")
MATH_OF_TWO = ("pow",)

_DEFINED = re.compile(r"^(?:static )?[\w ]+?\*?(\w+)\(([^)]*)\)\n\{", re.MULTILINE)
_CALLED = re.compile(r"\b[a-z]\w*(?=\()")


@record
class Unit:
    """A part of the library that is copied whole: a function with its comment, or several.

    Attributes:
        text: its source.
        functions: the parameters of each function in it, as they are written, by name.
        needs: the functions that it calls.
    """

    text: str
    functions: dict[str, str]
    needs: frozenset[str]


@cache
def units(fast: bool = False) -> tuple[Unit, ...]:
    """Return the parts of the library; `fast` ones use the vectors of GCC and Clang."""
    found = [_math(name, 1) for name in MATH] + [_math(name, 2) for name in MATH_OF_TWO]
    for path in sorted(FOLDER.glob("*.c")) + sorted((FOLDER / "engine").glob("*.c")):
        text = path.read_text("utf-8").strip()
        if path.stem.startswith("products"):
            continue
        found += [_unit(part) for part in re.split(r"(?<=^\})\n\n", text, flags=re.MULTILINE)]
    plain = (FOLDER / "products.c").read_text("utf-8").strip()
    if fast:
        vectors = (FOLDER / "products_fast.c").read_text("utf-8").strip()
        plain = f"{vectors}\n{plain}\n#endif"
    return (*found, _unit(plain))


def called(code: str) -> frozenset[str]:
    """Return the names of the functions that C calls, comments aside."""
    return frozenset(_CALLED.findall(without_comments(code)))


def _unit(text: str) -> Unit:
    functions = dict(_DEFINED.findall(text))
    return Unit(text, functions, called(text))


def _math(name: str, count: int) -> Unit:
    given = ", ".join(f"real {letter}" for letter in "xy"[:count])
    single = ", ".join(f"(float){letter}" for letter in "xy"[:count])
    double = ", ".join(f"(double){letter}" for letter in "xy"[:count])
    text = (
        f"static real real_{name}({given})\n{{\n"
        f"    return sizeof(real) == sizeof(float) ? (real){name}f({single})"
        f" : (real){name}({double});\n}}"
    )
    return Unit(text, {f"real_{name}": given}, frozenset())


@cache
def engine_header(name: str) -> str:
    """Return a header of the engine: `lanes`, `team`, `turns`, `tiles` or `tile`."""
    return (FOLDER / "engine" / f"{name}.h").read_text("utf-8").strip()


@cache
def pool() -> str:
    """Return the C file of the threads that share passes, which a process has once."""
    path = FOLDER / "engine" / "threads" / "pool.c"
    return f"{engine_header('team')}\n\n{path.read_text('utf-8').strip()}\n"


@cache
def apart() -> tuple[Unit, ...]:
    """Return the parts of the engine that are compiled by themselves, once for all nets.

    They are the same for each, and their many loops take a compiler far longer than the rest of a net.
    """
    return tuple(
        _unit(path.read_text("utf-8").strip())
        for path in sorted((FOLDER / "engine" / "apart").glob("*.c"))
    )


@cache
def function_names() -> frozenset[str]:
    """Return the names of all functions of the library."""
    headers = (_unit(engine_header(name)) for name in ("lanes", "turns", "tiles", "tile"))
    every = (*units(), *apart(), *headers)
    return frozenset(name for unit in every for name in unit.functions)


@record
class CParameter:
    """A parameter of a function."""

    name: str
    is_pointer: bool


@cache
def parameters_of(function: str) -> tuple[tuple[CParameter, ...], ...]:
    """Return the parameters of a function, grouped by the lines that they are written on."""
    written = next(u.functions[function] for u in units() if function in u.functions)
    rows = []
    for line in written.splitlines():
        words = [part.split()[-1] for part in line.split(",") if part.strip()]
        rows.append(tuple(CParameter(word.lstrip("*"), word.startswith("*")) for word in words))
    return tuple(rows)


PARALLEL = """\
/* Loops that threads share, if the compiler has OpenMP: each number is made by one thread, in the same
   order for any number of threads. */
#ifdef _OPENMP
#define PARALLEL _Pragma("omp parallel for schedule(static)")
#define PARALLEL_IF_LARGE _Pragma("omp parallel for schedule(static) if (count > 16384)")
#else
#define PARALLEL
#define PARALLEL_IF_LARGE
#endif"""


def without_threads(text: str) -> str:
    """Return C without the words that share loops among threads."""
    return re.sub(r"^ *PARALLEL\w*\n", "", text, flags=re.MULTILINE)


_PARALLEL_LOOP = re.compile(
    r"PARALLEL\n *for \(int (?P<i>\w+) = 0; (?P=i) < (?P<end>[^;]+); (?P=i)(?:\+\+| \+= (?P<step>\d+))\)"
)


def _in_turns(text: str) -> str:
    """Return C whose loops that threads may share are those of the engine; see `engine/turns.h`."""
    return _PARALLEL_LOOP.sub(
        lambda found: f"SHARE({found['i']}, {found['end']}, {found['step'] or 1}, 1)", text
    )


# What a function of the library does to its loops, by how threads share them.
_LOOPS: Mapping[str, Callable[[str], str]] = {
    "": without_threads,
    "openmp": lambda text: text,
    "turns": _in_turns,
}


@cache
def sharing() -> frozenset[str]:
    """Return the functions that all members of a team call, because they share loops of them."""
    found: set[str] = set()
    for unit in (each for each in units() if "SHARE(" in _in_turns(each.text)):
        found |= unit.functions.keys()
    while more := {n for u in units() if u.needs & found for n in u.functions} - found:
        found |= more
    return frozenset(found)


def used_units(names: Iterable[str], *, fast: bool, threads: str = "") -> list[Unit]:
    """Return the units that define these functions, and all that they need, callees first.

    Args:
        names: the functions that are called.
        fast: see `units`.
        threads: how threads share loops: `openmp`, `turns` (see `engine/turns.h`), or not at all.
    """
    maker = {name: unit for unit in units(fast) for name in unit.functions}
    order: dict[str, Unit] = {}

    def add(unit: Unit) -> None:
        if unit.text in order:
            return
        for name in sorted(unit.needs & maker.keys()):
            if maker[name] is not unit:
                add(maker[name])
        order[unit.text] = unit

    for name in sorted(maker.keys() & set(names)):
        add(maker[name])
    written = _LOOPS[threads]
    return [dataclasses.replace(unit, text=written(unit.text)) for unit in order.values()]
