"""Products of matrices, attention, and what normalizes rows."""

from __future__ import annotations

import math

import numpy as np

from netspec.compiler.c_backend.forms.windows import blocks_of_eight, packed_filters
from netspec.compiler.c_backend.kernel_call import KernelCall, c_call
from netspec.compiler.c_backend.loops import Axis, merged, nested, place, steps_of


def linear(call: KernelCall) -> list[str]:
    """The weight in blocks of eight outputs."""
    outputs, inputs = call.shape(1)
    filters = packed_filters(call, 1, 1)
    return c_call(
        "linear", call.pointer(0), filters, call.pointer(2), call.pointer(3),
        call.rows(0, inputs), inputs, outputs,
    )  # fmt: skip


def projection(call: KernelCall) -> list[str] | None:
    """The same, with a third of the weight and of the bias."""
    weight, bias = call.values(1), call.values(2)
    if weight is None or bias is None:
        return None
    third, size = call.whole("third"), len(weight) // 3
    part = slice(third * size, (third + 1) * size)
    what = ("query", "key", "value")[third]
    added = call.memory.constant(f"{call.name(2)}.{what}", bias[part])
    stored = call.memory.constant(f"{call.name(1)}.{what}", blocks_of_eight(weight[part]))
    inputs = weight.shape[1]
    return c_call(
        "linear", call.pointer(0), stored, added, call.pointer(3),
        call.size(0) // inputs, inputs, size,
    )  # fmt: skip


def matmul(call: KernelCall) -> list[str]:
    """One product after the other."""
    *outer, rows, inner = call.shape(0)
    return c_call(
        "matmul", call.pointer(0), call.pointer(1), call.pointer(2),
        math.prod(outer), rows, inner, call.shape(1)[-1],
    )  # fmt: skip


def attention(call: KernelCall) -> list[str]:
    """One query after the other."""
    *outer, queries, width = call.shape(0)
    keys, v_width = call.shape(2)[-2:]
    biases, masks = (
        math.prod(call.shape(index)[:-2]) if call.has(index) else 0 for index in (3, 4)
    )
    rows = call.shape(4)[-2] if call.has(4) else 1
    return c_call(
        "attention", *map(call.pointer, (0, 1, 2, 3, 4, 6)), call.memory.scratch(keys),
        math.prod(outer), queries, keys, width, v_width, biases, masks, rows, call.whole("causal"),
    )  # fmt: skip


def softmax(call: KernelCall) -> list[str]:
    """Along one axis."""
    return _along("softmax", call)


def log_softmax(call: KernelCall) -> list[str]:
    """Along one axis."""
    return _along("log_softmax", call)


def softmax_backward(call: KernelCall) -> list[str]:
    """Along one axis."""
    return _along("softmax_backward", call, 3)


def log_softmax_backward(call: KernelCall) -> list[str]:
    """Along one axis."""
    return _along("log_softmax_backward", call, 3)


def _along(function: str, call: KernelCall, arrays: int = 2) -> list[str]:
    x, axis = call.shape(0), call.whole("axis") - 1
    outer, inner = math.prod(x[:axis]), math.prod(x[axis + 1 :])
    return c_call(function, *map(call.pointer, range(arrays)), outer, x[axis], inner)


def normalize(call: KernelCall) -> list[str] | None:
    """A call for each set of numbers that is normalized, in loops over the sets."""
    split, over, affine = call.ints("split"), call.ints("over"), call.ints("affine")
    walked, parameter = steps_of(split), _broadcast_steps(call, affine)
    axes = [Axis(n, pair) for n, *pair in zip(split, walked, parameter, strict=True)]  # type: ignore[arg-type]
    axes = [Axis(axis.size, tuple(axis.steps)) for axis in axes]
    within = merged([axis for i, axis in enumerate(axes) if i + 1 in over])
    between = merged([axis for i, axis in enumerate(axes) if i + 1 not in over])
    if len(within) > 2:
        return None
    one, two = [*within, Axis(1, (0, 0)), Axis(1, (0, 0))][:2]

    def body(names: list[str]) -> list[str]:
        at = place([(n, axis.steps[0]) for n, axis in zip(names, between, strict=True)])
        of = place([(n, axis.steps[1]) for n, axis in zip(names, between, strict=True)])
        weight, bias = (call.pointer(i) for i in (2, 3))
        return c_call(
            "normalize", _moved(call.pointer(0), at), _moved(weight, of), _moved(bias, of),
            _moved(call.pointer(4), at), one.size, *one.steps, two.size, *two.steps,
            call.real("eps"),
        )  # fmt: skip

    return nested(between, body)


def _moved(pointer: str, offset: str) -> str:
    return pointer if "0" in (pointer, offset) else f"{pointer} + {offset}"


def _broadcast_steps(call: KernelCall, affine: tuple[int, ...]) -> tuple[int, ...]:
    """Return the step of a parameter along each axis of the split image: 0 where it is broadcast."""
    index = next((i for i in (2, 3) if call.has(i)), None)
    if index is None:
        return (0,) * len(affine)
    shape = call.shape(index)
    order = call.ints("order")
    numbered = np.arange(math.prod(shape)).reshape(shape).transpose(order).reshape(affine)
    return tuple(
        int(np.take(numbered, 1, axis).flat[0]) if size > 1 else 0
        for axis, size in enumerate(affine)
    )


def local_response_norm(call: KernelCall) -> list[str]:
    """By the squares of neighbouring channels."""
    channels = call.shape(0)[-1]
    return c_call(
        "local_response_norm", call.pointer(0), call.pointer(1), call.size(0) // channels, channels,
        call.whole("size"), call.real("alpha"), call.real("beta"), call.real("k"),
    )  # fmt: skip
