"""What a C file and its header say of themselves, and how a header begins and ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from netspec.compiler.c_backend.c_text import comment, literal
from netspec.compiler.c_backend.calls import show
from netspec.compiler.c_backend.names import Names
from netspec.compiler.ir.graph import Graph

# The most bytes of stack that a call of a file's functions takes, in floating point and in whole numbers.
# It is the compiler that lays frames out: LeNet, ResNet, M5, MobileNet and Swin took no more than two
# thirds of it on a Cortex-M4, in double precision too. Without optimisation frames grow with the net.
STACK_BYTES, INT8_STACK_BYTES = 2 << 10, 1 << 10


# The order of the caller's arrays.
LAYOUT = "Arrays are in row-major order, as above: of a picture, channel after channel."


def arena_comment(kind: str, *, by_caller: bool) -> str:
    """Return what is said of the size of the arena, and who may use it at the same time.

    Args:
        kind: `bytes` or `numbers`.
        by_caller: whether each call is given an arena of its own.
    """
    who = (
        ", which the caller provides: one for each\n   thread that calls."
        if by_caller
        else ". All calls share it: one thread at a time."
    )
    return f"/* The {kind} of the memory that values lie in{who} */"


def _ends(graph: Graph) -> list[str]:
    """Return a line for each input and output."""
    return [
        *(f"input  {comment(name)} {show(shape)}" for name, shape in graph.inputs.items()),
        *(
            f"output {comment(name)} {show(graph.shape_of(value))}"
            for name, value in graph.outputs.items()
        ),
    ]


def stack_size(upper: str, count: int) -> list[str]:
    """Return the constant that is the most stack that a call takes."""
    return [
        "/* The most bytes of stack that a call takes on a machine of 32 bits, with -O1 or more. */",
        f"#define {upper}_STACK_BYTES {count}",
        "",
    ]


def declared_digest(net: str, digest: str) -> list[str]:
    """Return the constants that say which weights a file holds; none if it does not know.

    The macro is for what is compiled with the header; the array is in the file itself, for those that
    read it there.
    """
    if not digest:
        return []
    return [
        "/* Which weights these are: `netspec weights` shows the same digits for the file that they are",
        "   from. */",
        f"#define {net.upper()}_WEIGHTS_DIGEST {literal(digest)}",
        f"extern const char {net}_weights_digest[{len(digest) + 1}];",
        "",
    ]


def defined_digest(net: str, digest: str) -> list[str]:
    """Return the definition of the array that `declared_digest` declares."""
    if not digest:
        return []
    return [f"const char {net}_weights_digest[{len(digest) + 1}] = {literal(digest)};"]


def array_sizes(names: Names, arrays: Mapping[str, int]) -> list[str]:
    """Return the constants that are the numbers of the caller's arrays, by the names of the net."""
    lines = [
        f"#define {names.constant(f'{names.net}_{name}_numbers')} {count}"
        for name, count in arrays.items()
    ]
    return ["/* The numbers of an input and of an output. */", *lines, ""]


def opening(graph: Graph, kind: str = "") -> str:
    """Return the first line of a file, without the end of the comment.

    Args:
        graph: the net.
        kind: what kind of file it is, behind `in C99`.
    """
    where = graph.span.source.file_name if graph.span is not None else graph.name
    return f"/* {comment(graph.name)} in C99{kind}, made by netspec from {comment(where)}."


def head(graph: Graph, facts: Iterable[str], *, kind: str = "", about: Sequence[str] = ()) -> str:
    """Return the comment that a file begins with.

    Args:
        graph: the net, which says what it is, takes and gives.
        facts: lines on this file; an empty one is a line between paragraphs.
        kind: see `opening`.
        about: lines on its numbers, of any text.
    """
    lines = [""]
    lines += [comment(line) for line in graph.doc.splitlines()]
    lines += [""] if graph.doc else []
    lines += _ends(graph)
    lines += ["", *map(comment, about)] if about else []
    lines += ["", *facts]
    return "\n".join([opening(graph, kind), *(f" * {line}".rstrip() for line in lines), " */"])


def header(
    graph: Graph, declarations: str, upper: str, *, kind: str = "", about: Sequence[str] = ()
) -> str:
    """Return the header of a file.

    Args:
        graph: the net.
        declarations: what it declares.
        upper: what the names of the file's constants begin with.
        kind: what kind of file it is.
        about: lines on its numbers.
    """
    lines = [*_ends(graph), LAYOUT, *map(comment, about)]
    first = [opening(graph, kind), *(f" * {line}" for line in lines), " */"]
    guard = f"{upper}_H"
    begin = "\n".join(first)
    return f"{begin}\n#ifndef {guard}\n#define {guard}\n\n{declarations}\n\n#endif\n"
