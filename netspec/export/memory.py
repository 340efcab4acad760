"""The memory of a program in a standalone file: an arena shared by lifetime, for any batch size."""

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

# A buffer's name, its shape, and whether it also has a batch axis in front.
Named = tuple[str, tuple[int, ...], bool]

# Buffers do not share cache lines.
ALIGNMENT = 64

# For how many batch sizes buffers are kept.
REMEMBERED = 8


@dataclass(frozen=True)
class Program:
    """The functions of a program, and the arrays that they work in.

    Attributes:
        forward, backward, sample: its functions; `sample` draws random masks.
        scratch: returns the elements of working memory that kernels need for a batch size, given
            the current number of threads.
        arena: groups of buffers that share a place, with the first and last step that use it.
        outside: buffers with memory of their own.
        inputs, outputs, output_gradients: the names of their buffers, by the net's names.
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
    """The memories of a program that are not in use: a call borrows one exclusively."""

    def __init__(self, program: Program, dtype: np.dtype[Any]) -> None:
        self.program, self.dtype = program, dtype
        self._free: list[Memory] = []

    @contextmanager
    def borrowed(self) -> Iterator[Memory]:
        """Context manager: lend a memory of an earlier call, or a new one.

        After an exception it is dropped.
        """
        try:
            memory = self._free.pop()
        except IndexError:  # `pop` is atomic: no other thread can come between
            memory = Memory(self.program, self.dtype)
        yield memory
        self._free.append(memory)


class Memory:
    """The buffers of a program by name; those of a batch size are kept until a larger one is bound."""

    def __init__(self, program: Program, dtype: np.dtype[Any]) -> None:
        self.program, self.dtype = program, dtype
        self.arena: Array = np.empty(0, dtype)
        self.scratch: Array = np.empty(0, dtype)
        self._bound: dict[tuple[int, int], dict[str, Array]] = {}

    def bind(self, batch: int) -> dict[str, Array]:
        """Return the buffers for a batch size."""
        key = (batch, parallel.threads())  # scratch is divided among the threads
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
