"""The memory of a program in a standalone file: one arena, shared by lifetimes, for any batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from netspec.compiler.numpy_backend.passes.placement import place
from netspec.kernels import parallel
from netspec.kernels.arrays import Array

# A buffer's name, its shape, and whether a batch comes in front of that.
Named = tuple[str, tuple[int, ...], bool]

# No two buffers share a cache line.
ALIGNMENT = 64

# Batch sizes whose buffers are kept at a time.
REMEMBERED = 8


@dataclass(frozen=True)
class Program:
    """The functions of a program, and the arrays that they work in.

    Attributes:
        forward, backward, sample: its functions; `sample` draws random masks.
        scratch: the elements that kernels need besides, for a batch size and the threads that are.
        arena: buffers that share a place, with the first and last step that use it.
        outside: buffers that have memory of their own.
        inputs, outputs, output_gradients: the buffer of each, by the net's name.
    """

    forward: Callable[..., None]
    scratch: Callable[[int], int]
    arena: tuple[tuple[int, int, tuple[Named, ...]], ...]
    outside: tuple[Named, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    output_gradients: Mapping[str, str] = field(default_factory=dict)
    backward: Callable[..., None] | None = None
    sample: Callable[..., None] | None = None


class Memories:
    """The memories of a program that nobody uses at the moment: a call borrows one for itself."""

    def __init__(self, program: Program, dtype: np.dtype[Any]) -> None:
        self.program, self.dtype = program, dtype
        self._free: list[Memory] = []

    @contextmanager
    def borrowed(self) -> Iterator[Memory]:
        """That of a call before, or a new one; what an exception comes out of is not lent again."""
        try:
            memory = self._free.pop()
        except IndexError:  # it takes one step: no other thread comes between
            memory = Memory(self.program, self.dtype)
        yield memory
        self._free.append(memory)


class Memory:
    """Buffers of a program by name; those of a batch size are kept until a larger one comes."""

    def __init__(self, program: Program, dtype: np.dtype[Any]) -> None:
        self.program, self.dtype = program, dtype
        self.arena: Array = np.empty(0, dtype)
        self.scratch: Array = np.empty(0, dtype)
        self._bound: dict[tuple[int, int], dict[str, Array]] = {}

    def bind(self, batch: int) -> dict[str, Array]:
        """The buffers for a batch size."""
        key = (batch, parallel.threads())  # scratch is shared out among the threads
        if key in self._bound:
            return self._bound[key]
        program, unit = self.program, ALIGNMENT // self.dtype.itemsize
        sizes = [
            -(-max(_elements(buffer, batch) for buffer in buffers) // unit) * unit
            for _, _, buffers in program.arena
        ]
        offsets, total = place(sizes, [(first, last) for first, last, _ in program.arena])
        if total > len(self.arena):
            self.arena = _aligned(total, self.dtype)
            self._bound.clear()
        scratch = program.scratch(batch)
        if scratch > len(self.scratch):
            self.scratch = _aligned(scratch, self.dtype)
        bound = {b[0]: np.empty(_shape(b, batch), self.dtype) for b in program.outside}
        for (_, _, buffers), offset in zip(program.arena, offsets, strict=True):
            for buffer in buffers:
                part = self.arena[offset : offset + _elements(buffer, batch)]
                bound[buffer[0]] = part.reshape(_shape(buffer, batch))
        while len(self._bound) >= REMEMBERED:
            del self._bound[next(iter(self._bound))]
        self._bound[key] = bound
        return bound


def _shape(buffer: Named, batch: int) -> tuple[int, ...]:
    _, shape, batched = buffer
    return (batch, *shape) if batched else shape


def _elements(buffer: Named, batch: int) -> int:
    return prod(_shape(buffer, batch))


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    memory = np.empty(size + ALIGNMENT // dtype.itemsize, dtype)
    skip = -memory.ctypes.data % ALIGNMENT // dtype.itemsize
    return memory[skip : skip + size]
