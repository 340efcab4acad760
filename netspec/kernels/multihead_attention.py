"""The projections of multi-head attention: query, key and value (N, ..., E) by the thirds of one
weight (3 E, E).
"""

from netspec.kernels import linear
from netspec.kernels.arrays import Array


def project(
    x: Array, weight: Array, bias: Array, out: Array, scratch: Array, *, third: int
) -> None:
    """`out = x @ w.T + b`, with a third of the weight (3 E, E) and of the bias (3 E,)."""
    rows = _third(weight, third)
    linear.forward(x, rows, _third(bias, third), out, scratch)


def backward_input(dy: Array, weight: Array, dx: Array, *, third: int) -> None:
    """`dx = dy @ w`, with a third of the weight."""
    linear.backward_input(dy, _third(weight, third), dx)


def backward_parameters(
    q: Array, k: Array, v: Array, dq: Array, dk: Array, dv: Array, dweight: Array, dbias: Array
) -> None:
    """The gradients of the weight (3 E, E) and of the bias (3 E,), by those of the projections."""
    for third, (x, dy) in enumerate(((q, dq), (k, dk), (v, dv))):
        linear.backward_weight(x, dy, _third(dweight, third))
        linear.backward_bias(dy, _third(dbias, third))


def _third(array: Array, third: int) -> Array:
    size = len(array) // 3
    return array[third * size : (third + 1) * size]
