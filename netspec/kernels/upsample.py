"""Upsampling pictures (N, H, W, C) by integer factors: repeats pixels, or interpolates linearly.

Linear interpolation is a matrix for each axis, with at most two nonzero numbers in each row: out[n]
= A_h @ x[n] @ A_w.T, channel by channel. Its gradient uses the transposed matrices.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, as_one, carve, fixed
from netspec.kernels.copies import by_images
from netspec.kernels.windows import Pair, Shape


def nearest_forward(x: Array, out: Array, *, scale: Pair) -> None:
    """out[n, h, w, c] = x[n, h // scale_h, w // scale_w, c]."""
    blocks = _blocks(out, scale)

    def part(images: slice) -> None:
        blocks[images] = x[images, :, None, :, None]

    by_images(part, out)


def nearest_backward(dy: Array, dx: Array, *, scale: Pair) -> None:
    """dx[n, h, w, c] = sum of dy over the block of that pixel."""
    blocks = _blocks(dy, scale)

    def part(images: slice) -> None:
        target = dx[images]
        np.copyto(target, blocks[images, :, 0, :, 0])
        for i, j in np.ndindex(scale):
            if (i, j) != (0, 0):
                target += blocks[images, :, i, :, j]

    by_images(part, dy)


def linear_forward(x: Array, out: Array, scratch: Array, *, align_corners: bool) -> None:
    """out[n] = A_h @ x[n] @ A_w.T for each channel, with the matrices of `linear_matrix`."""
    high, wide = _matrices(x.shape, out.shape, x.dtype, align_corners)

    def part(images: slice, own: Array) -> None:
        _both_axes(high, wide, x[images], out[images], own)

    _run(part, out, scratch)


def linear_backward(dy: Array, dx: Array, scratch: Array, *, align_corners: bool) -> None:
    """dx[n] = A_h.T @ dy[n] @ A_w for each channel."""
    high, wide = _matrices(dx.shape, dy.shape, dx.dtype, align_corners)

    def part(images: slice, own: Array) -> None:
        _both_axes(fixed(high.T), fixed(wide.T), dy[images], dx[images], own)

    _run(part, dy, scratch)


def scratch_size(n: int, small: Shape, large: Shape) -> int:
    """Elements of scratch for the linear kernels: shapes (H, W, C) of the two pictures."""
    rows = max(small[0] * large[1], large[0] * small[1]) * small[2]
    return min(parallel.threads(), n) * rows


def linear_matrix(size: int, enlarged: int, *, align_corners: bool) -> NDArray[np.float64]:
    """(enlarged, size): row o holds the weights of the two pixels that output o lies between.

    Output o lies at o (size-1)/(enlarged-1) with `align_corners`, else at (o + 1/2) size/enlarged -
    1/2, which is clamped to the picture.
    """
    out = np.arange(enlarged)
    if align_corners:
        at = out * ((size - 1) / max(enlarged - 1, 1))
    else:
        at = np.maximum((out + 0.5) * (size / enlarged) - 0.5, 0)
    low = np.minimum(at.astype(np.intp), size - 1)
    share = at - low
    matrix = np.zeros((enlarged, size))
    matrix[out, low] = 1 - share
    matrix[out, np.minimum(low + 1, size - 1)] += share
    return matrix


def _both_axes(rows: Array, columns: Array, x: Array, out: Array, scratch: Array) -> None:
    """`out[n] = rows @ x[n] @ columns.T`, image by image, to keep the intermediate product small."""
    _, height, width, channels = x.shape
    for picture, result in zip(x, out, strict=True):
        (tall,) = carve(scratch, (len(rows), width * channels))
        np.matmul(rows, picture.reshape(height, width * channels), out=tall)
        np.matmul(columns, tall.reshape(len(rows), width, channels), out=result)
    as_one(_mend, out, reads=(x, rows, columns))


def _mend(out: Array, x: Array, rows: Array, columns: Array) -> None:
    """Compute pictures with NaN or infinity again, without the products by 0.

    A matrix product multiplies every pixel by every weight, and 0 times NaN is NaN.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for picture, result in zip(x, out, strict=True):
            if not np.isfinite(np.add.reduce(picture, axis=None)):
                tall = sparse_product(rows, picture)
                result[...] = sparse_product(columns, tall.swapaxes(0, 1)).swapaxes(0, 1)


def sparse_product(matrix: Array, x: Array) -> Array:
    """`matrix` (M, K) times `x` (K, ...), ignoring whatever is multiplied by 0."""
    out = np.zeros((len(matrix), *x.shape[1:]), x.dtype)
    for row, column in zip(*np.nonzero(matrix), strict=True):
        out[row] += matrix[row, column] * x[column]
    return out


def _matrices(
    small: tuple[int, ...], large: tuple[int, ...], dtype: np.dtype[Any], align: bool
) -> tuple[Array, Array]:
    """A_h and A_w for pictures (N, H, W, C)."""
    high = linear_matrix(small[1], large[1], align_corners=align).astype(dtype)
    wide = linear_matrix(small[2], large[2], align_corners=align).astype(dtype)
    return fixed(high), fixed(wide)


def _run(part: Callable[[slice, Array], None], out: Array, scratch: Array) -> None:
    split = parallel.parts(len(out), out.size * sum(out.shape[1:3]))
    share = len(scratch) // len(split)
    own = (scratch[i * share : (i + 1) * share] for i in range(len(split)))
    parallel.run(part, list(zip(split, own, strict=True)))


def _blocks(large: Array, scale: Pair) -> Array:
    """View (N, H*sh, W*sw, C) as (N, H, sh, W, sw, C)."""
    n, height, width, channels = large.shape
    return large.reshape(n, height // scale[0], scale[0], width // scale[1], scale[1], channels)
