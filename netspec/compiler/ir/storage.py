"""The axes of values as a file counts them, and their positions in the stored arrays.

A file counts axes as PyTorch does: axis 0 is the batch, then come those of (C, H, W). A picture is
stored channels last, every other value in the order of its axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.op import Fix, ShapeError

if TYPE_CHECKING:
    from netspec.compiler.ir.plan import Buffer, Lowering


def physical(shape: Shape) -> tuple[int, ...]:
    """Return the shape in which a value is stored: channels last for pictures."""
    if len(shape) == 3:
        channels, height, width = shape
        return (height, width, channels)
    return shape


def order(rank: int) -> tuple[int, ...]:
    """Return the axes of an image, counted from 1, in the order in which they are stored."""
    return physical(tuple(range(1, rank + 1)))


def position(axis: int, rank: int) -> int:
    """Return the position in a stored array of an axis, counted from 1."""
    return order(rank).index(axis) + 1


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


def in_order(shape: Shape) -> bool:
    """Whether a value is stored in row-major order of its axes: channels first and last are then
    the same.
    """
    return len(shape) != 3 or shape[0] == 1 or shape[1:] == (1, 1)


def to_planes(to: Lowering, source: Buffer, shape: Shape, suffix: str) -> Buffer:
    """Return a buffer with the elements of a stored value in row-major order of (C, H, W)."""
    if len(shape) != 3:
        return source
    planes = to.buffer(suffix, shape)
    if in_order(shape):
        to.view(planes, source)
    else:
        to.call("layout.to_channels_first", source, planes, writes=[planes])
    return planes


def from_planes(to: Lowering, planes: Buffer, target: Buffer, shape: Shape) -> None:
    """Convert a value in row-major order, in `planes`, to its stored form in `target`."""
    if in_order(shape):
        to.view(target, planes)
    else:
        to.call("layout.to_channels_last", planes, target, writes=[target])
