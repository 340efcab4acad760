"""A kernel step of a plan, as its form in C sees it."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from netspec.compiler.c_backend.c_text import number, without_brackets
from netspec.compiler.c_backend.library import parameters_of
from netspec.compiler.ir.plan import Buffer, KernelStep, Marker, Operand, Option
from netspec.compiler.ir.sizes import Dim, Size
from netspec.records import record

Array = NDArray[Any]


# Pointers of more characters than this have a line each.
POINTERS = 74


class Memory(Protocol):
    """Where a file keeps its numbers."""

    def pointer(self, operand: Operand) -> str:
        """Return the pointer to an operand, as C."""

    def values(self, operand: Operand) -> Array | None:
        """Return an operand's numbers, if they are known when the file is written."""

    def constant(self, name: str, values: Array) -> str:
        """Return the name of a constant array of the file, which is made if it is a new one."""

    def places(self, name: str, values: Array) -> str:
        """Return the name of a constant array of whole numbers."""

    def scratch(self, elements: int) -> str:
        """Return the pointer to memory for numbers in between."""

    def work(self, elements: int) -> str:
        """Return the pointer to memory for numbers in between, of which each thread has its own."""

    def shape(self, operand: Operand) -> tuple[int, ...]:
        """Return the shape of an operand as it is stored, for one image."""


@record
class KernelCall:
    """A step, and where its operands are.

    Attributes:
        count: the variable that holds how many images there are; empty if it is one.
        before: lines that come before the loop over images.
    """

    step: KernelStep
    memory: Memory
    double: bool = False
    count: str = ""
    before: list[str] = field(default_factory=list)

    def operand(self, index: int) -> Operand | None:
        """Return an argument; None if the layer does not have it."""
        argument = self.step.arguments[index]
        assert not isinstance(argument, Marker)
        return argument

    def has(self, index: int) -> bool:
        """Whether the layer has an argument."""
        return self.operand(index) is not None

    def pointer(self, index: int) -> str:
        """Return an argument as C: `0` if there is none."""
        operand = self.operand(index)
        return "0" if operand is None else self.memory.pointer(operand)

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of an argument as it is stored, for one image."""
        operand = self.operand(index)
        assert operand is not None
        return self.memory.shape(operand)

    def size(self, index: int) -> int:
        """Return the number of elements of an argument, for one image."""
        return math.prod(self.shape(index))

    def values(self, index: int) -> Array | None:
        """Return the numbers of an argument, if they are known."""
        operand = self.operand(index)
        return None if operand is None else self.memory.values(operand)

    def name(self, index: int) -> str:
        """Return what an argument is called in the plan."""
        operand = self.operand(index)
        assert operand is not None
        return operand.name

    def option(self, name: str) -> Option:
        """Return an option."""
        return self.step.options[name]

    def ints(self, name: str) -> tuple[int, ...]:
        """Return an option that is whole numbers."""
        return cast(tuple[int, ...], self.step.options[name])

    def whole(self, name: str) -> int:
        """Return an option that is a whole number, or true or false."""
        return int(cast(int, self.step.options[name]))

    def real(self, name: str) -> str:
        """Return an option as a constant."""
        return number(float(cast(float, self.step.options[name])), double=self.double)

    def rows(self, index: int, columns: int) -> str:
        """Return how many rows of so many columns an argument has, in all images."""
        each = self.size(index) // columns
        operand = self.operand(index)
        batched = isinstance(operand, Buffer) and operand.batched
        return f"{self.count} * {each}" if self.count and batched else str(each)


def c_call(function: str, *arguments: str | Dim) -> list[str]:
    """Return a call of a function of the library, on as many lines as its parameters. A comment
    names those that are numbers.
    """
    texts = [
        without_brackets(str(each)) if isinstance(each, Size) else str(each) for each in arguments
    ]
    rows = parameters_of(function)
    assert len(texts) == sum(map(len, rows)), function
    lines: list[str] = []
    for row in rows:
        given, texts = texts[: len(row)], texts[len(row) :]
        pointers = sum(parameter.is_pointer for parameter in row)
        parts = given[:pointers]
        if pointers and sum(map(len, parts)) > POINTERS:
            lines += parts[:-1]
            parts = parts[-1:]
        if pointers < len(row):
            names = ", ".join(parameter.name for parameter in row[pointers:])
            parts.append(f"/* {names} */ {', '.join(given[pointers:])}")
        lines.append(", ".join(parts))
    ends = [",\n    "] * (len(lines) - 1) + [");"]
    text = f"{function}(" + "".join(line + end for line, end in zip(lines, ends, strict=True))
    return text.splitlines()
