"""Resizing pictures (N, ..., C): pixels repeated, or interpolated linearly or by cubic curves.

Interpolation is a matrix for each axis, with at most four nonzero numbers in each row: for a
picture out[n] = A_h @ x[n] @ A_w.T, channel by channel. Its gradient uses the transposed matrices.
Along a short axis the product of matrices is faster, along others the pixels are taken and weighted.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, as_one, carve, fixed
from netspec.kernels.copies import by_images
from netspec.kernels.windows import Ints

# The parameter of the cubic curves (Keys 1981), as in PyTorch.
CUBIC = -0.75
# BLAS multiplies by this many numbers in the time in which one is taken, multiplied and added. Measured:
# twice as large as 128 x 128 with 64 channels, pixels that are taken need a fifth of the time.
DENSE = 16


def nearest_forward(x: Array, out: Array, *, scale: Ints) -> None:
    """out[n, i, c] = x[n, i // scale, c], on every axis."""
    blocks = _blocks(out, scale)
    beside = tuple(each for _ in scale for each in (slice(None), None))

    def part(images: slice) -> None:
        blocks[images] = x[images][(slice(None), *beside)]

    by_images(part, out)


def nearest_backward(dy: Array, dx: Array, *, scale: Ints) -> None:
    """dx[n, i, c] = sum of dy over the block of that pixel."""
    blocks = _blocks(dy, scale)
    places = [
        (slice(None), *(each for i in at for each in (slice(None), i))) for at in np.ndindex(*scale)
    ]

    def part(images: slice) -> None:
        target, given = dx[images], blocks[images]
        np.copyto(target, given[places[0]])
        for place in places[1:]:
            target += given[place]

    by_images(part, dy)


def forward(
    x: Array,
    out: Array,
    scratch: Array,
    *,
    mode: str,
    align_corners: bool,
    scale: tuple[float, ...] | None,
) -> None:
    """`out` is x (N, ..., C) times the matrix of each axis."""
    axes = [
        _along(taps, size, x.dtype)
        for taps, size in _taps(x.shape, out.shape, mode, align_corners, scale)
    ]

    def part(images: slice, own: Array) -> None:
        _each_axis(axes, x[images], out[images], own)

    _run(part, out, scratch)


def backward(
    dy: Array,
    dx: Array,
    scratch: Array,
    *,
    mode: str,
    align_corners: bool,
    scale: tuple[float, ...] | None,
) -> None:
    """`dx` is dy (N, ..., C) times the transposed matrix of each axis."""
    axes = [
        _along(turned(taps, size), len(taps.at), dx.dtype)
        for taps, size in _taps(dx.shape, dy.shape, mode, align_corners, scale)
    ]

    def part(images: slice, own: Array) -> None:
        _each_axis(axes, dy[images], dx[images], own)

    _run(part, dy, scratch)


def scratch_size(n: int, small: Ints, large: Ints) -> int:
    """Elements of scratch for the kernels above: shapes (..., C) of the two pictures."""
    between = _between(small, large)
    # The products of one tap, where pixels are taken.
    beside = max(prod(small), prod(large), *between) if max(*small[:-1], *large[:-1]) > DENSE else 0
    return min(parallel.threads(), n) * (sum(between) + beside)


def _between(small: Ints, large: Ints) -> list[int]:
    """The elements of an image after each axis but the last, in whichever direction has more."""
    axes = len(small) - 1
    ways = ((small, large), (large, small))
    return [
        max(prod((*new[:done], *old[done:-1], old[-1])) for old, new in ways)
        for done in range(1, axes)
    ]


class Taps(NamedTuple):
    """The numbers of a matrix that are not 0, row by row.

    `at` (rows, taps) has their columns, in order, and `weights` (rows, taps) the numbers. Rows of fewer
    than others end with column and weight 0.
    """

    at: NDArray[np.intp]
    weights: NDArray[np.float64]


def taps_of(
    size: int, outputs: int, *, mode: str, align_corners: bool, scale: float | None = None
) -> Taps:
    """The matrix (outputs, size) of an axis: row o holds the weights of the pixels from which output o
    is computed.

    Output o lies at o (size-1)/(outputs-1) with `align_corners`, else at (o + 1/2) r - 1/2, where r
    is size/outputs, or 1/scale. `nearest` takes the pixel at floor(o r), and `nearest-exact` that at
    floor((o + 1/2) r), computed in float32.
    """
    out = np.arange(outputs)
    ratio = size / outputs if scale is None else 1 / scale
    if mode == "nearest":
        at = np.floor(out.astype(np.float32) * np.float32(ratio)).astype(np.intp)
        if outputs in (size, 2 * size):
            at = out * size // outputs
        return Taps(np.minimum(at, size - 1)[:, None], np.ones((outputs, 1)))
    if mode == "nearest-exact":
        at = np.floor(((out + 0.5) * float(np.float32(ratio))).astype(np.float32)).astype(np.intp)
        return Taps(np.minimum(at, size - 1)[:, None], np.ones((outputs, 1)))
    place: Any = (out + 0.5) * ratio - 0.5
    if align_corners:
        place = out * ((size - 1) / max(outputs - 1, 1))
    if mode == "bicubic":
        low = np.floor(place).astype(np.intp)
        columns = [low - 1, low, low + 1, low + 2]
        weights = _cubic(place - low)
    else:
        place = out * 1.0 if outputs == size else np.maximum(place, 0)
        low = np.minimum(place.astype(np.intp), size - 1)
        share = place - low
        columns, weights = [low, low + 1], [1 - share, share]
    at = np.stack(columns, axis=1).clip(0, size - 1)
    return _packed(
        np.repeat(out, len(columns)), at.ravel(), np.stack(weights, axis=1).ravel(), outputs
    )


def turned(taps: Taps, size: int) -> Taps:
    """The transposed matrix (size, rows) of one with `size` columns."""
    rows = np.repeat(np.arange(len(taps.at)), taps.at.shape[1])
    return _packed(taps.at.ravel(), rows, taps.weights.ravel(), size)


def _packed(
    rows: NDArray[np.intp], columns: NDArray[np.intp], weights: NDArray[np.float64], count: int
) -> Taps:
    """The matrix of `count` rows with these numbers, where those of one place are added up."""
    order = np.lexsort((columns, rows))
    rows, columns, weights = rows[order], columns[order], weights[order]
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    weights = np.add.reduceat(weights, np.flatnonzero(is_new))
    rows, columns = rows[is_new], columns[is_new]
    kept = weights != 0
    rows, columns, weights = rows[kept], columns[kept], weights[kept]
    in_row = np.arange(len(rows)) - np.searchsorted(rows, rows)
    shape = (count, int(in_row.max(initial=0)) + 1)
    packed = Taps(np.zeros(shape, np.intp), np.zeros(shape))
    packed.at[rows, in_row], packed.weights[rows, in_row] = columns, weights
    return packed


def _cubic(share: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The weights of the four pixels around a place, which is `share` behind the second."""

    def near(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1

    def far(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC

    return [far(share + 1), near(share), near(1 - share), far(2 - share)]


class _Axis(NamedTuple):
    """What is done along an axis.

    `at` (taps, outputs) and `weights` (taps, outputs, 1) are those of `Taps`, turned; `matrix` (outputs,
    size) is the whole matrix where its product is faster.
    """

    at: NDArray[np.intp]
    weights: Array
    matrix: Array | None


def _along(taps: Taps, size: int, dtype: np.dtype[Any]) -> _Axis:
    """Return what multiplies by a matrix with `size` columns."""
    outputs, count = taps.at.shape
    matrix = None
    if size <= DENSE * count:
        matrix = np.zeros((outputs, size))
        np.add.at(matrix, (np.arange(outputs)[:, None], taps.at), taps.weights)
        matrix = fixed(matrix.astype(dtype))
    return _Axis(fixed(taps.at.T), fixed(taps.weights.T[..., None].astype(dtype)), matrix)


def _each_axis(axes: Sequence[_Axis], x: Array, out: Array, scratch: Array) -> None:
    """Multiply by a matrix along each axis, image by image, to keep what is between small."""
    for picture, result in zip(x, out, strict=True):
        given, rest = picture, scratch
        for number, axis in enumerate(axes):
            before, behind = prod(given.shape[:number]), prod(given.shape[number + 1 :])
            target = result
            if number < len(axes) - 1:
                shape = (*given.shape[:number], axis.at.shape[1], *given.shape[number + 1 :])
                (target,) = carve(rest, shape)
                rest = rest[target.size :]
            flat = given.reshape(before, -1, behind)
            _multiply(axis, flat, target.reshape(before, -1, behind), rest)
            given = target
    as_one(lambda out, x: _mend(out, x, axes), out, reads=(x,))


def _multiply(axis: _Axis, x: Array, out: Array, scratch: Array) -> None:
    """`out` (B, outputs, D) is the matrix of the axis times each x (B, size, D)."""
    if axis.matrix is not None:
        np.matmul(axis.matrix, x, out=out)
        return
    np.take(x, axis.at[0], axis=1, out=out, mode="clip")
    np.multiply(out, axis.weights[0], out=out)
    (one,) = carve(scratch, out.shape)
    for at, weights in zip(axis.at[1:], axis.weights[1:], strict=True):
        np.take(x, at, axis=1, out=one, mode="clip")
        np.multiply(one, weights, out=one)
        np.add(out, one, out=out)


def _mend(out: Array, x: Array, axes: Sequence[_Axis]) -> None:
    """Compute pictures with NaN or infinity again, without the products by 0.

    A matrix product multiplies every pixel by every weight, and 0 times NaN is NaN.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for picture, result in zip(x, out, strict=True):
            if not np.isfinite(np.add.reduce(picture, axis=None)):
                for number, axis in enumerate(axes):
                    picture = _sparse(axis, picture.swapaxes(0, number)).swapaxes(0, number)
                result[...] = picture


def _sparse(axis: _Axis, x: Array) -> Array:
    """The matrix of an axis times x (size, ...), ignoring whatever is multiplied by 0."""
    out = np.zeros((axis.at.shape[1], *x.shape[1:]), x.dtype)
    for at, weights in zip(axis.at, axis.weights, strict=True):
        rows = np.flatnonzero(weights)
        out[rows] += weights[rows].reshape(-1, *(1,) * (x.ndim - 1)) * x[at[rows]]
    return out


def _taps(
    small: Ints, large: Ints, mode: str, align: bool, scale: tuple[float, ...] | None
) -> list[tuple[Taps, int]]:
    """The matrix of each axis and its columns, for pictures (N, ..., C)."""
    factors = scale or (None,) * (len(small) - 2)
    sizes = zip(small[1:-1], large[1:-1], factors, strict=True)
    return [(taps_of(a, b, mode=mode, align_corners=align, scale=by), a) for a, b, by in sizes]


def _run(part: Callable[[slice, Array], None], out: Array, scratch: Array) -> None:
    split = parallel.parts(len(out), out.size * sum(out.shape[1:-1]))
    share = len(scratch) // len(split)
    own = (scratch[i * share : (i + 1) * share] for i in range(len(split)))
    parallel.run(part, list(zip(split, own, strict=True)))


def _blocks(large: Array, scale: Ints) -> Array:
    """View (N, H*sh, W*sw, C) as (N, H, sh, W, sw, C), or with other axes."""
    n, *sizes, channels = large.shape
    split = (each for size, s in zip(sizes, scale, strict=True) for each in (size // s, s))
    return large.reshape(n, *split, channels)
