"""Fully connected layers: x (..., I), weight (O, I), out (..., O)."""

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, column_sums


def forward(x: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """`out = x @ weight.T + bias`.

    x (..., I), weight (O, I), bias (O,) or None, out (..., O).
    """
    rows = _rows(out)
    _product(_rows(x), weight.T, rows)
    if bias is not None:
        rows += bias


def backward_weight(x: Array, dy: Array, dweight: Array) -> None:
    """`dweight = dy.T @ x`, with x (..., I), dy (..., O), dweight (O, I)."""
    _product(_rows(dy).T, _rows(x), dweight)


def backward_bias(dy: Array, dbias: Array) -> None:
    """`dbias = sum of dy over its rows`, with dy (..., O), dbias (O,)."""
    column_sums(dy, dbias)


def backward_input(dy: Array, weight: Array, dx: Array) -> None:
    """`dx = dy @ weight`, with dy (..., O), weight (O, I), dx (..., I)."""
    _product(_rows(dy), weight, _rows(dx))


def _product(a: Array, b: Array, out: Array) -> None:
    """`out = a @ b`, a part of the columns or of the rows a thread, whichever are more."""
    rows, columns = out.shape
    work = rows * columns * a.shape[1]
    if columns >= rows:
        split = parallel.parts(columns, work)
        parallel.run(lambda s: np.matmul(a, b[:, s], out=out[:, s]), [(s,) for s in split])
    else:
        split = parallel.parts(rows, work)
        parallel.run(lambda s: np.matmul(a[s], b, out=out[s]), [(s,) for s in split])


def _rows(x: Array) -> Array:
    """View `x` (..., F) as (rows, F)."""
    return x.reshape(-1, x.shape[-1])
