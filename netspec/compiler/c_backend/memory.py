"""Where the numbers of a file lie: the caller's arrays, constants, and one arena for the rest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.kernel_call import c_call
from netspec.compiler.c_backend.names import Names
from netspec.compiler.c_backend.open_sizes import OpenSizes
from netspec.compiler.ir.graph import Node
from netspec.compiler.ir.plan import (
    Argument,
    Buffer,
    ElementwiseStep,
    GradientRef,
    KernelStep,
    Operand,
    ParameterRef,
    Plan,
    Step,
    ViewStep,
)
from netspec.compiler.numpy_backend.passes.plan_memory import Storage, plan_memory
from netspec.diagnostics import NetspecError
from netspec.records import record

Array = NDArray[Any]

# Offsets in the arena are multiples of this many numbers, so that vectors are aligned.
ALIGNMENT = 4
INT_MAX = 2**31 - 1


@record
class ConstantArray:
    """A constant of a file: what it is called, and its numbers."""

    name: str
    values: Array


@record
class Place:
    """Where a parameter is in an array: the name of its offset, the offset, and its shape."""

    name: str
    offset: int
    shape: tuple[int, ...]


@dataclass
class FileMemory:
    """The `Memory` of a file: see `kernel_call.Memory`.

    Attributes:
        given: the pointers that the caller passes, by the buffers that they are.
        arrays, tables: the constant arrays of numbers and of whole numbers, in the order of use.
        made: what they are called, by the name and the numbers that were asked for.
        in_blob: whether the numbers are in a file of their own.
        total: the numbers in the arena, without scratch memory.
        scratch_size: the most numbers that a kernel needs in between.
        work_size: the most of them that each thread needs besides.
        batch: the most images at a time.
        parameters: where those that are not constant are, in one array.
        prefix: what the names of places begin with.
        sizes: the sizes that the caller passes; None if all are known.
        table: what the pointer to each operand is called, in the order of use, if each has one.
        image: the variable that counts the images, where a pointer is to that image's part.
    """

    plan: Plan
    constants: Constants
    names: Names
    given: dict[Buffer, str]
    in_blob: bool = False
    arrays: list[ConstantArray] = field(default_factory=list)
    tables: list[ConstantArray] = field(default_factory=list)
    made: dict[tuple[str, bytes], str] = field(default_factory=dict)
    total: int = 0
    scratch_size: int = 0
    work_size: int = 0
    batch: int = 1
    parameters: Mapping[str, Place] = field(default_factory=dict)
    image: str = ""
    prefix: str = "AT"
    sizes: OpenSizes | None = None
    table: dict[Operand, str] | None = None

    def __post_init__(self) -> None:
        self._roots = {
            step.output: step.source for step in self.plan.steps if isinstance(step, ViewStep)
        }
        planned = plan_memory(self.plan)
        self._storages = planned.storages
        placed, self.total = planned.layout(self.batch, ALIGNMENT, self._elements)
        self._offsets = placed
        self._places: dict[Buffer, str] = {}

    def _elements(self, buffer: Buffer, batch: int) -> int:
        if self.sizes is None:
            return buffer.elements(batch)
        return self.sizes.numbers_at_most(buffer.shape)

    def root(self, buffer: Operand) -> Operand:
        """Return what a view is a view of, and another operand as it is."""
        while isinstance(buffer, Buffer) and buffer in self._roots:
            buffer = self._roots[buffer]
        return buffer

    def places_in_arena(self) -> Iterator[tuple[str, int]]:
        """Yield the names of the places that are used, with their offsets."""
        for buffer, name in self._places.items():
            yield name, self._offsets[buffer]

    def peak(self) -> Node | None:
        """Return the layer at which most of the arena is in use; None if none is."""
        at = self._busiest()
        if at is None:
            return None
        step = self.plan.steps[at]
        return self.plan.nodes.get(
            step.nodes[-1] if isinstance(step, ElementwiseStep) else step.node
        )

    def held_at_peak(self) -> dict[str, int]:
        """Return how many numbers each value has that is in the arena there, by its name."""
        at = self._busiest()
        return {} if at is None else {s.buffers[0].name: self._size(s) for s in self._held(at)}

    def _busiest(self) -> int | None:
        """Return the number of the step at which most of the arena is in use; None if none is."""
        uses = [sum(map(self._size, self._held(at))) for at in range(len(self.plan.steps))]
        return uses.index(max(uses)) if any(uses) else None

    def _held(self, at: int) -> list[Storage]:
        return [s for s in self._storages if s.first <= at <= s.last]

    def _size(self, storage: Storage) -> int:
        return storage.elements(self.batch, self._elements)

    # -- as `Memory`

    def pointer(self, operand: Operand) -> str:
        """Return the pointer to an operand, as C."""
        if operand in self.constants:
            return self.constant(operand.name, self.constants[operand])
        root = self.root(operand)
        if self.table is not None:
            return self._in_table(root, self.table)
        if isinstance(root, ParameterRef):
            return f"parameters + {self.parameters[root.name].name}"
        if isinstance(root, GradientRef):
            return f"gradients + {self.parameters[root.name].name}"
        if root in self.given:
            return self._of_image(self.given[root], root)
        if root not in self._places:
            self._places[root] = self.names.constant(f"{self.prefix}_{root.name}")
        return self._of_image(f"arena + {self._places[root]}", root)

    def _in_table(self, root: Operand, table: dict[Operand, str]) -> str:
        if root not in table:
            start = "d_" if isinstance(root, GradientRef) else ""
            table[root] = self.names.free(f"{start}{root.name}")
        return self._of_image(table[root], root) if isinstance(root, Buffer) else table[root]

    def _of_image(self, pointer: str, buffer: Buffer) -> str:
        """Return the pointer to the part of a buffer that is the image's."""
        if not self.image or not buffer.batched:
            return pointer
        return f"{pointer} + {self.image} * {math.prod(buffer.shape)}"

    def values(self, operand: Operand) -> Array | None:
        """Return an operand's numbers, if they are known when the file is written."""
        return self.constants.get(operand)

    def constant(self, name: str, values: Array) -> str:
        """Return the name of a constant array of the file, which is made if it is a new one."""
        array = self._array(name, np.asarray(values, np.float64), self.arrays)
        return f"weights + {array}" if self.in_blob else array

    def places(self, name: str, values: Array) -> str:
        """Return the name of a constant array of whole numbers."""
        return self._array(name, values, self.tables)

    def _array(self, name: str, values: Array, arrays: list[ConstantArray]) -> str:
        key = (name, values.tobytes())
        if key not in self.made:
            self.made[key] = self.names.free(name.replace(".", "_"))
            arrays.append(ConstantArray(self.made[key], values.reshape(-1)))
        return self.made[key]

    def scratch(self, elements: int) -> str:
        """Return the pointer to memory for numbers in between."""
        most = elements if self.sizes is None else self.sizes.numbers_at_most([elements])
        self.scratch_size = max(self.scratch_size, most)
        place = f"{self.prefix}_SCRATCH"
        return f"arena + {place}" if self.table is None else place

    def work(self, elements: int) -> str:
        """Return the pointer to memory for numbers in between, of which each thread has its own."""
        self.work_size = max(self.work_size, elements)
        return f"{self.prefix}_WORK"

    def shape(self, operand: Operand) -> tuple[int, ...]:
        """Return the shape of an operand as it is stored, for one image."""
        if isinstance(operand, Buffer):
            return operand.shape
        if operand.name in self.parameters:
            return self.parameters[operand.name].shape
        return self.constants[operand].shape


def require_countable(name: str, numbers: int, each: int) -> None:
    """Refuse memory of more bytes than an `int` counts, for so many numbers of `each` bytes.

    Raises:
        NetspecError: `compile/no-c`.
    """
    if numbers * each > INT_MAX:
        message = f"the arena of {name} has {numbers * each:,} bytes, more than an int of C counts"
        raise NetspecError.simple(codes.COMPILE_NO_C, message)


def given_results(
    plan: Plan, results: Mapping[str, Buffer], names: Mapping[str, str], taken: Container[Operand]
) -> dict[Buffer, str]:
    """Return the pointers to results that can be written where the caller wants them, by buffer.

    Args:
        plan: the plan, with the views of buffers.
        results: the buffers of the results, by name.
        names: where the caller wants them.
        taken: what is somewhere else already.
    """
    roots = {s.output: s.source for s in plan.steps if isinstance(s, ViewStep)}
    given: dict[Buffer, str] = {}
    for name, buffer in results.items():
        source: Operand = buffer
        while isinstance(source, Buffer) and source in roots:
            source = roots[source]
        if isinstance(source, Buffer) and source not in taken:
            given.setdefault(source, names[name])
    return given


def copied_results(
    memory: FileMemory, results: Mapping[str, Buffer], names: Mapping[str, str], count: str = ""
) -> list[str]:
    """Return the copies of results, of so many images, that are not where the caller wants them."""
    lines = []
    for name, buffer in results.items():
        pointer, size = memory.pointer(buffer), math.prod(buffer.shape)
        if pointer != names[name]:
            many = f"{count} * {size}" if count else size
            lines += ["", *c_call("copy", pointer, names[name], many)]
    return lines


def without_unread(steps: Sequence[Step], wanted: Sequence[Buffer]) -> list[Step]:
    """Return the steps that something reads, where kernels write nothing that only backward would."""
    read: set[Operand] = set(wanted)
    left: list[Step] = []
    for step in reversed(steps):
        if read.isdisjoint(step.writes):
            continue
        if isinstance(step, KernelStep) and step.loop is not None:
            left.append(step)
            read |= set(step.writes)  # a turn reads what the one before it left
        else:
            left.append(_without(step, read) if isinstance(step, KernelStep) else step)
        read |= set(step.reads)
    return left[::-1]


def _without(step: KernelStep, read: set[Operand]) -> KernelStep:
    unread = {operand for operand in step.writes if operand not in read}

    def given(argument: Argument) -> Argument:
        return None if argument in unread else argument

    return dataclasses.replace(
        step,
        arguments=tuple(map(given, step.arguments)),
        writes=tuple(operand for operand in step.writes if operand not in unread),
    )
