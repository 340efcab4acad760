"""Passes of machine code whose arguments are made once, because that takes as long as a small layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.records import record

Array = NDArray[Any]

# Inputs of so many bytes at most are copied: to ask for the place of an array takes as long.
COPIED = 1 << 14


@record
class Prepared:
    """A call of a pass.

    Attributes:
        arrays: those that the pass works on, but for what is in the arena; None for one that is not
            there.
        members: how many threads may run it.
        table: where all arrays are.
        run: runs it.
    """

    arrays: Sequence[Array | None]
    members: int
    table: NDArray[np.uintp]
    run: Callable[[], None]

    def is_for(self, arrays: Sequence[Array | None], members: int) -> bool:
        """Whether it works on these arrays, with so many threads."""
        return self.members == members and all(map(is_, self.arrays, arrays))


class ReadyForward:
    """A forward pass; see `netspec.runtime.engine.program.Ready`.

    Args:
        prepared: a call of it that nobody else makes.
        given: where the pointers to inputs are that may be to any array.
        buffers: the memory that it works in.
    """

    def __init__(
        self, prepared: Prepared, given: Mapping[str, int], buffers: Mapping[str, Array]
    ) -> None:
        self.run = prepared.run
        self._table, self._given, self._buffers = prepared.table, given, buffers

    def give(self, name: str, array: Array) -> None:
        """Have the pass read an input from an array that stays until it has run, or from a copy."""
        place = self._given.get(name) if array.nbytes > COPIED else None
        if place is not None and array.flags.c_contiguous and array.flags.aligned:
            self._table[place] = array.ctypes.data
            return
        own = self._buffers[name]
        own[...] = array
        if place is not None:  # the last array was read where it was
            self._table[place] = own.ctypes.data
