"""The memory that a program works in, for one thread at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.plan import Buffer
from netspec.compiler.numpy_backend.memory_use import ALIGNMENT
from netspec.compiler.numpy_backend.passes.plan_memory import MemoryPlan
from netspec.kernels import parallel
from netspec.runtime.engine.code import Code
from netspec.runtime.engine.native.prepared import Prepared
from netspec.runtime.engine.recent import Recent
from netspec.runtime.engine.record.replay import Replay

Array = NDArray[Any]

# For how many batch sizes buffers and recordings are kept.
REMEMBERED = 8


class Buffers(dict[str, Array]):
    """Arrays by name. An input array is allocated on first use, because most callers put in their own.

    Attributes:
        code: the code that runs in them.
        batch: the number of images.
        part: of how many of them the values in between are there; see `Code.part`.
        copies: how many such parts the arena has, one behind the other.
        outside: the names of arrays that a caller may replace by its own.
        arena: the array that the others are parts of.
        scratch: working memory of the kernels.
        replays: by function of the program.
        prepared: calls of machine code on these arrays, by function.
    """

    def __init__(
        self,
        code: Code,
        batch: int,
        part: int,
        copies: int,
        outside: Collection[str],
        make: Callable[[str], Array],
        arena: Array,
        scratch: Array,
    ) -> None:
        super().__init__()
        self.code = code
        self.batch, self.part, self.copies = batch, part, copies
        self.outside = outside
        self.arena, self.scratch = arena, scratch
        self.replays = {"forward": Replay(), "backward": Replay()}
        self.prepared: dict[str, Prepared] = {}
        self._make = make

    def __missing__(self, name: str) -> Array:
        array = self[name] = self._make(name)
        return array


class BatchMemory:
    """Buffers of a program for any batch size.

    Those of different sizes share the memory of the largest.

    Args:
        code: returns the code for a batch size.
        dtype: the type of every array.
    """

    def __init__(self, code: Callable[[int], Code], dtype: np.dtype[Any]) -> None:
        self._code, self._dtype = code, dtype
        self.arena: Array = np.empty(0, dtype)
        self.scratch: Array = np.empty(0, dtype)
        self.bound: Recent[tuple[int, int], Buffers] = Recent(REMEMBERED)

    def bind(self, batch: int) -> Buffers:
        """Return the buffers for a batch size, by name.

        The caller replaces the input arrays or fills them.
        """
        # Scratch is divided among the threads.
        return self.bound.get((batch, parallel.threads()), lambda: self._make(batch))

    def _make(self, batch: int) -> Buffers:
        code = self._code(batch)
        part, copies = code.part(batch), code.copies(batch)
        offsets, each = layout(code.places, part, self._dtype)
        size = copies * each
        if size > len(self.arena):
            self.bound.clear()
            self.arena = _aligned(size, self._dtype)
        scratch = code.scratch_elements(batch)
        if scratch > len(self.scratch):
            self.bound.clear()
            self.scratch = _aligned(scratch, self._dtype)
        dtype = self._dtype
        given = {buffer.name: buffer for buffer in code.plan.inputs.values()}
        outside = dict.fromkeys([*given, *(buffer.name for buffer in code.places.external)])
        buffers = Buffers(
            code,
            batch,
            part,
            copies,
            outside,
            lambda name: np.empty(_shape(given[name], batch), dtype),
            self.arena,
            self.scratch,
        )
        for buffer, offset in offsets.items():
            flat = self.arena[offset : offset + buffer.elements(part)]
            buffers[buffer.name] = flat.reshape(_shape(buffer, part))
        for buffer in code.places.external:
            if buffer.name not in given:
                buffers[buffer.name] = np.empty(_shape(buffer, batch), dtype)
        return buffers


def layout(
    places: MemoryPlan, batch: int, dtype: np.dtype[Any]
) -> tuple[Mapping[Buffer, int], int]:
    """Return where each buffer begins in a batch size's arena, and the arena's length, in elements."""
    return places.layout(batch, ALIGNMENT // dtype.itemsize)


def _shape(buffer: Buffer, batch: int) -> tuple[int, ...]:
    return (batch, *buffer.shape) if buffer.batched else buffer.shape


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    extra = ALIGNMENT // dtype.itemsize
    memory = np.empty(size + extra, dtype)
    skip = -memory.ctypes.data % ALIGNMENT // dtype.itemsize
    return memory[skip : skip + size]
