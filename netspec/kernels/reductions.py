"""Reductions over axes: sums, means, variances, the largest and the smallest number, running sums.

`axes` are those of x (N, ...) that are reduced, in ascending order. The result has them with size 1, or
does not have them. `order` says which of its axes each axis of x that it has is.
"""

from math import prod
from typing import Any

import numpy as np

from netspec.kernels.arrays import Array, as_one
from netspec.kernels.copies import by_images

Ints = tuple[int, ...]


def total(x: Array, out: Array, *, axes: Ints, order: Ints) -> None:
    """`out` is the sum of x over the axes."""
    y = _beside(x, out, axes, order)
    by_images(lambda images: sum_over(x[images], axes, y[images]), x)


def total_backward(dy: Array, dx: Array, *, axes: Ints, order: Ints) -> None:
    """`dx` is dy, repeated along the axes."""
    g = _beside(dx, dy, axes, order)
    by_images(lambda images: np.copyto(dx[images], g[images]), dx)


def mean(x: Array, out: Array, *, axes: Ints, order: Ints) -> None:
    """`out` is the mean of x over the axes."""
    y, share = _beside(x, out, axes, order), 1 / _count(x, axes)

    def part(images: slice) -> None:
        sum_over(x[images], axes, y[images])
        np.multiply(y[images], share, out=y[images])

    by_images(part, x)


def mean_backward(dy: Array, dx: Array, *, axes: Ints, order: Ints) -> None:
    """`dx` is an equal share of dy for each number."""
    g, share = _beside(dx, dy, axes, order), 1 / _count(dx, axes)
    by_images(lambda images: np.multiply(g[images], share, out=dx[images]), dx)


def largest(x: Array, out: Array, *, axes: Ints, order: Ints) -> None:
    """`out` is the largest number of x over the axes."""
    _extreme(np.maximum, x, out, axes, order)


def smallest(x: Array, out: Array, *, axes: Ints, order: Ints) -> None:
    """`out` is the smallest number of x over the axes."""
    _extreme(np.minimum, x, out, axes, order)


def shared(x: Array, y: Array, dy: Array, dx: Array, *, axes: Ints, order: Ints) -> None:
    """`dx` is dy, shared by the numbers of x that are equal to y, and 0 elsewhere."""
    value, g = _beside(x, y, axes, order), _beside(x, dy, axes, order)

    def part(images: slice) -> None:
        target = dx[images]
        np.copyto(target, np.equal(x[images], value[images]))
        count = np.add.reduce(target, axis=axes, keepdims=True)
        np.multiply(target, np.divide(g[images], count), out=target)

    by_images(part, dx)


def logsumexp(x: Array, out: Array, *, axes: Ints, order: Ints) -> None:
    """`out` is log(sum of exp(x)) over the axes, where the largest number is taken out first."""
    y, limits = _beside(x, out, axes, order), np.finfo(x.dtype)

    def part(images: slice) -> None:
        most = np.maximum.reduce(x[images], axis=axes, keepdims=True)
        np.clip(most, limits.min, limits.max, out=most)  # inf - inf is no number
        with np.errstate(divide="ignore", over="ignore"):
            sum_over(np.exp(np.subtract(x[images], most)), axes, y[images])
            np.log(y[images], out=y[images])
            np.add(y[images], most, out=y[images])

    by_images(part, x)


def logsumexp_backward(
    x: Array, y: Array, dy: Array, dx: Array, *, axes: Ints, order: Ints
) -> None:
    """dx = dy * exp(x - y)."""
    value, g = _beside(x, y, axes, order), _beside(x, dy, axes, order)

    def part(images: slice) -> None:
        target = dx[images]
        np.subtract(x[images], value[images], out=target)
        np.exp(target, out=target)
        np.multiply(target, g[images], out=target)

    by_images(part, dx)


def variance(x: Array, out: Array, *, axes: Ints, order: Ints, correction: int) -> None:
    """`out` is the sum of (x - mean)^2 over the axes, divided by their count less `correction`."""
    y, share = _beside(x, out, axes, order), 1 / (_count(x, axes) - correction)

    def part(images: slice) -> None:
        centered = _centered(x[images], axes)
        sum_over(np.multiply(centered, centered, out=centered), axes, y[images])
        np.multiply(y[images], share, out=y[images])

    by_images(part, x)


def variance_backward(
    x: Array, dy: Array, dx: Array, *, axes: Ints, order: Ints, correction: int
) -> None:
    """dx = dy * 2 (x - mean) / (count - correction)."""
    g, share = _beside(x, dy, axes, order), 2 / (_count(x, axes) - correction)

    def part(images: slice) -> None:
        centered = _centered(x[images], axes)
        np.multiply(centered, np.multiply(g[images], share), out=dx[images])

    by_images(part, dx)


def place_of_largest(x: Array, out: Array, *, axes: Ints, order: Ints) -> None:
    """`out` is the place of the largest number of x along the one axis, the first of equals."""
    (axis,) = axes

    def search(y: Array, x: Array) -> None:
        y[...] = np.argmax(x, axis=axis, keepdims=True)

    as_one(search, _beside(x, out, axes, order), reads=[x])


def nothing(dy: Array, dx: Array, *, axes: Ints, order: Ints) -> None:
    """`dx` is 0."""
    dx.fill(0)


def _extreme(ufunc: np.ufunc, x: Array, out: Array, axes: Ints, order: Ints) -> None:
    y = _beside(x, out, axes, order)
    by_images(lambda images: ufunc.reduce(x[images], axis=axes, keepdims=True, out=y[images]), x)


def _centered(x: Array, axes: Ints) -> Array:
    """Compute x less its mean over the axes."""
    mean = np.empty_like(x, shape=tuple(1 if a in axes else n for a, n in enumerate(x.shape)))
    sum_over(x, axes, mean)
    np.multiply(mean, 1 / _count(x, axes), out=mean)
    return np.subtract(x, mean)


def _count(x: Array, axes: Ints) -> int:
    """Count the numbers of x that make one of the result."""
    return prod(x.shape[axis] for axis in axes)


def _beside(x: Array, reduced: Array, axes: Ints, order: Ints) -> Array:
    """View what was reduced with all axes of x, those that are gone with size 1."""
    if reduced.ndim == x.ndim:
        return reduced.transpose(0, *order)
    index: tuple[Any, ...] = tuple(None if a in axes else slice(None) for a in range(x.ndim))
    beside: Array = reduced.transpose(0, *order)[index]
    return beside


def sum_repeated(dy: Array, out: Array) -> None:
    """Sum `dy` (N, ...) over the places that `repeat` fills with the same number, into `out` (N, ...)."""
    sizes = enumerate(zip(dy.shape, out.shape, strict=True))
    axes = tuple(axis for axis, (many, one) in sizes if many != one)
    by_images(lambda images: sum_over(dy[images], axes, out[images]), dy)


def over_batch(dy: Array, out: Array) -> None:
    """`out` is the sum of dy (N, ...) over the batch, in whatever shape it has."""
    np.add.reduce(dy.reshape(len(dy), *out.shape), axis=0, out=out)


def sum_over(x: Array, axes: tuple[int, ...], out: Array) -> None:
    """Sum x over some axes, which get length 1, into `out`.

    The axes are summed one after the other, the last first: sums of sums are more accurate than one
    long sum.
    """
    for axis in reversed(axes[1:]):
        x = np.add.reduce(x, axis=axis, keepdims=True)
    np.add.reduce(x, axis=axes[:1], keepdims=True, out=out)


def running(x: Array, out: Array, *, axis: int) -> None:
    """out[i] = x[0] + ... + x[i] along an axis of x (N, ...)."""
    by_images(lambda images: np.add.accumulate(x[images], axis=axis, out=out[images]), x)


def running_backward(dy: Array, dx: Array, *, axis: int) -> None:
    """dx[i] = dy[i] + dy[i + 1] + ... to the end of the axis."""
    back = (slice(None),) * axis + (slice(None, None, -1),)
    g, target = dy[back], dx[back]
    by_images(lambda images: np.add.accumulate(g[images], axis=axis, out=target[images]), dx)
