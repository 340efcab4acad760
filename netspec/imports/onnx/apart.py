"""An operator that does several things at once, as several that do one each, which layers can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netspec.compiler.ir.onnx_read import FileAttributes, FileOperator, FileValue
from netspec.compiler.ir.op import BATCH
from netspec.compiler.ir.sizes import Dim
from netspec.imports.onnx.constants import Constants

# What exporters write for an end that is left out, and more.
_NO_END = 1 << 30

_Cut = tuple[int, Dim, Dim, int]


def apart(op: FileOperator, constants: Constants, batch: int | None) -> Sequence[FileOperator]:
    """Return the operators that an operator stands for, in order; mostly it alone.

    A `Slice` along several axes is one for each. Axes of which it keeps all are left out.

    Args:
        op: the operator.
        constants: what is known of the values before it.
        batch: the size of the batch, if the file has a fixed one.
    """
    cuts = _cuts(op, constants, batch)
    x = op.given(0)
    if cuts is None or x is None:
        return (op,)
    if not cuts:
        return (_with(op, "Identity", (x,), op.outputs),)
    found: list[FileOperator] = []
    for i, (axis, start, end, step) in enumerate(cuts, 1):
        outputs = op.outputs if i == len(cuts) else (FileValue(""),)
        given = (constants.of_sizes((size,)) for size in (start, end, axis, step))
        found.append(_with(op, "Slice", (x, *given), outputs))
        (x,) = outputs
    return found


def _with(
    op: FileOperator, operator: str, inputs: tuple[FileValue | None, ...],
    outputs: tuple[FileValue, ...],
) -> FileOperator:  # fmt: skip
    made = replace(
        op, operator=operator, inputs=inputs, outputs=outputs, attributes=FileAttributes({})
    )
    for value in outputs:
        value.maker = made
    return made


def _cuts(op: FileOperator, constants: Constants, batch: int | None) -> list[_Cut] | None:
    """Return what a `Slice` cuts along each axis; None for another operator, or for a single cut."""
    x = op.given(0)
    if op.operator != "Slice" or x is None or x.shape is None or len(op.outputs) != 1:
        return None
    sizes: tuple[Dim, ...] = (BATCH if batch is None else batch, *x.shape)
    starts, ends = (constants.sizes(op.given(i)) for i in (1, 2))
    if starts is None or ends is None:
        return None
    axes = constants.sizes(op.given(3)) if op.given(3) else range(len(starts))
    steps = constants.sizes(op.given(4)) if op.given(4) else (1,) * len(starts)
    if axes is None or steps is None:
        return None
    if not len(starts) == len(ends) == len(axes) == len(steps):
        return None
    found: list[_Cut] = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if not isinstance(axis, int) or not isinstance(step, int):
            return None
        axis = axis + len(sizes) if axis < 0 else axis
        if not 0 <= axis < len(sizes):
            return None
        if start != 0 or step != 1 or not _is_whole(end, sizes[axis]):
            found.append((axis, start, end, step))
    keeps_all = not found and axes[0] != 0
    return None if keeps_all or len(starts) == len(found) == 1 else found


def _is_whole(end: Dim, size: Dim) -> bool:
    """Whether a cut to `end` reaches the end of an axis."""
    if end == size:
        return True
    return isinstance(end, int) and (end > _NO_END or (isinstance(size, int) and end >= size))
