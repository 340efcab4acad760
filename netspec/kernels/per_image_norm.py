"""Normalization of each image separately: layer, group and instance norm.

An image is viewed as of shape `split`, and every set of its numbers that differ only in the axes
`over` is normalized: xhat = (x - mean) / sqrt(var + eps), y = xhat*weight + bias. Axes are counted
in the split form, including the batch axis. A parameter, with its axes permuted as `order` says,
has the shape `affine` there, with 1 for axes along which it is broadcast.

`mean` and `inverse_std` are (N, ...), with 1 for the axes that were summed over.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, carve, chunks, row_sums

Ints = tuple[int, ...]

# Elements of x in a tile: it and its scratch fit the L3 cache together, and a call of NumPy is so long
# that threads seldom wait for Python's lock.
TILE = 1 << 17

# If fewer adjacent numbers than this share a statistic, it is repeated for each of them: NumPy's
# inner loop is as long as the numbers that are adjacent in every operand.
SHORT = 64

# The cost of an element, in the units of `parallel.WORTH_A_THREAD`.
WORK = 16


def forward(
    x: Array,
    scratch: Array,
    weight: Array | None,
    bias: Array | None,
    out: Array,
    mean: Array,
    inverse_std: Array,
    *,
    split: Ints,
    over: Ints,
    order: Ints,
    affine: Ints,
    eps: float,
) -> None:
    """`out = (x - mean) * inverse_std * weight + bias`; x and out (N, ...).

    The variance takes a second pass, because sum(x**2)/R - mean**2 would lose all digits if the
    mean is large. A weight of None means ones, a bias of None zeros.
    """
    count = prod(split[axis - 1] for axis in over)
    scale, shift = _param(weight, order, affine), _param(bias, order, affine)
    x, out = x.reshape(-1, *split), out.reshape(-1, *split)

    def part(images: slice, own: Array) -> None:
        for tile in _tiles(images, split):
            (squares,) = carve(own, x[tile].shape)
            result = out[tile]
            middle = _sum(x[tile], over, mean[tile])
            middle /= count
            np.subtract(x[tile], _spread(middle, split), out=result)
            np.square(result, out=squares)
            factor = _sum(squares, over, inverse_std[tile])
            factor /= count
            factor += eps
            np.sqrt(factor, out=factor)
            np.reciprocal(factor, out=factor)
            _multiply(result, factor, scale, split)
            if shift is not None:
                result += shift

    _run(part, x, scratch)


def backward(
    x: Array,
    dy: Array,
    scratch: Array,
    weight: Array | None,
    mean: Array,
    inverse_std: Array,
    dweight: Array | None,
    dbias: Array | None,
    dx: Array | None,
    *,
    split: Ints,
    over: Ints,
    order: Ints,
    affine: Ints,
) -> None:
    """Write the gradients dweight, dbias and dx; those that are None are skipped.

    With h = dy*weight, and means over the R numbers of a set:
    dbias = sum of dy, dweight = sum of dy*xhat over the axes that they are broadcast along,
    dx = inverse_std * (h - mean(h) - xhat * mean(h*xhat)).
    """
    count = prod(split[axis - 1] for axis in over)
    scale = _param(weight, order, affine)
    x, dy = x.reshape(-1, *split), dy.reshape(-1, *split)
    target = None if dx is None else dx.reshape(-1, *split)
    # The axes, including the batch, along which a parameter is broadcast.
    served = (0, *(axis + 1 for axis, size in enumerate(affine) if size == 1))

    def part(images: slice, own: Array) -> list[Array]:
        totals = [np.zeros_like(x, shape=(1, *affine)) for _ in range(2)]
        for tile in _tiles(images, split):
            gradient = dy[tile]
            xhat, product = carve(own, gradient.shape, gradient.shape)
            np.subtract(x[tile], _spread(mean[tile], split), out=xhat)
            xhat *= _spread(inverse_std[tile], split)
            np.multiply(gradient, xhat, out=product)
            if dweight is not None:
                totals[0] += _sum(product, served)
            if dbias is not None:
                totals[1] += _sum(gradient, served)
            if target is None:
                continue
            if scale is not None:
                product *= scale
            along = _sum(product, over)
            along /= -count
            xhat *= _spread(along, split)
            if scale is not None:
                gradient = np.multiply(gradient, scale, out=product)
            level = _sum(gradient, over)
            level /= -count
            result = target[tile]
            np.add(gradient, _spread(level, split), out=result)
            result += xhat
            result *= _spread(inverse_std[tile], split)
        return totals

    weight_totals, bias_totals = zip(*_run(part, x, scratch), strict=True)
    _write_total(dweight, weight_totals, order)
    _write_total(dbias, bias_totals, order)


def _write_total(gradient: Array | None, totals: Sequence[Array], order: Ints) -> None:
    """Add up the parts of a parameter's gradient, unless that is None; the first part is overwritten."""
    if gradient is None:
        return
    total, *others = totals
    for other in others:
        total += other
    by_order = gradient.transpose(order)
    by_order[...] = total.reshape(by_order.shape)


def scratch_size(n: int, shape: Ints) -> int:
    """Elements of scratch that suffice for the kernels above, for `n` images of a shape."""
    size = prod(shape)
    return 2 * parallel.threads() * min(n * size, max(TILE, size))


def _param(param: Array | None, order: Ints, affine: Ints) -> Array | None:
    """View a parameter in the shape that broadcasts over the split images."""
    return None if param is None else param.transpose(order).reshape(affine)


def _tiles(images: slice, split: Ints) -> Iterator[slice]:
    """Cut `images` into tiles of whole images."""
    for tile in chunks(images.stop - images.start, max(1, TILE // prod(split))):
        yield slice(images.start + tile.start, images.start + tile.stop)


def _sum(x: Array, axes: Ints, out: Array | None = None) -> Array:
    """Sum over `axes` one at a time, which makes NumPy's inner loops long. They stay with length 1."""
    for axis in axes[:-1]:
        x = np.add.reduce(x, axis=axis, keepdims=True)
    if axes[-1] == x.ndim - 1 and x.flags.c_contiguous:
        return row_sums(x, np.empty_like(x, shape=(*x.shape[:-1], 1)) if out is None else out)
    total: Array = np.add.reduce(x, axis=axes[-1], keepdims=True, out=out)
    return total


def _spread(statistic: Array, split: Ints) -> Array:
    """Repeat a statistic along a short last axis, unless it would become as large as the image."""
    last = split[-1]
    if statistic.shape[-1] == 1 < last < SHORT and prod(statistic.shape[1:-1]) * last < prod(split):
        return np.repeat(statistic, last, axis=-1)
    return statistic


def _multiply(x: Array, factor: Array, scale: Array | None, split: Ints) -> None:
    """`x *= factor * scale`, in one pass over x if the product is smaller than x."""
    if scale is None:
        x *= _spread(factor, split)
        return
    together = np.broadcast_shapes(factor.shape[1:], scale.shape)
    if prod(together) < prod(split):
        x *= factor * scale
    else:
        x *= _spread(factor, split)
        x *= scale


def _run(part: Callable[..., Any], x: Array, scratch: Array) -> list[Any]:
    """Call `part(images, scratch)` for the images of each thread."""
    split = parallel.parts(len(x), x.size * WORK)
    share = len(scratch) // len(split)
    own = (scratch[i * share : (i + 1) * share] for i in range(len(split)))
    return parallel.run(part, list(zip(split, own, strict=True)))
