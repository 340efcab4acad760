"""Values repeated along axes of size 1, and sums over the repetitions."""

import numpy as np

from netspec.kernels.arrays import Array
from netspec.kernels.copies import by_images


def repeat(x: Array, out: Array) -> None:
    """`out = x`, repeated where a size of x (N, ...) is 1 and that of `out` (N, ...) is not."""
    by_images(lambda images: np.copyto(out[images], x[images]), out)


def sum_repeated(dy: Array, out: Array) -> None:
    """Sum `dy` (N, ...) over the places that `repeat` fills with the same number, into `out` (N, ...)."""
    sizes = enumerate(zip(dy.shape, out.shape, strict=True))
    axes = tuple(axis for axis, (many, one) in sizes if many != one)
    by_images(lambda images: sum_over(dy[images], axes, out[images]), dy)


def sum_over(x: Array, axes: tuple[int, ...], out: Array) -> None:
    """Sum x over some axes, which get length 1, into `out`.

    The axes are summed one after the other, the last first: sums of sums are more accurate than one
    long sum.
    """
    for axis in reversed(axes[1:]):
        x = np.add.reduce(x, axis=axis, keepdims=True)
    np.add.reduce(x, axis=axes[:1], keepdims=True, out=out)
