"""Fully connected layers: x (..., I), weight (O, I), out (..., O)."""

import numpy as np

from netspec.kernels.arrays import Array, column_sums


def forward(x: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """`out = x @ weight.T + bias`.

    x (..., I), weight (O, I), bias (O,) or None, out (..., O).
    """
    rows = _rows(out)
    np.matmul(_rows(x), weight.T, out=rows)
    if bias is not None:
        rows += bias


def backward_weight(x: Array, dy: Array, dweight: Array) -> None:
    """`dweight = dy.T @ x`, with x (..., I), dy (..., O), dweight (O, I)."""
    np.matmul(_rows(dy).T, _rows(x), out=dweight)


def backward_bias(dy: Array, dbias: Array) -> None:
    """`dbias = sum of dy over its rows`, with dy (..., O), dbias (O,)."""
    column_sums(dy, dbias)


def backward_input(dy: Array, weight: Array, dx: Array) -> None:
    """`dx = dy @ weight`, with dy (..., O), weight (O, I), dx (..., I)."""
    np.matmul(_rows(dy), weight, out=_rows(dx))


def _rows(x: Array) -> Array:
    """View `x` (..., F) as (rows, F)."""
    return x.reshape(-1, x.shape[-1])
