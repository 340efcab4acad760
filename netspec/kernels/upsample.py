"""Resizing pictures (N, ..., C): pixels repeated, or interpolated linearly or by cubic curves.

Interpolation is a matrix for each axis, with at most four nonzero numbers in each row: for a
picture out[n] = A_h @ x[n] @ A_w.T, channel by channel. Its gradient uses the transposed matrices.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, as_one, carve, fixed
from netspec.kernels.copies import by_images
from netspec.kernels.windows import Ints

# The parameter of the cubic curves (Keys 1981), as in PyTorch.
CUBIC = -0.75


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
    matrices = _matrices(x.shape, out.shape, x.dtype, mode, align_corners, scale)

    def part(images: slice, own: Array) -> None:
        _each_axis(matrices, x[images], out[images], own)

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
    matrices = _matrices(dx.shape, dy.shape, dx.dtype, mode, align_corners, scale)
    turned = [fixed(matrix.T) for matrix in matrices]

    def part(images: slice, own: Array) -> None:
        _each_axis(turned, dy[images], dx[images], own)

    _run(part, dy, scratch)


def scratch_size(n: int, small: Ints, large: Ints) -> int:
    """Elements of scratch for the kernels above: shapes (..., C) of the two pictures."""
    return min(parallel.threads(), n) * sum(_between(small, large))


def _between(small: Ints, large: Ints) -> list[int]:
    """The elements of an image after each axis but the last, in whichever direction has more."""
    axes = len(small) - 1
    ways = ((small, large), (large, small))
    return [
        max(prod((*new[:done], *old[done:-1], old[-1])) for old, new in ways)
        for done in range(1, axes)
    ]


def matrix_of(
    size: int, outputs: int, *, mode: str, align_corners: bool, scale: float | None = None
) -> NDArray[np.float64]:
    """(outputs, size): row o holds the weights of the pixels from which output o is computed.

    Output o lies at o (size-1)/(outputs-1) with `align_corners`, else at (o + 1/2) r - 1/2, where r
    is size/outputs, or 1/scale. `nearest` takes the pixel at floor(o r), and `nearest-exact` that at
    floor((o + 1/2) r), computed in float32.
    """
    out = np.arange(outputs)
    ratio = size / outputs if scale is None else 1 / scale
    matrix = np.zeros((outputs, size))
    if mode == "nearest":
        at = np.floor(out.astype(np.float32) * np.float32(ratio)).astype(np.intp)
        if outputs in (size, 2 * size):
            at = out * size // outputs
        matrix[out, np.minimum(at, size - 1)] = 1
        return matrix
    if mode == "nearest-exact":
        at = np.floor(((out + 0.5) * float(np.float32(ratio))).astype(np.float32)).astype(np.intp)
        matrix[out, np.minimum(at, size - 1)] = 1
        return matrix
    place = (out + 0.5) * ratio - 0.5
    if align_corners:
        place = out * ((size - 1) / max(outputs - 1, 1))
    if mode == "bicubic":
        low = np.floor(place).astype(np.intp)
        for tap, weight in enumerate(_cubic(place - low)):
            np.add.at(matrix, (out, (low + tap - 1).clip(0, size - 1)), weight)
        return matrix
    place = out * 1.0 if outputs == size else np.maximum(place, 0)
    low = np.minimum(place.astype(np.intp), size - 1)
    share = place - low
    matrix[out, low] = 1 - share
    matrix[out, np.minimum(low + 1, size - 1)] += share
    return matrix


def _cubic(share: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The weights of the four pixels around a place, which is `share` behind the second."""

    def near(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1

    def far(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC

    return [far(share + 1), near(share), near(1 - share), far(2 - share)]


def _each_axis(matrices: Sequence[Array], x: Array, out: Array, scratch: Array) -> None:
    """Multiply by a matrix along each axis, image by image, to keep what is between small."""
    for picture, result in zip(x, out, strict=True):
        given, rest = picture, scratch
        for axis, matrix in enumerate(matrices):
            before, behind = prod(given.shape[:axis]), prod(given.shape[axis + 1 :])
            target = result
            if axis < len(matrices) - 1:
                shape = (*given.shape[:axis], len(matrix), *given.shape[axis + 1 :])
                (target,) = carve(rest, shape)
                rest = rest[target.size :]
            np.matmul(
                matrix, given.reshape(before, -1, behind), out=target.reshape(before, -1, behind)
            )
            given = target
    as_one(_mend, out, reads=(x, *matrices))


def _mend(out: Array, x: Array, *matrices: Array) -> None:
    """Compute pictures with NaN or infinity again, without the products by 0.

    A matrix product multiplies every pixel by every weight, and 0 times NaN is NaN.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for picture, result in zip(x, out, strict=True):
            if not np.isfinite(np.add.reduce(picture, axis=None)):
                for axis, matrix in enumerate(matrices):
                    picture = sparse_product(matrix, picture.swapaxes(0, axis)).swapaxes(0, axis)
                result[...] = picture


def sparse_product(matrix: Array, x: Array) -> Array:
    """`matrix` (M, K) times `x` (K, ...), ignoring whatever is multiplied by 0."""
    out = np.zeros((len(matrix), *x.shape[1:]), x.dtype)
    for row, column in zip(*np.nonzero(matrix), strict=True):
        out[row] += matrix[row, column] * x[column]
    return out


def _matrices(
    small: Ints,
    large: Ints,
    dtype: np.dtype[Any],
    mode: str,
    align: bool,
    scale: tuple[float, ...] | None,
) -> list[Array]:
    """The matrix of each axis, for pictures (N, ..., C)."""
    factors = scale or (None,) * (len(small) - 2)
    sizes = zip(small[1:-1], large[1:-1], factors, strict=True)
    return [
        fixed(matrix_of(a, b, mode=mode, align_corners=align, scale=factor).astype(dtype))
        for a, b, factor in sizes
    ]


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
