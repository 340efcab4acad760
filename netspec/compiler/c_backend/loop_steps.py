"""The steps of a scan block in C: a loop over the items of a sequence, around the calls of one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from numpy.typing import NDArray

from netspec.compiler.c_backend.kernel_call import KernelCall, Memory, c_call
from netspec.compiler.c_backend.loops import indented
from netspec.compiler.ir.plan import Buffer, Loop, Operand, ViewStep

# The variables of loops, the outermost first.
TURNS = ("t", "t2", "t3", "t4", "t5", "t6", "t7", "t8")


@dataclass
class LoopMemory:
    """The `Memory` of the calls in a loop: the arrays around it that hold the buffers of a step.

    Attributes:
        outer: the memory around the loop.
        held: the array that holds each buffer of a step, by the buffer's name.
        stacked: the names of those of which each turn has its own.
        views: what each view in the loop is a view of.
        depth: how many loops there are around it.
    """

    outer: Memory
    held: dict[str, Buffer]
    stacked: set[str]
    views: dict[Operand, Operand]
    depth: int

    @property
    def turn(self) -> str:
        """The variable that counts the turns."""
        return TURNS[self.depth]

    def pointer(self, operand: Operand, turn: str | None = None) -> str:
        """Return the pointer to an operand, as C; by default in this turn."""
        while operand in self.views:
            operand = self.views[operand]
        if not isinstance(operand, Buffer):
            return self.outer.pointer(operand)
        pointer = self.outer.pointer(self.held[operand.name])
        if operand.name not in self.stacked:
            return pointer
        return f"{pointer} + {turn or self.turn} * {math.prod(operand.shape)}"

    def values(self, operand: Operand) -> NDArray[Any] | None:
        """Return a parameter's numbers."""
        return None if isinstance(operand, Buffer) else self.outer.values(operand)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """See `Memory`."""
        return self.outer.constant(name, values)

    def places(self, name: str, values: NDArray[Any]) -> str:
        """See `Memory`."""
        return self.outer.places(name, values)

    def scratch(self, elements: int) -> str:
        """See `Memory`."""
        return self.outer.scratch(elements)

    def work(self, elements: int) -> str:
        """See `Memory`."""
        return self.outer.work(elements)

    def shape(self, operand: Operand) -> tuple[int, ...]:
        """Return the shape of an operand as it is stored, for one image."""
        return operand.shape if isinstance(operand, Buffer) else self.outer.shape(operand)


class LoopSteps:
    """The kernel `scan.forward` as a loop.

    Attributes:
        memory: where the operands of a step are.
    """

    def __init__(self, call: KernelCall, loop: Loop, outer: Memory) -> None:
        self._call = call
        names = cast(Sequence[str], call.option("names"))
        arrays = cast(Sequence[Buffer], call.step.arguments[2:])
        stacked = {n for n, kind in zip(names, call.ints("kinds"), strict=True) if kind}
        views: dict[Operand, Operand] = {
            step.output: step.source for step in loop.steps if isinstance(step, ViewStep)
        }
        depth = outer.depth + 1 if isinstance(outer, LoopMemory) else 0
        held = dict(zip(names, arrays, strict=True))
        self.memory = LoopMemory(outer, held, stacked, views, depth)
        # The buffers of a step by name: those that its steps use, and what only the loop does.
        self._buffers = {
            name: Buffer(name, array.shape[1:] if name in stacked else array.shape, array.batched)
            for name, array in held.items()
        }
        operands = (operand for step in loop.steps for operand in (*step.reads, *step.writes))
        self._buffers |= {each.name: each for each in operands if isinstance(each, Buffer)}

    def _pointer(self, option: str) -> str:
        """Return the pointer to the buffer that an option of the kernel names."""
        return self.memory.pointer(self._buffers[cast(str, self._call.option(option))])

    def around(self, lines: Sequence[str]) -> list[str]:
        """Return the loop: an item is copied in, the result out, and the states to the next turn."""
        call, turn = self._call, self.memory.turn
        steps = call.shape(1)[0]
        item, result = (math.prod(call.shape(i)[1:]) for i in (0, 1))
        body = [
            *c_call("copy", f"{call.pointer(0)} + {turn} * {item}", self._pointer("item"), item),
            *lines,
            *c_call(
                "copy", self._pointer("result"), f"{call.pointer(1)} + {turn} * {result}", result
            ),
        ]
        before, after = (cast(Sequence[str], call.option(name)) for name in ("before", "after"))
        handed: list[str] = []
        for state, value in zip(before, after, strict=True):
            source = self.memory.pointer(self._buffers[value])
            target = self.memory.pointer(self._buffers[state], f"({turn} + 1)")
            handed += c_call("copy", source, target, math.prod(self._buffers[state].shape))
        if handed:
            body += [f"if ({turn} + 1 < {steps}) {{", *indented(handed), "}"]
        head = f"for (int {turn} = 0; {turn} < {steps}; {turn}++) {{"
        return [head, *indented(body), "}"]
