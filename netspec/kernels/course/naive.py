"""Convolution and pooling as a course first writes them: loops that compute one output at a time.

These are for reading and for comparison: `netspec.kernels.course.fast` has the same functions under
the same names, and `netspec bench --layers` compares the two. Everything is N, C, H, W, and the
signatures are those of CS231n: `out, cache = forward(x, w, b, param)`, `dx, dw, db = backward(dout,
cache)`. Computations use the widest type of the arrays, and float64 for integers. Arrays that do
not hold real numbers raise TypeError.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from netspec.kernels.arrays import Array
from netspec.kernels.course.common_type import in_common_type

Param = Mapping[str, int]
Cache = tuple[Any, ...]


def conv_forward(x: Array, w: Array, b: Array, conv_param: Param) -> tuple[Array, Cache]:
    """out[n, f, i, j] = b[f] + sum over c, k, l of w[f, c, k, l] x[n, c, s i + k - p, s j + l - p].

    Args:
        x: (N, C, H, W).
        w: (F, C, kh, kw).
        b: (F,).
        conv_param: `stride` s and `pad` p.
    """
    x, w, b = in_common_type(x=x, w=w, b=b)
    stride, pad = conv_param["stride"], conv_param["pad"]
    padded = _pad(x, pad)
    height, width = _sizes(padded, w.shape[2], w.shape[3], stride)
    out = np.zeros((len(x), len(w), height, width), x.dtype)
    for n in range(len(x)):
        for f in range(len(w)):
            for i in range(height):
                for j in range(width):
                    rows, columns = _window(i, j, w.shape[2], w.shape[3], stride)
                    out[n, f, i, j] = np.sum(padded[n, :, rows, columns] * w[f]) + b[f]
    return out, (x, w, b, conv_param)


def conv_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Each output passes its gradient to the pixels and the weights that it was computed from.

    dw[f] += dout[n, f, i, j] window(n, i, j), dx's window += dout[n, f, i, j] w[f], and
    db[f] = sum over n, i, j of dout[n, f, i, j].
    """
    *arrays, conv_param = cache
    dout, x, w, b = in_common_type(dout=dout, **dict(zip("xwb", arrays, strict=True)))
    stride, pad = conv_param["stride"], conv_param["pad"]
    padded = _pad(x, pad)
    dpadded, dw, db = np.zeros_like(padded), np.zeros_like(w), np.zeros_like(b)
    _, _, height, width = dout.shape
    for n in range(len(x)):
        for f in range(len(w)):
            for i in range(height):
                for j in range(width):
                    rows, columns = _window(i, j, w.shape[2], w.shape[3], stride)
                    dw[f] += dout[n, f, i, j] * padded[n, :, rows, columns]
                    dpadded[n, :, rows, columns] += dout[n, f, i, j] * w[f]
                    db[f] += dout[n, f, i, j]
    return dpadded[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]], dw, db


def max_pool_forward(x: Array, pool_param: Param) -> tuple[Array, Cache]:
    """out[n, c, i, j] = the maximum of window (i, j) of channel c.

    Args:
        x: (N, C, H, W).
        pool_param: `pool_height`, `pool_width` and `stride`.
    """
    (x,) = in_common_type(x=x)
    tall, wide, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    height, width = _sizes(x, tall, wide, stride)
    out = np.zeros((*x.shape[:2], height, width), x.dtype)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(height):
                for j in range(width):
                    rows, columns = _window(i, j, tall, wide, stride)
                    out[n, c, i, j] = np.max(x[n, c, rows, columns])
    return out, (x, pool_param)


def max_pool_backward(dout: Array, cache: Cache) -> Array:
    """The first maximum of each window gets its gradient; if windows overlap, gradients add up."""
    x, pool_param = cache
    dout, x = in_common_type(dout=dout, x=x)
    tall, wide, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    dx: Array = np.zeros_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    rows, columns = _window(i, j, tall, wide, stride)
                    window = x[n, c, rows, columns]
                    down, along = np.unravel_index(np.argmax(window), window.shape)
                    dx[n, c, i * stride + down, j * stride + along] += dout[n, c, i, j]
    return dx


def avg_pool_forward(x: Array, pool_param: Param) -> tuple[Array, Cache]:
    """out[n, c, i, j] = the mean of window (i, j) of channel c; arguments as `max_pool_forward`."""
    (x,) = in_common_type(x=x)
    tall, wide, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    height, width = _sizes(x, tall, wide, stride)
    out = np.zeros((*x.shape[:2], height, width), x.dtype)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(height):
                for j in range(width):
                    rows, columns = _window(i, j, tall, wide, stride)
                    out[n, c, i, j] = np.mean(x[n, c, rows, columns])
    return out, (x, pool_param)


def avg_pool_backward(dout: Array, cache: Cache) -> Array:
    """Every pixel of a window gets an equal share of its gradient."""
    x, pool_param = cache
    dout, x = in_common_type(dout=dout, x=x)
    tall, wide, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    dx: Array = np.zeros_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    rows, columns = _window(i, j, tall, wide, stride)
                    dx[n, c, rows, columns] += dout[n, c, i, j] / (tall * wide)
    return dx


def _pad(x: Array, pad: int) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))


def _sizes(padded: Array, tall: int, wide: int, stride: int) -> tuple[int, int]:
    """How many windows fit, down and across."""
    return (padded.shape[2] - tall) // stride + 1, (padded.shape[3] - wide) // stride + 1


def _window(i: int, j: int, tall: int, wide: int, stride: int) -> tuple[slice, slice]:
    top, left = i * stride, j * stride
    return slice(top, top + tall), slice(left, left + wide)
