"""Convolutions and pools of pictures, as the forms of the engine see them."""

from __future__ import annotations

from dataclasses import replace

from netspec.compiler.c_backend.forms.windows import pads, volume
from netspec.compiler.c_backend.kernel_call import KernelCall
from netspec.records import record

# Filters in a block of the engine's functions.
BLOCK = 16
# The numbers that a part of a picture should have at most: those that fit into a small cache.
PART = 8192


@record
class Picture:
    """A convolution of pictures: the sizes of x [height, width, channels] and of y, and the window."""

    x: tuple[int, ...]
    y: tuple[int, ...]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    start: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def part(self) -> tuple[int, int]:
        """The rows of y that are made at a time, and the numbers of x, padded, that they read."""
        wide = (self.y[1] - 1) * self.stride[1] + max(self.kernel[1] - 1, 0) * self.dilation[1] + 1
        reach = max(self.kernel[0] - 1, 0) * self.dilation[0] + 1
        row = wide * self.x[2]
        most = max((PART // row - reach) // self.stride[0] + 1, -(-reach // self.stride[0]), 1)
        parts = -(-self.y[0] // most)
        rows = -(-self.y[0] // parts)
        return rows, ((rows - 1) * self.stride[0] + reach) * row

    @property
    def is_depthwise(self) -> bool:
        """Whether each filter sees a channel of its own."""
        return self.groups == self.x[2] == self.y[2] and self.groups > 1

    def back(self) -> Picture:
        """Return the convolution of the gradient that has a stride of 1, for one that has it too."""
        high, wide = (
            (size - 1) * step - start
            for size, step, start in zip(self.kernel, self.dilation, self.start, strict=True)
        )
        return replace(self, x=self.y, y=self.x, start=(high, wide))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The sizes, as the functions of the library take them."""
        return (
            *self.x, *self.y, *self.kernel, *self.stride, *self.start, *self.dilation, self.groups,
        )  # fmt: skip


def picture_of(call: KernelCall, x: int, y: int, weight: int) -> Picture | None:
    """Return the convolution of a call, by the places of its arguments; None if it is one of volumes."""
    sizes, results, kernel = call.shape(x), call.shape(y), call.shape(weight)[2:]
    if not is_flat(sizes, results):
        return None
    (_, *of_x), (_, *of_y), (_, high, wide) = (
        volume(each, 1) for each in (sizes[:-1], results[:-1], tuple(kernel))
    )
    _, *stride = volume(call.ints("stride"), 1)
    _, *dilation = volume(call.ints("dilation"), 1)
    _, *start = pads(call)[::2]
    return Picture(
        (*of_x, sizes[-1]), (*of_y, results[-1]), (high, wide), (stride[0], stride[1]),
        (start[0], start[1]), (dilation[0], dilation[1]), call.whole("groups"),
    )  # fmt: skip


def rounded(count: int, step: int) -> int:
    """Return the least multiple of a step that is no less than a count."""
    return -(-count // step) * step


def is_flat(*shapes: tuple[int, ...]) -> bool:
    """Whether shapes are those of signals or pictures, and have numbers as sizes."""
    return all(len(s) < 4 and all(isinstance(n, int) for n in s) for s in shapes)
