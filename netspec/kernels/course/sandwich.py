"""The layers that a course puts together most often, each as one function forward and one back.

They call the same kernels as a compiled program for the same chain of layers: `relu` works in place
on the value before it, and its backward pass needs only its own value; batch norm, scale, shift and
relu are one pass over memory. Pictures are N, C, H, W; the signatures are CS231n's:

    out, cache = affine_relu_forward(x, w, b)                      dx, dw, db = ..._backward(dout, cache)
    out, cache = affine_bn_relu_forward(x, w, b, gamma, beta, bn_param)
    out, cache = conv_relu_forward(x, w, b, conv_param)
    out, cache = conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param)
    out, cache = conv_relu_pool_forward(x, w, b, conv_param, pool_param)

with x (N, d1, ..., dk) and w (D, M) for affine, x (N, C, H, W) and w (F, C, kh, kw) for conv. In
`bn_param` are `mode` (`train` or `test`), `eps` (1e-5), `momentum` (0.9) and the running statistics,
which training updates as the course does: running = momentum running + (1 - momentum) batch, with
the biased variance. (`batch_norm` in a `.net` file follows PyTorch: its momentum is 1 minus this one,
and its running variance is the unbiased one.)

Computations use the widest type of the arrays, and float64 for integers. Arrays that do not hold
real numbers raise TypeError.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array
from netspec.kernels.course import stages
from netspec.kernels.course.common_type import in_common_type
from netspec.kernels.course.fast import (
    Cache,
    Param,
    channels_first,
    channels_last,
    filters_of,
    pool_of,
)

BnParam = dict[str, Any]
Gradients = tuple[Array, ...]


def affine_relu_forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """max(x w + b, 0), with each x flattened."""
    x, w, b = in_common_type(x=x, w=w, b=b)
    rows = x.reshape(len(x), -1)
    with parallel.one_blas_thread():
        out = stages.relu(stages.affine_forward(rows, w, b))
    return out, (x, w, out)


def affine_relu_backward(dout: Array, cache: Cache) -> Gradients:
    """dx, dw, db."""
    x, w, out = cache
    dout, x, w, out = in_common_type(dout=dout, x=x, w=w, out=out)
    with parallel.one_blas_thread():
        between = stages.relu_backward(out, dout)
        dx, dw, db = stages.affine_backward(x.reshape(len(x), -1), w, between)
    return dx.reshape(x.shape), dw, db


def affine_bn_relu_forward(
    x: Array, w: Array, b: Array, gamma: Array, beta: Array, bn_param: BnParam
) -> tuple[Array, Cache]:
    """relu(batch_norm(x w + b)), with each x flattened."""
    x, w, b, gamma, beta = in_common_type(x=x, w=w, b=b, gamma=gamma, beta=beta)
    with parallel.one_blas_thread():
        between = stages.affine_forward(x.reshape(len(x), -1), w, b)
        out, saved = _norm_relu(between, gamma, beta, bn_param)
    return out, (x, w, between, saved, out)


def affine_bn_relu_backward(dout: Array, cache: Cache) -> Gradients:
    """dx, dw, db, dgamma, dbeta, after a forward pass in training."""
    x, w, between, saved, out = cache
    dout, x, w, between, out = in_common_type(dout=dout, x=x, w=w, between=between, out=out)
    saved = saved.in_type(dout.dtype)
    with parallel.one_blas_thread():
        dy = stages.relu_backward(out, dout)
        dbetween, dgamma, dbeta = stages.batch_norm_backward(between, dy, saved)
        dx, dw, db = stages.affine_backward(x.reshape(len(x), -1), w, dbetween)
    return dx.reshape(x.shape), dw, db, dgamma, dbeta


def conv_relu_forward(x: Array, w: Array, b: Array, conv_param: Param) -> tuple[Array, Cache]:
    """relu(conv(x))."""
    x, w, b = in_common_type(x=x, w=w, b=b)
    filters, stored = filters_of(w, conv_param), channels_last(x)
    with parallel.one_blas_thread():
        out = stages.relu(filters.forward(stored, b))
    return channels_first(out), (stored, filters, out)


def conv_relu_backward(dout: Array, cache: Cache) -> Gradients:
    """dx, dw, db."""
    stored, filters, out = cache
    dout, stored, weight, out = in_common_type(dout=dout, x=stored, w=filters.weight, out=out)
    filters = filters._replace(weight=weight)
    with parallel.one_blas_thread():
        dy = stages.relu_backward(out, channels_last(dout))
        dx, dw, db = filters.backward(stored, dy)
    return channels_first(dx), dw, db


def conv_bn_relu_forward(
    x: Array, w: Array, b: Array, gamma: Array, beta: Array, conv_param: Param, bn_param: BnParam
) -> tuple[Array, Cache]:
    """relu(batch_norm(conv(x))), normalized channel by channel."""
    x, w, b, gamma, beta = in_common_type(x=x, w=w, b=b, gamma=gamma, beta=beta)
    filters, stored = filters_of(w, conv_param), channels_last(x)
    with parallel.one_blas_thread():
        between = filters.forward(stored, b)
        out, saved = _norm_relu(between, gamma, beta, bn_param)
    return channels_first(out), (stored, filters, between, saved, out)


def conv_bn_relu_backward(dout: Array, cache: Cache) -> Gradients:
    """dx, dw, db, dgamma, dbeta, after a forward pass in training."""
    stored, filters, between, saved, out = cache
    dout, stored, weight, between, out = in_common_type(
        dout=dout, x=stored, w=filters.weight, between=between, out=out
    )
    filters, saved = filters._replace(weight=weight), saved.in_type(dout.dtype)
    with parallel.one_blas_thread():
        dy = stages.relu_backward(out, channels_last(dout))
        dbetween, dgamma, dbeta = stages.batch_norm_backward(between, dy, saved)
        dx, dw, db = filters.backward(stored, dbetween)
    return channels_first(dx), dw, db, dgamma, dbeta


def conv_relu_pool_forward(
    x: Array, w: Array, b: Array, conv_param: Param, pool_param: Param
) -> tuple[Array, Cache]:
    """max_pool(relu(conv(x)))."""
    x, w, b = in_common_type(x=x, w=w, b=b)
    filters, window, stored = filters_of(w, conv_param), pool_of(pool_param), channels_last(x)
    with parallel.one_blas_thread():
        active = stages.relu(filters.forward(stored, b))
        out = window.max_forward(active)
    return channels_first(out), (stored, filters, active, window, out)


def conv_relu_pool_backward(dout: Array, cache: Cache) -> Gradients:
    """dx, dw, db."""
    stored, filters, active, window, out = cache
    dout, stored, weight, active, out = in_common_type(
        dout=dout, x=stored, w=filters.weight, active=active, out=out
    )
    filters = filters._replace(weight=weight)
    with parallel.one_blas_thread():
        dactive = window.max_backward(active, out, channels_last(dout))
        dx, dw, db = filters.backward(stored, stages.relu_backward(active, dactive))
    return channels_first(dx), dw, db


def _norm_relu(
    x: Array, gamma: Array, beta: Array, bn_param: BnParam
) -> tuple[Array, stages.Normalized | None]:
    """Batch norm and relu of x (..., C) in the mode of `bn_param`."""
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    channels = x.shape[-1]
    for name in ("running_mean", "running_var"):
        kept = bn_param.get(name, np.zeros(channels, x.dtype))
        bn_param[name] = in_common_type(**{name: kept})[0].astype(x.dtype, copy=False)
    mean, var = bn_param["running_mean"], bn_param["running_var"]
    if bn_param["mode"] == "test":
        return stages.running_norm_relu(x, gamma, beta, (mean, var), eps=eps), None
    # The kernel updates with PyTorch's unbiased variance, but the course keeps the biased one.
    kept, unbiased = momentum * var, var.copy()
    out, saved = stages.batch_norm_relu(
        x, gamma, beta, (mean, unbiased), eps=eps, momentum=1 - momentum
    )
    rows = x.size // channels
    var[...] = kept + (unbiased - kept) * (rows - 1) / rows
    return out, saved
