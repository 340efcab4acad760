"""Pictures and volumes of other sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from netspec.compiler.c_backend.forms.windows import volume
from netspec.compiler.c_backend.kernel_call import KernelCall, c_call
from netspec.compiler.ir.sizes import is_known
from netspec.kernels.upsample import taps_of, turned

# The tables of an axis are text in the file, and have a few numbers for each place.
_MOST_PLACES = 1 << 20


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


def resample(call: KernelCall) -> list[str] | None:
    """Axis by axis, with the places and weights that each output reads as tables."""
    return _resampled(call, back=False)


def resample_backward(call: KernelCall) -> list[str] | None:
    """The same with the tables of the transposed matrices."""
    return _resampled(call, back=True)


def _resampled(call: KernelCall, *, back: bool) -> list[str] | None:
    x, y = call.shape(0), call.shape(1)
    count = len(x) - 1
    between = [(*y[: i + 1], *x[i + 1 :]) for i in range(count)]
    lines, source, shape = [], call.pointer(0), x
    for axis, target in enumerate([*_between(call, between[:-1]), call.pointer(1)]):
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        found = _along(call, axis, (source, target), (outer, x[axis], inner, y[axis]), back=back)
        if found is None:
            return None
        lines += found
        source, shape = target, between[axis]
    return lines


def _between(call: KernelCall, shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """Return the pointers to scratch memory for arrays of these shapes, one behind the other."""
    sizes = [math.prod(shape) for shape in shapes]
    scratch = call.memory.scratch(sum(sizes)) if sizes else ""
    return [f"{scratch} + {sum(sizes[:i])}" if i else scratch for i in range(len(sizes))]


def _along(
    call: KernelCall, axis: int, pointers: tuple[str, str], sizes: tuple[int, ...], *, back: bool
) -> list[str] | None:
    """Return the call for an axis: outer, size, inner, outputs; None if it needs other numbers, or
    very many.
    """
    outer, size, inner, outputs = sizes
    mode, corners = str(call.option("mode")), bool(call.option("align_corners"))
    factors = cast("tuple[float | None, ...] | None", call.option("scale"))
    scale = None if factors is None else factors[axis]
    if not is_known((size, outputs)):
        if not mode.endswith("linear"):
            return None
        factor = "0" if scale is None else repr(float(scale))
        return c_call("interpolate", *pointers, factor, *sizes, int(corners))
    small, large = (outputs, size) if back else (size, outputs)
    if large > _MOST_PLACES:
        return None
    taps = taps_of(small, large, mode=mode, align_corners=corners, scale=scale)
    at, weights = turned(taps, small) if back else taps
    name = f"{call.step.node}.{'back' if back else 'axis'}{axis + 1}"
    source, target = pointers
    return c_call(
        "resample", source, call.memory.places(f"{name}.at", at),
        call.memory.constant(f"{name}.weights", weights), target,
        outer, size, inner, outputs, at.shape[1],
    )  # fmt: skip
