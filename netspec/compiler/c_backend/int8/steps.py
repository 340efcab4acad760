"""The steps of a net in whole numbers: what each computes, in NumPy and as a call of the C library.

Values are (N, ...), pictures with their channels last. Every step also says which node it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from netspec.compiler.c_backend.int8.scheme import HIGH, LOW, Array, Factor, Scale, scaled
from netspec.compiler.c_backend.kernel_call import c_call
from netspec.records import record

Ints = tuple[int, ...]
# Channels that the kernel of one filter for each channel takes at once.
SIDE_BY_SIDE = 4
# Gives the name of a constant array of the file: what it is called, its type and its numbers.
Constant = Callable[[str, str, Array], str]


def in_range(whole: Array) -> Array:
    """Return the nearest whole numbers of 8 bits."""
    found: Array = np.clip(whole, LOW, HIGH)
    return found


class Step(Protocol):
    """A step from whole numbers to whole numbers."""

    def run(self, *x: Array) -> Array:
        """Return what it makes of a batch."""
        ...

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """Return the call for one image, from and to these pointers."""
        ...


@record(eq=False)
class Weights:
    """Weights of a layer, by output: whole numbers, biases, and the factors behind the sums.

    Attributes:
        name: what the arrays in the C file are called.
        whole: (O, ..., C), from -127 to 127.
        bias: (O,), of 32 bits.
        factors: one for each output.
        x_zero, y_zero: what stands for 0 in the input and in the output.
    """

    name: str
    whole: Array
    bias: Array
    factors: tuple[Factor, ...]
    x_zero: int
    y_zero: int

    def ended(self, sums: Array) -> Array:
        """Return the outputs, from sums (..., O) of products."""
        multipliers = np.array([f.multiplier for f in self.factors], np.int64)
        shifts = np.array([f.shift for f in self.factors], np.int64)
        y = scaled(sums + self.bias, multipliers, shifts) + self.y_zero
        return in_range(y)

    def arrays(
        self, constant: Constant, *, filters_last: bool = False
    ) -> tuple[str, str, str, str]:
        """Return the names of the weights, the biases, the multipliers and the shifts."""
        whole = np.moveaxis(self.whole, 0, -1) if filters_last else self.whole
        return (
            constant(f"{self.name}_weight", "int8_t", whole),
            constant(f"{self.name}_bias", "int32_t", self.bias),
            constant(
                f"{self.name}_multipliers",
                "int32_t",
                np.array([f.multiplier for f in self.factors]),
            ),
            constant(f"{self.name}_shifts", "int8_t", np.array([f.shift for f in self.factors])),
        )


@record(eq=False)
class Window:
    """Windows over a picture: sizes (height, width), and the padding above and to the left."""

    x: Ints
    y: Ints
    kernel: Ints
    stride: Ints
    start: Ints
    dilation: Ints

    def seen(self, x: Array, fill: int) -> Array:
        """Return (N, height, width, kernel height, kernel width, C): what each window sees."""
        (high, wide), (top, left) = self.y, self.start
        reach = [
            (n - 1) * s + (k - 1) * d + 1
            for n, s, k, d in zip(self.y, self.stride, self.kernel, self.dilation, strict=True)
        ]
        after = [max(r - a - n, 0) for r, a, n in zip(reach, self.start, self.x, strict=True)]
        pad = ((0, 0), (top, after[0]), (left, after[1]), (0, 0))
        padded = np.pad(x, pad, constant_values=fill)
        rows = (
            np.arange(high)[:, None] * self.stride[0] + np.arange(self.kernel[0]) * self.dilation[0]
        )
        columns = (
            np.arange(wide)[:, None] * self.stride[1] + np.arange(self.kernel[1]) * self.dilation[1]
        )
        seen: Array = padded[:, rows[:, None, :, None], columns[None, :, None, :]]
        return seen

    @property
    def numbers(self) -> Ints:
        """The sizes as the C functions take them, without channels."""
        return (*self.kernel, *self.stride, *self.start, *self.dilation)

    def pool(self, function: str, x: str, y: str, channels: int, *more: int) -> list[str]:
        """Return the call of a pool."""
        return c_call(function, x, y, *self.x, channels, *self.y, *self.numbers, *more)


@record(eq=False)
class Conv:
    """A convolution."""

    window: Window
    weights: Weights
    groups: int

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        seen = self.window.seen(x[0] - self.weights.x_zero, 0)
        filters = self.weights.whole
        each, made = filters.shape[-1], len(filters) // self.groups
        sums = []
        for g in range(self.groups):
            part = seen[..., g * each : (g + 1) * each]
            own = filters[g * made : (g + 1) * made].reshape(made, -1)
            sums.append(_products(part.reshape(*part.shape[:3], -1), own))
        return self.weights.ended(np.concatenate(sums, axis=-1))

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        channels, filters = self.weights.whole.shape[-1] * self.groups, len(self.weights.whole)
        zeros = (self.weights.x_zero, self.weights.y_zero)
        if channels == filters == self.groups >= SIDE_BY_SIDE:
            return c_call(
                "depthwise_conv_int8", x[0], *self.weights.arrays(constant, filters_last=True), y,
                *self.window.x, channels, *self.window.y, *self.window.numbers, *zeros,
            )  # fmt: skip
        return c_call(
            "conv_int8", x[0], *self.weights.arrays(constant), y, *self.window.x, channels,
            *self.window.y, filters, *self.window.numbers, self.groups, *zeros,
        )  # fmt: skip


@record(eq=False)
class Linear:
    """A fully connected layer over rows."""

    weights: Weights
    rows: int

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        return self.weights.ended(_products(x[0] - self.weights.x_zero, self.weights.whole))

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        outputs, inputs = self.weights.whole.shape
        return c_call(
            "linear_int8", x[0], *self.weights.arrays(constant), y, self.rows, inputs, outputs,
            self.weights.x_zero, self.weights.y_zero,
        )  # fmt: skip


def _products(x: Array, weight: Array) -> Array:
    """Return x (..., C) times weight (O, C): in double precision, which is exact for such sums."""
    return np.asarray(np.rint(x.astype(np.float64) @ weight.T.astype(np.float64)), np.int64)


@record(eq=False)
class MaxPool:
    """The largest number of each window."""

    window: Window
    channels: int

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        return np.asarray(self.window.seen(x[0], LOW).max(axis=(3, 4)))

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        return self.window.pool("max_pool_int8", x[0], y, self.channels)


@record(eq=False)
class AvgPool:
    """The mean of each window, rounded away from 0; `zero` counts for the padding, if anything does."""

    window: Window
    channels: int
    zero: int
    counts_padding: bool

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        inside = self.window.seen(np.ones_like(x[0][:1, :, :, :1]), 0).sum(axis=(3, 4))
        sums = self.window.seen(x[0], self.zero if self.counts_padding else 0).sum(axis=(3, 4))
        count = (
            np.full_like(inside, math.prod(self.window.kernel)) if self.counts_padding else inside
        )
        half = count // 2
        positive, negative = (sums + half) // count, -((half - sums) // count)
        return np.asarray(np.clip(np.where(sums > 0, positive, negative), LOW, HIGH))

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        more = (self.zero, int(self.counts_padding))
        return self.window.pool("avg_pool_int8", x[0], y, self.channels, *more)


@record(eq=False)
class Term:
    """What stands for 0 in a term of a sum, and its factor."""

    zero: int
    factor: Factor


# Terms of a sum are shifted by this much before they are scaled, as TFLite does.
HEADROOM = 20


@record(eq=False)
class Add:
    """The sum of two values, each with a scale of its own."""

    terms: tuple[Term, Term]
    factor: Factor
    y_zero: int
    size: int

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        total = sum(
            scaled((value - term.zero) << HEADROOM, term.factor.multiplier, term.factor.shift)
            for value, term in zip(x, self.terms, strict=True)
        )
        y = scaled(np.asarray(total), self.factor.multiplier, self.factor.shift) + self.y_zero
        return in_range(y)

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        one, two = self.terms
        return c_call(
            "add_int8", *x, y, self.size, one.zero, one.factor.multiplier, one.factor.shift,
            two.zero, two.factor.multiplier, two.factor.shift,
            self.factor.multiplier, self.factor.shift, self.y_zero,
        )  # fmt: skip


@record(eq=False)
class Rescale:
    """The same number in another scale, whose range cuts off what a ReLU does."""

    x_zero: int
    factor: Factor
    y_zero: int
    size: int

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        y = scaled(x[0] - self.x_zero, self.factor.multiplier, self.factor.shift) + self.y_zero
        return in_range(y)

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        return c_call(
            "rescale_int8", x[0], y, self.size, self.x_zero,
            self.factor.multiplier, self.factor.shift, self.y_zero,
        )  # fmt: skip


@record(eq=False)
class Transpose:
    """The last axis before all others, or the first one behind them."""

    rows: int
    columns: int
    shape: Ints

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        turned = x[0].reshape(len(x[0]), self.rows, self.columns).swapaxes(1, 2)
        return turned.reshape(len(turned), *self.shape)

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        return c_call("transpose_int8", x[0], y, self.rows, self.columns)


@record(eq=False)
class Reshaped:
    """A step over a value in another shape."""

    step: Step
    shape: Ints

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        return self.step.run(x[0].reshape(-1, *self.shape))

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        return self.step.c(x, y, constant)


@record(eq=False)
class Lookup:
    """A formula of one value: what it gives for each of the 256 whole numbers, the least first.

    Attributes:
        name: the layer, after which the table is called.
        table: (256,).
        size: how many numbers there are.
    """

    name: str
    table: Array
    size: int

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        return np.asarray(self.table[x[0] - LOW])

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        return c_call(
            "look_up_int8", x[0], constant(f"{self.name}_table", "int8_t", self.table), y, self.size
        )


@record(eq=False)
class Nearest:
    """Each place of a picture (height, width, C) repeated along both axes."""

    shape: Ints
    times: Ints

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        picture = x[0].reshape(-1, *self.shape)
        return picture.repeat(self.times[0], axis=1).repeat(self.times[1], axis=2)

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        return c_call("nearest_int8", x[0], y, *self.shape, *self.times)


@record(eq=False)
class Part:
    """A value beside others: what stands for 0 in it, its factor, and its numbers in a row."""

    zero: int
    factor: Factor
    size: int


@record(eq=False)
class Concat:
    """Values beside each other, each with a scale of its own: so many rows of all parts."""

    parts: tuple[Part, ...]
    y_zero: int
    rows: int

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        made = [
            scaled(value - part.zero, part.factor.multiplier, part.factor.shift).reshape(
                -1, self.rows, part.size
            )
            for value, part in zip(x, self.parts, strict=True)
        ]
        return in_range(np.concatenate(made, axis=2) + self.y_zero)

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        lines, at, whole = [], 0, sum(part.size for part in self.parts)
        for value, part in zip(x, self.parts, strict=True):
            lines += c_call(
                "insert_int8", value, f"{y} + {at}" if at else y, self.rows, part.size, whole,
                part.zero, part.factor.multiplier, part.factor.shift, self.y_zero,
            )  # fmt: skip
            at += part.size
        return lines


# What a share of 1 is in a table of exponentials: sums of `MOST_SHARES` have 31 bits.
ONE = 1 << 16


@record(eq=False)
class Softmax:
    """Shares of rows, as 256 times each, from a table of exp(-d) for the distance d to the largest.

    Attributes:
        table: (256,), whole numbers up to `ONE`.
        rows, columns: the sizes.
    """

    table: Array
    rows: int
    columns: int

    @classmethod
    def of(cls, x: Scale, rows: int, columns: int) -> Softmax:
        """Return the step for values of this scale."""
        table = np.rint(ONE * np.exp(-x.scale * np.arange(256.0))).astype(np.int64)
        return cls(table, rows, columns)

    def run(self, *x: Array) -> Array:
        """See `Step`."""
        rows = x[0].reshape(-1, self.rows, self.columns)
        exponentials = self.table[rows.max(axis=2, keepdims=True) - rows]
        sums = exponentials.sum(axis=2, keepdims=True)
        return np.asarray(np.minimum((256 * exponentials + sums // 2) // sums + LOW, HIGH))

    def c(self, x: tuple[str, ...], y: str, constant: Constant) -> list[str]:
        """See `Step`."""
        table = constant("exponentials", "int32_t", self.table)
        return c_call("softmax_int8", x[0], table, y, self.rows, self.columns)
