"""Pictures and volumes of other sizes."""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from netspec.compiler.c_backend.forms.windows import volume
from netspec.compiler.c_backend.kernel_call import Array, KernelCall, c_call
from netspec.kernels.upsample import matrix_of


def nearest(call: KernelCall) -> list[str]:
    """Each place repeated."""
    return _nearest("nearest", call, call.shape(0))


def nearest_backward(call: KernelCall) -> list[str]:
    """The sum over the copies of each place."""
    return _nearest("nearest_backward", call, call.shape(1))


def _nearest(function: str, call: KernelCall, x: tuple[int, ...]) -> list[str]:
    return c_call(
        function, call.pointer(0), call.pointer(1), *volume(x[:-1], 1), x[-1],
        *volume(call.ints("scale"), 1),
    )  # fmt: skip


def resample(call: KernelCall) -> list[str]:
    """Axis by axis, with the places and weights that each output reads as tables."""
    return _resampled(call, back=False)


def resample_backward(call: KernelCall) -> list[str]:
    """The same with the tables of the transposed matrices."""
    return _resampled(call, back=True)


def _resampled(call: KernelCall, *, back: bool) -> list[str]:
    x, y = call.shape(0), call.shape(1)
    count = len(x) - 1
    factors = cast("tuple[float | None, ...]", call.option("scale") or (None,) * count)
    between = [(*y[: i + 1], *x[i + 1 :]) for i in range(count)]
    largest = max((math.prod(shape) for shape in between[:-1]), default=0)
    halves = [call.memory.scratch(2 * largest)] if largest else []
    halves += [f"{halves[0]} + {largest}"] if halves else []
    lines, source, shape = [], call.pointer(0), x
    for axis in range(count):
        small, large = (y[axis], x[axis]) if back else (x[axis], y[axis])
        matrix = matrix_of(
            small, large, mode=str(call.option("mode")),
            align_corners=bool(call.option("align_corners")), scale=factors[axis],
        )  # fmt: skip
        at, weights = _taps(matrix.T if back else matrix)
        target = call.pointer(1) if axis == count - 1 else halves[axis % 2]
        name = f"{call.step.node}.{'back' if back else 'axis'}{axis + 1}"
        lines += c_call(
            "resample", source, call.memory.places(f"{name}.at", at),
            call.memory.constant(f"{name}.weights", weights), target,
            math.prod(shape[:axis]), x[axis], math.prod(shape[axis + 1 :]), y[axis], at.shape[1],
        )  # fmt: skip
        source, shape = target, between[axis]
    return lines


def _taps(matrix: Array) -> tuple[Array, Array]:
    """Return the columns of the numbers in each row that are not 0, and the numbers."""
    count = max(int((matrix != 0).sum(axis=1).max()), 1)
    at = np.zeros((len(matrix), count), np.int64)
    weights = np.zeros((len(matrix), count))
    for row, numbers in enumerate(matrix):
        (columns,) = np.nonzero(numbers)
        at[row, : len(columns)] = columns
        weights[row, : len(columns)] = numbers[columns]
    return at, weights
