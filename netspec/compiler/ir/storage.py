"""The axes of values as a file counts them, and copies of stored values in row-major order.

A file counts axes as PyTorch does: axis 0 is the batch, then come those of (C, H, W).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.ir.attributes import MAX_AXES
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.layout import Layout
from netspec.compiler.ir.op import Fix, ShapeError

if TYPE_CHECKING:
    from netspec.compiler.ir.plan import Buffer, Lowering


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


def require_axis_free(shape: Shape) -> None:
    """Refuse to give one more axis to a value that has as many as there can be.

    Raises:
        ShapeError: `shape/axis`.
    """
    if len(shape) == MAX_AXES:
        message = f"{show_shape(shape)} has {MAX_AXES} axes already, and no value has more"
        raise ShapeError(codes.SHAPE_AXIS, message)


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
        to.call("copies.to_channels_first", source, planes, writes=[planes])
    return planes


def from_planes(to: Lowering, planes: Buffer, target: Buffer, layout: Layout, shape: Shape) -> None:
    """Convert a value in row-major order, in `planes`, to its stored form in `target`."""
    if layout.keeps_order(shape):
        to.view(target, planes)
    else:
        to.call("copies.to_channels_last", planes, target, writes=[target])
