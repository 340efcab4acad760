"""Softmax and its logarithm along one axis of an array, axis 0 being the batch.

The largest number is subtracted first, so that exp never overflows and the sum is at least 1.
"""

import numpy as np

from netspec.kernels.arrays import Array
from netspec.kernels.copies import by_images


def forward(x: Array, out: Array, *, axis: int) -> None:
    """`out = exp(x - max(x)) / sum(exp(x - max(x)))`, maximum and sum along `axis`."""

    def part(images: slice) -> None:
        y = out[images]
        _shift(x[images], y, axis)
        np.exp(y, out=y)
        y /= y.sum(axis=axis, keepdims=True)

    by_images(part, out)


def backward(y: Array, dy: Array, dx: Array, *, axis: int) -> None:
    """`dx = y * (dy - sum(y * dy))`, the sum along `axis`."""

    def part(images: slice) -> None:
        g = dx[images]
        np.multiply(y[images], dy[images], out=g)
        np.subtract(dy[images], g.sum(axis=axis, keepdims=True), out=g)
        g *= y[images]

    by_images(part, dx)


def log_forward(x: Array, out: Array, *, axis: int) -> None:
    """`out = x - max(x) - log(sum(exp(x - max(x))))`, maximum and sum along `axis`."""

    def part(images: slice) -> None:
        y = out[images]
        _shift(x[images], y, axis)
        np.exp(y, out=y)
        total = y.sum(axis=axis, keepdims=True)
        _shift(x[images], y, axis)  # computed again: cheaper than memory to keep it
        y -= np.log(total, out=total)

    by_images(part, out)


def log_backward(y: Array, dy: Array, dx: Array, *, axis: int) -> None:
    """`dx = dy - exp(y) * sum(dy)`, the sum along `axis`."""

    def part(images: slice) -> None:
        g = dx[images]
        np.exp(y[images], out=g)
        g *= dy[images].sum(axis=axis, keepdims=True)
        np.subtract(dy[images], g, out=g)

    by_images(part, dx)


def _shift(x: Array, out: Array, axis: int) -> None:
    """`out = x - max(x)` along `axis`."""
    np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
