"""Convolution and pooling by the kernels of a compiled program, with the signatures of a course.

The same functions as in `netspec.kernels.course.naive`, under the same names: N, C, H, W in and out, in
the widest type of the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array
from netspec.kernels.course.common_type import in_common_type
from netspec.kernels.course.stages import Filters, Pool

Param = Mapping[str, int]
Cache = tuple[Any, ...]


def conv_forward(x: Array, w: Array, b: Array, conv_param: Param) -> tuple[Array, Cache]:
    """See `naive.conv_forward`."""
    x, w, b = in_common_type(x=x, w=w, b=b)
    filters, stored = filters_of(w, conv_param), channels_last(x)
    with parallel.one_blas_thread():
        out = filters.forward(stored, b)
    return channels_first(out), (stored, filters)


def conv_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """See `naive.conv_backward`."""
    stored, filters = cache
    dout, stored, weight = in_common_type(dout=dout, x=stored, w=filters.weight)
    with parallel.one_blas_thread():
        dx, dw, db = filters._replace(weight=weight).backward(stored, channels_last(dout))
    return channels_first(dx), dw, db


def max_pool_forward(x: Array, pool_param: Param) -> tuple[Array, Cache]:
    """See `naive.max_pool_forward`."""
    (x,) = in_common_type(x=x)
    window, stored = pool_of(pool_param), channels_last(x)
    out = window.max_forward(stored)
    return channels_first(out), (stored, out, window)


def max_pool_backward(dout: Array, cache: Cache) -> Array:
    """See `naive.max_pool_backward`."""
    stored, out, window = cache
    dout, stored, out = in_common_type(dout=dout, x=stored, out=out)
    return channels_first(window.max_backward(stored, out, channels_last(dout)))


def avg_pool_forward(x: Array, pool_param: Param) -> tuple[Array, Cache]:
    """See `naive.avg_pool_forward`."""
    (x,) = in_common_type(x=x)
    window, stored = pool_of(pool_param), channels_last(x)
    return channels_first(window.avg_forward(stored)), (stored, window)


def avg_pool_backward(dout: Array, cache: Cache) -> Array:
    """See `naive.avg_pool_backward`."""
    stored, window = cache
    dout, stored = in_common_type(dout=dout, x=stored)
    return channels_first(window.avg_backward(stored, channels_last(dout)))


def filters_of(w: Array, conv_param: Param) -> Filters:
    """Convert a `conv_param` with `stride` and `pad` to the kernels' form."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    return Filters(np.ascontiguousarray(w), (stride, stride), (pad, pad, pad, pad))


def pool_of(pool_param: Param) -> Pool:
    """Convert a `pool_param` with `pool_height`, `pool_width` and `stride` to the kernels' form."""
    stride = pool_param["stride"]
    return Pool((pool_param["pool_height"], pool_param["pool_width"]), (stride, stride))


def channels_last(x: Array) -> Array:
    """Copy x (N, C, H, W) to the kernels' layout."""
    return x.transpose(0, 2, 3, 1).copy()


def channels_first(x: Array) -> Array:
    """Copy an array in the kernels' layout to N, C, H, W."""
    return x.transpose(0, 3, 1, 2).copy()
