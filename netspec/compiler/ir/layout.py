"""The order in which the axes of a value are stored, and which orders an op asks for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TypeVar

from netspec.compiler.ir.graph import Shape
from netspec.records import record

T = TypeVar("T")


@record(slots=True)
class Layout:
    """The axes of an image, counted from 1, in the order in which they are stored."""

    order: tuple[int, ...]

    @property
    def is_row_major(self) -> bool:
        """Whether the axes are stored in their own order."""
        return self.order == tuple(range(1, len(self.order) + 1))

    @property
    def inverse(self) -> tuple[int, ...]:
        """The position in storage of each axis, both counted from 1."""
        return tuple(self.position(axis) for axis in range(1, len(self.order) + 1))

    def position(self, axis: int) -> int:
        """Return the position in a stored array of an axis, counted from 1."""
        return self.order.index(axis) + 1

    def stored(self, items: Sequence[T]) -> tuple[T, ...]:
        """Return what is given for each axis, such as a shape, in the order of storage."""
        return tuple(items[axis - 1] for axis in self.order)

    def keeps_order(self, shape: Shape, other: Layout | None = None) -> bool:
        """Whether a value of this shape is the same numbers in memory as if it were stored by
        another layout, by default in row-major order: only axes of size 1 move.
        """
        wide = [axis for axis in self.order if shape[axis - 1] != 1]
        kept = other.order if other is not None else sorted(self.order)
        return wide == [axis for axis in kept if shape[axis - 1] != 1]


def row_major(rank: int) -> Layout:
    """Return the layout that stores the axes in their own order."""
    return Layout(tuple(range(1, rank + 1)))


def channels_last(rank: int) -> Layout:
    """Return the layout that stores the channels, the first axis, behind all others."""
    return Layout((*range(2, rank + 1), 1))


def usual_layout(rank: int) -> Layout:
    """Return how a value is stored unless an op asks for another layout: pictures channels last,
    others in row-major order.
    """
    return channels_last(rank) if rank == 3 else row_major(rank)


class Storage(Enum):
    """The layouts of its inputs and of its value that an op works with."""

    USUAL = "the usual ones"
    CHANNELS_LAST = "channels last, of any rank"
    ROW_MAJOR = "row-major order"
    KEPT = "all as the first input is stored"
    ANY = "inputs as they are stored, and the usual one for the value"

    def wanted(self, given: Sequence[Layout], rank: int) -> tuple[tuple[Layout, ...], Layout]:
        """Return the layouts in which inputs stored as `given` are wanted, and that of the value,
        which has `rank` axes.
        """
        if self is Storage.KEPT:
            return (given[0],) * len(given), given[0]
        if self is Storage.ANY:
            return tuple(given), usual_layout(rank)
        make = {Storage.CHANNELS_LAST: channels_last, Storage.ROW_MAJOR: row_major}
        one = make.get(self, usual_layout)
        return tuple(one(len(layout.order)) for layout in given), one(rank)
