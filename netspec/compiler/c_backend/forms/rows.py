"""Products of matrices, attention, and what normalizes rows."""

from __future__ import annotations

import math

import numpy as np

from netspec.compiler.c_backend.forms.windows import BLOCK, in_blocks, packed_filters
from netspec.compiler.c_backend.kernel_call import KernelCall, c_call
from netspec.compiler.c_backend.loops import Axis, merged, nested, place, steps_of
from netspec.compiler.ir.plan import Buffer, Marker


def linear(call: KernelCall) -> list[str]:
    """The weight in blocks of eight outputs."""
    outputs, inputs = call.shape(1)
    filters = packed_filters(call, 1, 1)
    return c_call(
        "linear", call.pointer(0), filters, call.pointer(2), call.pointer(3),
        call.rows(0, inputs), inputs, outputs,
    )  # fmt: skip


def projection(call: KernelCall) -> list[str]:
    """The same, with a third of the weight and of the bias."""
    third, (size, inputs) = _third(call, 1)
    weight, bias = call.values(1), call.values(2)
    if weight is not None and bias is not None:
        part = slice(third * size, (third + 1) * size)
        what = ("query", "key", "value")[third]
        added = call.memory.constant(f"{call.name(2)}.{what}", bias[part])
        stored = call.memory.constant(f"{call.name(1)}.{what}", in_blocks(weight[part]))
    else:
        stored = call.memory.scratch(-(-size // BLOCK) * BLOCK * inputs)
        added = moved(call.pointer(2), third * size)
        own = moved(call.pointer(1), third * size * inputs)
        call.before.extend(c_call("pack_filters", own, stored, size, inputs, 1, 1))
    return c_call(
        "linear", call.pointer(0), stored, added, call.pointer(3),
        call.rows(0, inputs), inputs, size,
    )  # fmt: skip


def projection_backward_input(call: KernelCall) -> list[str]:
    """All rows of the batch, with a third of the weight."""
    third, (size, inputs) = _third(call, 1)
    return c_call(
        "linear_backward_input", call.pointer(0), moved(call.pointer(1), third * size * inputs),
        call.pointer(2), call.rows(0, size), inputs, size,
    )  # fmt: skip


def projection_backward_parameters(call: KernelCall) -> list[str]:
    """The three thirds of weight and bias, each the sum over all rows of the batch."""
    _, (size, inputs) = _third(call, 6)
    lines = []
    for third in range(3):
        rows, x, dy = call.rows(third, inputs), call.pointer(third), call.pointer(3 + third)
        dweight = moved(call.pointer(6), third * size * inputs)
        dbias = moved(call.pointer(7), third * size)
        lines += c_call("linear_backward_weight", x, dy, dweight, rows, inputs, size)
        lines += c_call("sum_of_rows", dy, dbias, rows, size)
    return lines


def _third(call: KernelCall, index: int) -> tuple[int, tuple[int, int]]:
    """Return which third of a weight is meant, and the sizes of a third."""
    thrice, inputs = call.shape(index)
    return call.whole("third") if "third" in call.step.options else 0, (thrice // 3, inputs)


def matmul(call: KernelCall) -> list[str]:
    """One product after the other."""
    *outer, rows, inner = call.shape(0)
    return c_call(
        "matmul", call.pointer(0), call.pointer(1), call.pointer(2),
        math.prod(outer), rows, inner, call.shape(1)[-1],
    )  # fmt: skip


def matmul_backward_left(call: KernelCall) -> list[str]:
    """One product after the other."""
    *outer, rows, columns = call.shape(0)
    return c_call(
        "matmul_backward_left", *map(call.pointer, range(3)),
        math.prod(outer), rows, call.shape(1)[-2], columns,
    )  # fmt: skip


def matmul_backward_right(call: KernelCall) -> list[str]:
    """One product after the other."""
    *outer, rows, inner = call.shape(0)
    return c_call(
        "matmul_backward_right", *map(call.pointer, range(3)),
        math.prod(outer), rows, inner, call.shape(1)[-1],
    )  # fmt: skip


def attention(call: KernelCall) -> list[str]:
    """One query after the other."""
    keys = call.shape(1)[-2]
    pointers = (*map(call.pointer, range(7)), call.memory.scratch(keys))
    return c_call("attention", *pointers, *_heads(call))


def attention_backward(call: KernelCall) -> list[str]:
    """One query after the other: its shares are computed again."""
    keys = call.shape(1)[-2]
    scratch = call.memory.scratch(2 * keys)
    pointers = (*map(call.pointer, range(11)), scratch, f"{scratch} + {keys}")
    return c_call("attention_backward", *pointers, *_heads(call))


def _heads(call: KernelCall) -> tuple[int, ...]:
    *outer, queries, width = call.shape(0)
    keys, v_width = call.shape(2)[-2:]
    biases, masks = (
        math.prod(call.shape(index)[:-2]) if call.has(index) else 0 for index in (3, 4)
    )
    rows = call.shape(4)[-2] if call.has(4) else 1
    whole = math.prod(outer)
    return whole, queries, keys, width, v_width, biases, masks, rows, call.whole("causal")


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
    return _each_set(call, "normalize", (0, 2, 3, 4, 5, 6), call.real("eps"))


def normalize_backward(call: KernelCall) -> list[str] | None:
    """The same; what it adds to the gradients of weight and bias begins with 0."""
    for index in (6, 7):
        if call.has(index):
            call.before.extend(c_call("fill", call.pointer(index), call.size(index), "0"))
    return _each_set(call, "normalize_backward", (0, 1, 3, 4, 5, 6, 7, 8))


def _each_set(
    call: KernelCall, function: str, arguments: tuple[int, ...], *last: str
) -> list[str] | None:
    split, over = call.ints("split"), call.ints("over")
    steps = {"weight": _parameter_steps(call), "image": steps_of(split)}
    statistic = tuple(1 if i + 1 in over else n for i, n in enumerate(split))
    steps["set"] = tuple(0 if i + 1 in over else step for i, step in enumerate(steps_of(statistic)))
    walked = zip(steps["image"], steps["weight"], steps["set"], strict=True)
    axes = [Axis(n, tuple(each)) for n, each in zip(split, walked, strict=True)]
    within = merged([axis for i, axis in enumerate(axes) if i + 1 in over])
    between = merged([axis for i, axis in enumerate(axes) if i + 1 not in over])
    if len(within) > 2:
        return None
    one, two = [*within, Axis(1, (0, 0)), Axis(1, (0, 0))][:2]

    def body(names: list[str]) -> list[str]:
        def pointer(index: int) -> str:
            if not call.has(index):
                return "0"
            of = _walked_as(call, index, split, statistic)
            terms = [(n, axis.steps[of]) for n, axis in zip(names, between, strict=True)]
            return moved(call.pointer(index), place(terms))

        return c_call(
            function, *map(pointer, arguments), one.size, *one.steps[:2], two.size, *two.steps[:2],
            *last,
        )  # fmt: skip

    return nested(between, body)


def _walked_as(
    call: KernelCall, index: int, split: tuple[int, ...], statistic: tuple[int, ...]
) -> int:
    """Return which step of an axis an argument has: that of an image, a parameter or a statistic."""
    operand = call.operand(index)
    if not (isinstance(operand, Buffer) and operand.batched):
        return 1
    return 2 if operand.shape == statistic != split else 0


def moved(pointer: str, offset: str | int) -> str:
    """Return the pointer that lies behind another."""
    return pointer if "0" in (pointer, str(offset)) else f"{pointer} + {offset}"


def _parameter_steps(call: KernelCall) -> tuple[int, ...]:
    affine = call.ints("affine")
    found = (i for i in range(len(call.step.arguments)) if _is_parameter(call, i))
    index = next(found, None)
    if index is None:
        return (0,) * len(affine)
    shape = call.shape(index)
    order = call.ints("order")
    numbered = np.arange(math.prod(shape)).reshape(shape).transpose(order).reshape(affine)
    return tuple(
        int(np.take(numbered, 1, axis).flat[0]) if size > 1 else 0
        for axis, size in enumerate(affine)
    )


def _is_parameter(call: KernelCall, index: int) -> bool:
    operand = call.step.arguments[index]
    if operand is None or isinstance(operand, Marker):
        return False
    return not (isinstance(operand, Buffer) and operand.batched)


def local_response_norm(call: KernelCall) -> list[str]:
    """By the squares of neighbouring channels."""
    *places, channels = call.shape(0)
    return c_call(
        "local_response_norm", *map(call.pointer, range(3)), math.prod(places), channels,
        call.whole("size"), call.real("alpha"), call.real("beta"), call.real("k"),
    )  # fmt: skip


def local_response_norm_backward(call: KernelCall) -> list[str]:
    """The same."""
    *places, channels = call.shape(0)
    return c_call(
        "local_response_norm_backward", *map(call.pointer, range(5)),
        math.prod(places), channels,
        call.whole("size"), call.real("alpha"), call.real("beta"),
    )  # fmt: skip
