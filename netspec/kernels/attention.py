"""Scaled dot-product attention, for each image and head.

    p = softmax(q @ k.T / sqrt(D) + bias) along the keys, y = (p * kept) @ v

q (N, ..., T, D), k (N, ..., S, D), v (N, ..., S, E), y (N, ..., T, E). These may be None: bias and mask
(N, ..., T, S), for each head or for runs of as many heads; and kept (N, ..., T, S), a mask of dropout.
The mask is 0 where a key is hidden, and may have one row for all queries; a query that sees no key
gets zeros. Causal: query t sees the keys 0 to t. The attention weights p have T*S elements for each
head, so only a tile of them is computed in scratch at a time, and the gradient computes it again.
"""

from collections.abc import Callable, Iterator
from math import prod, sqrt

import numpy as np

from netspec.kernels import linear, parallel
from netspec.kernels.arrays import Array, as_one, carve, chunks, fixed, row_sums

# Elements of the attention weights in a tile; see `elementwise.TILE`.
TILE = 1 << 17


def forward(
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    mask: Array | None,
    kept: Array | None,
    out: Array,
    scratch: Array,
    *,
    causal: bool,
) -> None:
    """`out = (p * kept) @ v`."""
    q, k, v, out = (_heads(x) for x in (q, k, v, out))
    added, seen, kept = (None if x is None else _heads(x) for x in (bias, mask, kept))

    def tile(heads: slice, own: Array) -> None:
        (shares,) = carve(own, (heads.stop - heads.start, q.shape[1], k.shape[1]))
        _shares(q, k, added, seen, heads, shares, causal=causal)
        if kept is not None:
            shares *= kept[heads]
        np.matmul(shares, v[heads], out=out[heads])

    _each_tile(tile, q, k, scratch)


def backward(
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    mask: Array | None,
    kept: Array | None,
    dy: Array,
    dq: Array | None,
    dk: Array | None,
    dv: Array | None,
    dbias: Array | None,
    scratch: Array,
    *,
    causal: bool,
) -> None:
    """Write the gradients dq, dk, dv and dbias; those that are None are skipped.

    With dp = dy @ v.T * kept and ds = p * (dp - sum of dp*p over the keys):
    dq = ds @ k / sqrt(D), dk = ds.T @ q / sqrt(D), dv = (p * kept).T @ dy, dbias = ds.
    """
    q, k, v, dy = (_heads(x) for x in (q, k, v, dy))
    targets = [None if x is None else _heads(x) for x in (dq, dk, dv, dbias)]
    added, seen, kept = (None if x is None else _heads(x) for x in (bias, mask, kept))

    def tile(heads: slice, own: Array) -> None:
        shape = (heads.stop - heads.start, q.shape[1], k.shape[1])
        shares, gradient = carve(own, shape, shape)
        to_q, to_k, to_v, to_bias = (None if x is None else x[heads] for x in targets)
        _shares(q, k, added, seen, heads, shares, causal=causal)
        if to_v is not None:
            read = shares if kept is None else np.multiply(shares, kept[heads], out=gradient)
            np.matmul(read.swapaxes(1, 2), dy[heads], out=to_v)
        if to_q is None and to_k is None and to_bias is None:
            return
        np.matmul(dy[heads], v[heads].swapaxes(1, 2), out=gradient)
        if kept is not None:
            gradient *= kept[heads]
        gradient *= shares
        shares *= row_sums(gradient, np.empty_like(gradient, shape=(*shape[:2], 1)))
        gradient -= shares
        if to_bias is not None:
            np.copyto(to_bias, gradient)
        gradient *= 1 / sqrt(q.shape[2])
        if to_q is not None:
            np.matmul(gradient, k[heads], out=to_q)
        if to_k is not None:
            np.matmul(gradient.swapaxes(1, 2), q[heads], out=to_k)

    _each_tile(tile, q, k, scratch)


def scratch_size(n: int, q_shape: tuple[int, ...], k_shape: tuple[int, ...]) -> int:
    """Elements of scratch that suffice for both kernels; shapes (..., T, D) and (..., S, D)."""
    one = q_shape[-2] * k_shape[-2]
    heads = n * prod(q_shape[:-2])
    return 2 * min(parallel.threads(), heads) * min(heads * one, max(TILE, one))


def _heads(x: Array) -> Array:
    """View (N, ..., T, D) as (N*..., T, D)."""
    return x.reshape(-1, *x.shape[-2:])


def _shares(
    q: Array,
    k: Array,
    bias: Array | None,
    mask: Array | None,
    heads: slice,
    out: Array,
    *,
    causal: bool,
) -> None:
    """`out = softmax(q @ k.T / sqrt(D) + bias)` along the last axis, for some of the heads."""
    np.matmul(q[heads], k[heads].swapaxes(1, 2), out=out)
    out *= 1 / sqrt(q.shape[2])
    if bias is not None:
        for part, own in _runs(bias, len(q), heads):
            out[part] += own
    if causal:
        np.copyto(out, -np.inf, where=fixed(~np.tri(*out.shape[1:], dtype=np.bool_)))
    if mask is not None:
        for part, own in _runs(mask, len(q), heads):
            as_one(_hide, out[part], reads=[own])
    largest = np.maximum.reduce(out, axis=2, keepdims=True)
    if mask is not None:  # -inf where a query sees no key
        np.maximum(largest, np.finfo(out.dtype).min, out=largest)
    out -= largest
    np.exp(out, out=out)
    total = row_sums(out, np.empty_like(largest))
    if mask is not None:
        np.maximum(total, np.finfo(out.dtype).tiny, out=total)
    out /= total


def _hide(scores: Array, mask: Array) -> None:
    np.copyto(scores, -np.inf, where=~(mask > 0))


def _runs(shared: Array, count: int, heads: slice) -> Iterator[tuple[slice, Array]]:
    """Yield runs of the heads that share a plane (T, S) of an array, counted from the first of them.

    Args:
        shared: (G, T, S).
        count: all heads, a multiple of G.
        heads: those to divide.
    """
    each, start = count // len(shared), heads.start
    while start < heads.stop:
        plane = start // each
        stop = min((plane + 1) * each, heads.stop)
        yield slice(start - heads.start, stop - heads.start), shared[plane]
        start = stop


def _each_tile(tile: Callable[[slice, Array], None], q: Array, k: Array, scratch: Array) -> None:
    """Call `tile(heads, scratch)` for runs of heads; each thread gets a part of the heads."""
    one = q.shape[1] * k.shape[1]
    split = parallel.parts(len(q), len(q) * one * q.shape[2])
    share = len(scratch) // len(split)

    def part(heads: slice, own: Array) -> None:
        for run in chunks(heads.stop - heads.start, max(1, TILE // one)):
            tile(slice(heads.start + run.start, heads.start + run.stop), own)

    own = (scratch[i * share : (i + 1) * share] for i in range(len(split)))
    parallel.run(part, list(zip(split, own, strict=True)))


def project(
    x: Array, weight: Array, bias: Array, out: Array, scratch: Array, *, third: int
) -> None:
    """`out = x @ w.T + b`, for a query, key or value x (N, ..., E), with a third of the weight (3 E, E)
    and of the bias (3 E,).
    """
    rows = _third(weight, third)
    linear.forward(x, rows, _third(bias, third), out, scratch)


def project_backward_input(dy: Array, weight: Array, dx: Array, *, third: int) -> None:
    """`dx = dy @ w`, with a third of the weight."""
    linear.backward_input(dy, _third(weight, third), dx)


def project_backward_parameters(
    q: Array, k: Array, v: Array, dq: Array, dk: Array, dv: Array, dweight: Array, dbias: Array
) -> None:
    """The gradients of the weight (3 E, E) and of the bias (3 E,), by those of the projections."""
    for third, (x, dy) in enumerate(((q, dq), (k, dk), (v, dv))):
        linear.backward_weight(x, dy, _third(dweight, third))
        linear.backward_bias(dy, _third(dbias, third))


def _third(array: Array, third: int) -> Array:
    size = len(array) // 3
    return array[third * size : (third + 1) * size]
