"""Kernels of the backward pass, and those that see all images of a batch at once."""

from __future__ import annotations

import math

from netspec.compiler.c_backend.forms.windows import BLOCK, pads, spread, volume
from netspec.compiler.c_backend.kernel_call import KernelCall, c_call


def linear_backward_weight(call: KernelCall) -> list[str]:
    """The sum over all rows of the batch."""
    outputs, inputs = call.shape(2)
    return c_call(
        "linear_backward_weight",
        *map(call.pointer, range(3)),
        call.rows(0, inputs),
        inputs,
        outputs,
    )


def linear_backward_input(call: KernelCall) -> list[str]:
    """All rows of the batch."""
    outputs, inputs = call.shape(1)
    return c_call(
        "linear_backward_input",
        *map(call.pointer, range(3)),
        call.rows(0, outputs),
        inputs,
        outputs,
    )


def sum_of_rows(call: KernelCall) -> list[str]:
    """The gradient of a bias."""
    columns = call.size(1)
    return c_call("sum_of_rows", call.pointer(0), call.pointer(1), call.rows(0, columns), columns)


def conv_backward_weight(call: KernelCall) -> list[str]:
    """The sum over the batch."""
    return c_call(
        "conv_backward_weight", *map(call.pointer, range(3)), call.count,
        *_sizes(call, call.shape(0), call.shape(1)), call.shape(1)[-1],
        *volume(call.shape(2)[2:], 1), *_window(call), call.whole("groups"),
    )  # fmt: skip


def conv_backward_input(call: KernelCall) -> list[str]:
    """A convolution of the gradient, or, with strides and of volumes, its transpose."""
    filters, seen, *kernel = call.shape(1)
    if any(step != 1 for step in call.ints("stride")) or len(kernel) == 3:
        return spread(call, "0", 2)
    groups, taps = call.whole("groups"), math.prod(kernel)
    packed = call.memory.scratch(groups * -(-seen // BLOCK) * BLOCK * taps * filters // groups)
    call.before.extend(
        c_call("pack_filters_back", call.pointer(1), packed, filters, seen, taps, groups)
    )
    (_, high, wide), (_, row, column) = volume(tuple(kernel), 1), volume(call.ints("dilation"), 1)
    _, top, left = pads(call)[::2]
    (_, y_height, y_width), (_, height, width) = (
        volume(call.shape(index)[:-1], 1) for index in (0, 2)
    )
    return c_call(
        "conv", call.pointer(0), packed, "0", call.pointer(2),
        y_height, y_width, filters, height, width, groups * seen, high, wide, 1, 1,
        row * (high - 1) - top, column * (wide - 1) - left, row, column, groups,
    )  # fmt: skip


def _sizes(call: KernelCall, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
    return (*volume(x[:-1], 1), x[-1], *volume(y[:-1], 1))


def _window(call: KernelCall) -> tuple[int, ...]:
    return (*volume(call.ints("stride"), 1), *pads(call)[::2], *volume(call.ints("dilation"), 1))


def max_pool_backward(call: KernelCall) -> list[str]:
    """One function for all ranks."""
    return c_call(
        "max_pool_backward", *map(call.pointer, range(4)),
        *_sizes(call, call.shape(0), call.shape(1)), *volume(call.ints("kernel"), 1), *_window(call),
    )  # fmt: skip


def global_avg_pool_backward(call: KernelCall) -> list[str]:
    """An equal share for each place."""
    channels = call.shape(1)[-1]
    return c_call(
        "global_avg_pool_backward", call.pointer(0), call.pointer(1),
        call.size(1) // channels, channels,
    )  # fmt: skip


def broadcast_sum(call: KernelCall) -> list[str]:
    """The gradient of a parameter that elementwise code broadcasts."""
    size, after = call.size(2), call.whole("after")
    return c_call(
        "broadcast_sum", *map(call.pointer, range(3)), call.rows(1, size * after), size, after
    )


def over_batch(call: KernelCall) -> list[str]:
    """The gradient of an array that each image reads."""
    return c_call("sum_of_rows", call.pointer(0), call.pointer(1), call.count, call.size(1))


def batch_statistics(call: KernelCall) -> list[str]:
    """The mean and variance of a batch. The number of batches is not counted."""
    channels = call.shape(0)[-1]
    return c_call(
        "batch_statistics", *map(call.pointer, (0, 2, 3, 4, 5, 7, 8, 9, 10)),
        call.rows(0, channels), channels, call.real("eps"), call.real("momentum"),
    )  # fmt: skip


def batch_norm_backward(call: KernelCall) -> list[str]:
    """The gradients of weight and bias, and the vectors that make that of x."""
    channels = call.shape(0)[-1]
    return c_call(
        "batch_norm_backward", *map(call.pointer, (0, 1, 3, 4, 5, 6, 7, 8, 9, 10)),
        call.rows(0, channels), channels,
    )  # fmt: skip


def batch_norm_running_backward(call: KernelCall) -> list[str]:
    """The gradients of weight and bias where the statistics are constants."""
    channels = call.shape(0)[-1]
    return c_call(
        "batch_norm_running_backward", *map(call.pointer, (0, 1, 3, 4, 5, 6)),
        call.rows(0, channels), channels, call.real("eps"),
    )  # fmt: skip


def running_scale_shift(call: KernelCall) -> list[str]:
    """What a batch norm is in evaluation, where the parameters are not constant."""
    return c_call(
        "running_scale_shift", *map(call.pointer, range(6)), call.size(2), call.real("eps")
    )


def fold_into(call: KernelCall) -> list[str]:
    """A batch norm in evaluation, folded into the layer before it."""
    filters = call.size(5)
    return c_call("fold_into", *map(call.pointer, range(6)), filters, call.size(0) // filters)


def sample_mask(call: KernelCall) -> list[str]:
    """What dropout leaves; nothing if the probability is 1."""
    everything = f"{call.count} * {call.size(1)}"
    if call.option("p") == 1:
        return c_call("fill", call.pointer(1), everything, "0")
    return c_call("sample_mask", call.pointer(1), everything, call.real("p"))


def sample_normal(call: KernelCall) -> list[str]:
    """Standard normal numbers."""
    return c_call("sample_normal", call.pointer(1), f"{call.count} * {call.size(1)}")
