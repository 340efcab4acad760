"""Kernels of the backward pass, and those that see all images of a batch at once."""

from __future__ import annotations

from netspec.compiler.c_backend.forms.windows import pads, volume
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


def conv_backward_weight(call: KernelCall) -> list[str] | None:
    """Of signals and pictures, the sum over the batch."""
    window = _window(call, call.shape(0), call.shape(1), call.shape(2)[2:])
    if window is None:
        return None
    return c_call("conv_backward_weight", *map(call.pointer, range(3)), call.count, *window)


def conv_backward_input(call: KernelCall) -> list[str] | None:
    """Of signals and pictures."""
    window = _window(call, call.shape(2), call.shape(0), call.shape(1)[2:])
    if window is None:
        return None
    return c_call("conv_backward_input", *map(call.pointer, range(3)), *window)


def _window(
    call: KernelCall, x: tuple[int, ...], y: tuple[int, ...], kernel: tuple[int, ...]
) -> tuple[int, ...] | None:
    if len(x) == 4:
        return None
    return (
        *volume(x[:-1], 1)[1:], x[-1], *volume(y[:-1], 1)[1:], y[-1], *volume(kernel, 1)[1:],
        *volume(call.ints("stride"), 1)[1:], *pads(call)[::2][1:],
        *volume(call.ints("dilation"), 1)[1:], call.whole("groups"),
    )  # fmt: skip


def max_pool_backward(call: KernelCall) -> list[str] | None:
    """Of signals and pictures."""
    x, y = call.shape(0), call.shape(1)
    if len(x) == 4:
        return None
    return c_call(
        "max_pool_backward", *map(call.pointer, range(4)),
        *volume(x[:-1], 1)[1:], x[-1], *volume(y[:-1], 1)[1:],
        *volume(call.ints("kernel"), 1)[1:], *volume(call.ints("stride"), 1)[1:],
        *pads(call)[::2][1:], *volume(call.ints("dilation"), 1)[1:],
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


def running_scale_shift(call: KernelCall) -> list[str]:
    """What a batch norm is in evaluation, where the parameters are not constant."""
    return c_call(
        "running_scale_shift", *map(call.pointer, range(6)), call.size(2), call.real("eps")
    )


def fold_into(call: KernelCall) -> list[str]:
    """A batch norm in evaluation, folded into the layer before it."""
    filters = call.size(5)
    return c_call("fold_into", *map(call.pointer, range(6)), filters, call.size(0) // filters)
