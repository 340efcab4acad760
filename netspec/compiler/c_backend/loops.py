"""Loops over arrays that are written out: copies and reductions whose axes are their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from netspec.compiler.c_backend.c_text import without_brackets
from netspec.compiler.c_backend.open_sizes import CSize
from netspec.compiler.ir.sizes import Dim
from netspec.records import record

VARIABLES = tuple(f"{letter}{number}" for number in ("", "2", "3") for letter in "ijkl")


@record
class Axis:
    """An axis of a loop: how many turns, and the step of each array that is walked through."""

    size: int
    steps: tuple[int, ...]


def steps_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the distance in memory of neighbours along each axis of an array in row-major order."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size
    return tuple(reversed(steps))


def merged(axes: Sequence[Axis]) -> list[Axis]:
    """Return the axes without those of one place, and as one where they are one in each array."""
    out: list[Axis] = []
    for axis in axes:
        if axis.size == 1:
            continue
        joins = out and all(
            outer == inner * axis.size
            for outer, inner in zip(out[-1].steps, axis.steps, strict=True)
        )
        if joins:
            out[-1] = Axis(out[-1].size * axis.size, axis.steps)
        else:
            out.append(axis)
    return out


def place(terms: Sequence[tuple[str, int]], offset: int = 0) -> str:
    """Return the index `i * 12 + j + offset`."""
    parts = [name if step == 1 else f"{name} * {step}" for name, step in terms if _sign(step) > 0]
    parts += [str(offset)] if offset != 0 or not parts else []
    text = " + ".join(parts)
    for name, step in terms:
        if _sign(step) < 0:
            text += f" - {name}" if step == -1 else f" - {name} * {-step}"
    return text


def _sign(step: Dim) -> int:
    """Return a number with the sign of a step. That of a product of sizes is the same for all sizes."""
    return step.largest if isinstance(step, CSize) else cast(int, step)


def nested(
    axes: Sequence[Axis], body: Callable[[list[str]], list[str]], used: int = 0
) -> list[str]:
    """Return loops over axes around a body, which is given the names of the loops' variables."""
    names = list(VARIABLES[used : used + len(axes)])
    lines = body(names)
    for name, axis in zip(reversed(names), reversed(axes), strict=True):
        head = f"for (int {name} = 0; {name} < {without_brackets(str(axis.size))}; {name}++)"
        single = len(lines) == 1 or (lines[0].startswith("for (") and not _has_more(lines))
        inner = [f"    {line}" for line in lines]
        lines = [head, *inner] if single else [f"{head} {{", *inner, "}"]
    return lines


def indented(lines: Sequence[str]) -> list[str]:
    """Return lines with a level of indentation more."""
    return [f"    {line}" if line else "" for line in lines]


def _has_more(lines: Sequence[str]) -> bool:
    """Whether anything follows the first statement of lines."""
    return any(not line.startswith((" ", "}")) for line in lines[1:])
