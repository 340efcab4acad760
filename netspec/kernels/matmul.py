"""Products of matrices, one for each image (and place on any axis between): (N, ..., M, K)."""

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array


def forward(a: Array, b: Array, out: Array) -> None:
    """`out = a @ b`, with a (N, ..., M, K), b (N, ..., K, P), out (N, ..., M, P)."""
    _product(a, b, out)


def backward_left(dy: Array, b: Array, da: Array) -> None:
    """`da = dy @ b.T`, with dy (N, ..., M, P), b (N, ..., K, P), da (N, ..., M, K)."""
    _product(dy, b.swapaxes(-1, -2), da)


def backward_right(a: Array, dy: Array, db: Array) -> None:
    """`db = a.T @ dy`, with a (N, ..., M, K), dy (N, ..., M, P), db (N, ..., K, P)."""
    _product(a.swapaxes(-1, -2), dy, db)


def _product(a: Array, b: Array, out: Array) -> None:
    """`out = a @ b`; each thread gets a part of the images."""
    split = parallel.parts(len(out), out.size * a.shape[-1])
    parallel.run(lambda s: np.matmul(a[s], b[s], out=out[s]), [(s,) for s in split])
