"""Fully connected layers: x (..., I), weight (O, I), out (..., O)."""

from math import prod

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import SMALL_PRODUCT, Array, column_sums, strided

# For batches of up to this many rows the weight comes first in the product, which is a sixth faster
# in BLAS.
FEW_ROWS = 128
# For up to this many rows the gradient of a weight is computed in blocks that BLAS does not pack.
VERY_FEW_ROWS = 64
BLOCK_COLUMNS, LEAST_BLOCK_ROWS = 128, 32


def forward(x: Array, weight: Array, bias: Array | None, out: Array, scratch: Array) -> None:
    """`out = x @ weight.T + bias`.

    x (..., I), weight (O, I), bias (O,) or None, out (..., O).
    """
    rows, given = _rows(out), _rows(x)
    if len(given) <= FEW_ROWS:
        turned = scratch[: rows.size].reshape(rows.shape[::-1])

        def part(features: slice) -> None:
            np.matmul(weight[features], given.T, out=turned[features])
            rows[:, features] = turned[features].T

        split = parallel.parts(len(weight), rows.size * weight.shape[1])
        parallel.run(part, [(features,) for features in split])
        if bias is not None:
            rows += bias
    else:
        _product(given, weight.T, rows, bias)


def scratch_size(n: int, out_shape: tuple[int, ...]) -> int:
    """Elements of scratch that `forward` needs for `n` images of out_shape (..., O)."""
    rows = n * prod(out_shape[:-1])
    return rows * out_shape[-1] if rows <= FEW_ROWS else 0


def backward_weight(x: Array, dy: Array, dweight: Array) -> None:
    """`dweight = dy.T @ x`, with x (..., I), dy (..., O), dweight (O, I)."""
    gradient, given = _rows(dy), _rows(x)
    tall = _block_rows(len(given), *dweight.shape)
    if tall < LEAST_BLOCK_ROWS:
        _product(gradient.T, given, dweight)
        return
    n, wide = len(given), BLOCK_COLUMNS
    outs, ins = dweight.shape[0] // tall, dweight.shape[1] // wide
    row, one = given.strides
    blocks = strided(given, (1, ins, n, wide), (0, wide * one, row, one))
    row, one = gradient.strides
    turned = strided(gradient, (outs, 1, tall, n), (tall * one, 0, one, row))
    row, one = dweight.strides
    target = strided(dweight, (outs, ins, tall, wide), (tall * row, wide * one, row, one))
    split = parallel.parts(ins, dweight.size * n)
    parallel.run(lambda s: np.matmul(turned, blocks[:, s], out=target[:, s]), [(s,) for s in split])
    rest = slice(ins * wide, None)
    if ins * wide < dweight.shape[1]:
        np.matmul(gradient.T, given[:, rest], out=dweight[:, rest])


def _block_rows(n: int, outs: int, ins: int) -> int:
    """The rows of a block of a weight's gradient: the largest divisor that fits; 0 if it is not cut."""
    if n > VERY_FEW_ROWS or ins < 8 * BLOCK_COLUMNS:
        return 0
    most = min(outs, SMALL_PRODUCT // (n * BLOCK_COLUMNS))
    return next((rows for rows in range(most, 0, -1) if outs % rows == 0), 0)


def backward_bias(dy: Array, dbias: Array) -> None:
    """`dbias = sum of dy over its rows`, with dy (..., O), dbias (O,)."""
    column_sums(dy, dbias)


def backward_input(dy: Array, weight: Array, dx: Array) -> None:
    """`dx = dy @ weight`, with dy (..., O), weight (O, I), dx (..., I)."""
    _product(_rows(dy), weight, _rows(dx))


def _product(a: Array, b: Array, out: Array, bias: Array | None = None) -> None:
    """`out = a @ b + bias`; each thread gets a part of the columns or of the rows, whichever are more."""
    rows, columns = out.shape

    def part(of_rows: slice, of_columns: slice) -> None:
        target = out[of_rows, of_columns]
        np.matmul(a[of_rows], b[:, of_columns], out=target)
        if bias is not None:
            target += bias[of_columns]

    whole = slice(None)
    split = parallel.parts(max(rows, columns), rows * columns * a.shape[1])
    parallel.run(part, [(whole, s) if columns >= rows else (s, whole) for s in split])


def _rows(x: Array) -> Array:
    """View `x` (..., F) as (rows, F)."""
    return x.reshape(-1, x.shape[-1])
