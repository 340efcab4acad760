"""The axes of values as a file counts them, and their positions in the stored arrays.

A file counts axes as PyTorch does: axis 0 is the batch, then come those of (C, H, W). How a value is
stored says its layout, which the plan has for each value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from netspec import codes
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.op import Fix, ShapeError

if TYPE_CHECKING:
    from netspec.compiler.ir.plan import Buffer, Lowering

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
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

    def keeps_order(self, shape: Shape) -> bool:
        """Whether a value of this shape is stored in row-major order of its axes all the same,
        because the axes that move have size 1.
        """
        wide = [axis for axis in self.order if shape[axis - 1] != 1]
        return wide == sorted(wide)


def row_major(rank: int) -> Layout:
    """Return the layout that stores the axes in their own order."""
    return Layout(tuple(range(1, rank + 1)))


def channels_last(rank: int) -> Layout:
    """Return the layout that stores the channels, the first axis, behind all others."""
    return Layout((*range(2, rank + 1), 1))


def usual_layout(rank: int) -> Layout:
    """Return how values are stored unless an op says otherwise: pictures channels last, others in
    row-major order.
    """
    return channels_last(rank) if rank == 3 else row_major(rank)


def resolve_axis(op: str, axis: int, shape: Shape, attribute: str = "axis") -> int:
    """Return an axis counted from 1. The file may count it from the end.

    Raises:
        ShapeError: `shape/axis`.
    """
    rank = len(shape)
    resolved = axis + rank + 1 if axis < 0 else axis
    if not 1 <= resolved <= rank:
        raise ShapeError(
            codes.SHAPE_AXIS,
            f"`{op}` on axis {axis}, but {show_shape(shape)} has the axes 1 to {rank}",
            blame=attribute,
            notes=("axis 0 is the batch",),
            fixes=(Fix(attribute, str(rank), f"the last axis is {rank}: `{attribute} = {rank}`"),),
        )
    return resolved


def axis_name(axis: int, rank: int) -> str:
    """Return the name of an axis, counted from 1."""
    return ("channels", "height", "width")[axis - 1] if rank == 3 else f"axis {axis}"


def to_planes(to: Lowering, source: Buffer, layout: Layout, shape: Shape, suffix: str) -> Buffer:
    """Return a buffer with the elements of a stored value in row-major order of its axes."""
    if layout.is_row_major:
        return source
    planes = to.buffer(suffix, shape)
    if layout.keeps_order(shape):
        to.view(planes, source)
    else:
        to.call("layout.to_channels_first", source, planes, writes=[planes])
    return planes


def from_planes(to: Lowering, planes: Buffer, target: Buffer, layout: Layout, shape: Shape) -> None:
    """Convert a value in row-major order, in `planes`, to its stored form in `target`."""
    if layout.keeps_order(shape):
        to.view(target, planes)
    else:
        to.call("layout.to_channels_last", planes, target, writes=[target])
