"""Convolutions and pools: kernels that go over windows of signals, pictures and volumes."""

from __future__ import annotations

import math

import numpy as np

from netspec.compiler.c_backend.kernel_call import Array, KernelCall, c_call

# Filters in a block; the library's functions are written for this many.
BLOCK = 8


def in_blocks(weight: Array, groups: int = 1, block: int = BLOCK) -> Array:
    """Return a weight (O, ..., I), I innermost, as (groups, blocks, ..., I, block), with zeros behind the
    last filter of a group.
    """
    each = len(weight) // groups
    blocks = -(-each // block)
    padded = np.zeros((groups, blocks * block, *weight.shape[1:]))
    padded[:, :each] = weight.reshape(groups, each, *weight.shape[1:])
    return np.moveaxis(padded.reshape(groups, blocks, block, *weight.shape[1:]), 2, -1)


def packed_filters(call: KernelCall, index: int, groups: int) -> str:
    """Return the filters (O, I / groups, ...) of a layer in blocks of eight: a constant, or scratch
    memory that they are copied to before.
    """
    weight = call.values(index)
    if weight is not None:
        stored = in_blocks(np.moveaxis(weight, 1, -1), groups)
        return call.memory.constant(call.name(index), stored)
    filters, seen, *kernel = call.shape(index)
    blocks = groups * -(-filters // groups // BLOCK)
    packed = call.memory.scratch(blocks * BLOCK * seen * math.prod(kernel))
    call.before.extend(
        c_call(
            "pack_filters", call.pointer(index), packed,
            filters, seen, math.prod(kernel), groups,
        )
    )  # fmt: skip
    return packed


def packed_taps(call: KernelCall, index: int) -> str:
    """Return the filters (O, C, ...) of a layer as (O, ..., C): a constant, or scratch memory that they
    are copied to before.
    """
    weight = call.values(index)
    if weight is not None:
        return call.memory.constant(call.name(index), np.moveaxis(weight, 1, -1))
    filters, channels, *kernel = call.shape(index)
    packed = call.memory.scratch(call.size(index))
    taps = math.prod(kernel)
    call.before.extend(c_call("pack_taps", call.pointer(index), packed, filters, channels, taps))
    return packed


def one_filter_each(call: KernelCall, index: int) -> str:
    """Return the filters (C, 1, ...) of a depthwise layer as (..., C), as above."""
    weight = call.values(index)
    if weight is not None:
        return call.memory.constant(call.name(index), np.moveaxis(weight[:, 0], 0, -1))
    channels, taps = call.shape(index)[0], math.prod(call.shape(index)[2:])
    packed = call.memory.scratch(call.size(index))
    call.before.extend(c_call("transpose", call.pointer(index), packed, channels, taps))
    return packed


def volume(items: tuple[int, ...], one: int) -> tuple[int, ...]:
    """Return numbers for three axes, where those that a signal or a picture lacks are `one`."""
    return (one,) * (3 - len(items)) + items


def pads(call: KernelCall) -> tuple[int, ...]:
    """Return the padding before and after each of three axes."""
    given = call.ints("pad")
    return (0,) * (6 - len(given)) + given


def conv(call: KernelCall) -> list[str]:
    """A picture's filters in blocks of eight, or one for each channel, or those of a volume."""
    x, y = call.shape(0), call.shape(3)
    shape = call.shape(1)
    (depth, height, width), (y_depth, y_height, y_width) = volume(x[:-1], 1), volume(y[:-1], 1)
    stride, dilation = volume(call.ints("stride"), 1), volume(call.ints("dilation"), 1)
    kernel = volume(shape[2:], 1)
    starts, groups = pads(call)[::2], call.whole("groups")
    if len(x) == 4:
        return c_call(
            "conv_volume", call.pointer(0), packed_taps(call, 1), call.pointer(2), call.pointer(3),
            depth, height, width, x[-1], y_depth, y_height, y_width, y[-1],
            *kernel, *stride, *starts, *dilation, groups,
        )  # fmt: skip
    if shape[1] == 1 and groups == shape[0]:
        return c_call(
            "depthwise_conv", call.pointer(0), one_filter_each(call, 1), *map(call.pointer, (2, 3)),
            height, width, x[-1], y_height, y_width,
            *kernel[1:], *stride[1:], *starts[1:], *dilation[1:],
        )  # fmt: skip
    filters = packed_filters(call, 1, groups)
    return c_call(
        "conv", call.pointer(0), filters, call.pointer(2), call.pointer(3),
        height, width, x[-1], y_height, y_width, y[-1],
        *kernel[1:], *stride[1:], *starts[1:], *dilation[1:], groups,
    )  # fmt: skip


def conv_transpose(call: KernelCall) -> list[str]:
    """One function for all ranks."""
    return spread(call, call.pointer(2), 3)


def spread(call: KernelCall, bias: str, target: int) -> list[str]:
    """Each number of the first argument adds its products with the second to what it reaches."""
    x, y = call.shape(0), call.shape(target)
    return c_call(
        "conv_transpose", call.pointer(0), packed_taps(call, 1), bias, call.pointer(target),
        *volume(x[:-1], 1), x[-1], *volume(y[:-1], 1), y[-1], *volume(call.shape(1)[2:], 1),
        *volume(call.ints("stride"), 1), *pads(call)[::2], *volume(call.ints("dilation"), 1),
        call.whole("groups"),
    )  # fmt: skip


def max_pool(call: KernelCall) -> list[str]:
    """Of a picture, or of a volume."""
    x, y = call.shape(0), call.shape(1)
    sizes, y_sizes = volume(x[:-1], 1), volume(y[:-1], 1)
    kernel, stride = volume(call.ints("kernel"), 1), volume(call.ints("stride"), 1)
    starts, dilation = pads(call)[::2], volume(call.ints("dilation"), 1)
    if len(x) == 4:
        return c_call(
            "max_pool_volume", call.pointer(0), call.pointer(1),
            *sizes, x[-1], *y_sizes, *kernel, *stride, *starts, *dilation,
        )  # fmt: skip
    return c_call(
        "max_pool", call.pointer(0), call.pointer(1), *sizes[1:], x[-1], *y_sizes[1:],
        *kernel[1:], *stride[1:], *starts[1:], *dilation[1:],
    )  # fmt: skip


def avg_pool(call: KernelCall) -> list[str]:
    """One function for all ranks."""
    return _avg_pool("avg_pool", call, call.shape(0), call.shape(1))


def avg_pool_backward(call: KernelCall) -> list[str]:
    """One function for all ranks."""
    return _avg_pool("avg_pool_backward", call, call.shape(1), call.shape(0))


def _avg_pool(function: str, call: KernelCall, x: tuple[int, ...], y: tuple[int, ...]) -> list[str]:
    divisor = call.step.options.get("divisor")
    return c_call(
        function, call.pointer(0), call.pointer(1),
        *volume(x[:-1], 1), x[-1], *volume(y[:-1], 1),
        *volume(call.ints("kernel"), 1), *volume(call.ints("stride"), 1), *pads(call),
        call.whole("count_include_pad"), 0 if divisor is None else call.whole("divisor"),
    )  # fmt: skip


def global_avg_pool(call: KernelCall) -> list[str]:
    """The mean of each channel."""
    x = call.shape(0)
    return c_call("global_avg_pool", call.pointer(0), call.pointer(1), math.prod(x[:-1]), x[-1])


def adaptive_avg_pool(call: KernelCall) -> list[str]:
    """One function for all ranks."""
    return _adaptive("adaptive_avg_pool", call)


def adaptive_max_pool(call: KernelCall) -> list[str]:
    """One function for all ranks."""
    return _adaptive("adaptive_max_pool", call)


def adaptive_avg_pool_backward(call: KernelCall) -> list[str]:
    """One function for all ranks."""
    return _adaptive("adaptive_avg_pool_backward", call, 1, 0)


def adaptive_max_pool_backward(call: KernelCall) -> list[str]:
    """One function for all ranks."""
    return _adaptive("adaptive_max_pool_backward", call, 0, 1)


def _adaptive(function: str, call: KernelCall, of_x: int = 0, of_y: int = 1) -> list[str]:
    x, y = call.shape(of_x), call.shape(of_y)
    given = range(len(call.step.arguments))
    return c_call(
        function, *map(call.pointer, given), *volume(x[:-1], 1), x[-1], *volume(y[:-1], 1)
    )


def unfold(call: KernelCall) -> list[str]:
    """The windows of a picture as columns."""
    return _columns("unfold", call, call.shape(0))


def fold(call: KernelCall) -> list[str]:
    """The sums of the columns that read the same place."""
    return _columns("fold", call, call.shape(1))


def _columns(function: str, call: KernelCall, picture: tuple[int, ...]) -> list[str]:
    height, width, channels = picture
    kernel, stride, dilation = call.ints("kernel"), call.ints("stride"), call.ints("dilation")
    top, bottom, left, right = call.ints("pad")
    sizes = zip(
        (height + top + bottom, width + left + right), kernel, stride, dilation, strict=True
    )
    counts = [(size - d * (k - 1) - 1) // s + 1 for size, k, s, d in sizes]
    return c_call(
        function, call.pointer(0), call.pointer(1), height, width, channels, *counts,
        *kernel, *stride, top, left, *dilation,
    )  # fmt: skip


def pad_edges(call: KernelCall) -> list[str]:
    """Padding from the picture itself."""
    return _edges("pad_edges", call, call.shape(0), call.shape(1))


def pad_edges_backward(call: KernelCall) -> list[str]:
    """The sums over the places that were filled from the same one."""
    return _edges("pad_edges_backward", call, call.shape(1), call.shape(0))


def _edges(function: str, call: KernelCall, x: tuple[int, ...], y: tuple[int, ...]) -> list[str]:
    mode = ("reflect", "replicate", "circular").index(str(call.option("mode")))
    return c_call(
        function, call.pointer(0), call.pointer(1), *volume(x[:-1], 1), x[-1],
        *volume(y[:-1], 1), *pads(call)[::2], mode,
    )  # fmt: skip
