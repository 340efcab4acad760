"""The kernels of a compiled program, one layer at a time, with arrays that they allocate themselves.

A compiled program plans its buffers and its scratch, but a caller who wants a single layer does
not. Pictures are stored as the kernels require, N, H, W, C. `fast` and `sandwich` combine these
stages.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netspec.kernels import batch_norm as norm
from netspec.kernels import conv, elementwise, linear, pool
from netspec.kernels.arrays import Array
from netspec.kernels.windows import Ints


class Filters(NamedTuple):
    """A convolution's weight (F, C, kh, kw), and its stride, padding and the like."""

    weight: Array
    stride: Ints
    pad: Ints

    def _options(self) -> dict[str, Any]:
        return {"stride": self.stride, "pad": self.pad, "dilation": (1, 1), "groups": 1}

    def _scratch(self, x: Array, out: Array) -> Array:
        kernel = self.weight.shape[2:]
        shapes = (x.shape[1:], out.shape[1:])
        size = conv.scratch_size(len(x), *shapes, kernel=kernel, **self._options())
        return np.empty(max(1, size), x.dtype)

    def forward(self, x: Array, bias: Array) -> Array:
        """Return the output for x (N, H, W, C)."""
        filters, _, tall, wide = self.weight.shape
        top, bottom, left, right = self.pad
        height = (x.shape[1] + top + bottom - tall) // self.stride[0] + 1
        width = (x.shape[2] + left + right - wide) // self.stride[1] + 1
        out = np.empty((len(x), height, width, filters), x.dtype)
        scratch = self._scratch(x, out)
        conv.forward(x, self.weight, bias, out, scratch, **self._options())
        return out

    def backward(self, x: Array, dy: Array) -> tuple[Array, Array, Array]:
        """Return the gradients of x, weight and bias."""
        dx, dw = np.empty_like(x), np.empty_like(self.weight)
        db = np.empty(len(self.weight), x.dtype)
        scratch, options = self._scratch(x, dy), self._options()
        conv.backward_weight(x, dy, dw, scratch, **options)
        conv.backward_bias(dy, db)
        conv.backward_input(dy, self.weight, dx, scratch, **options)
        return dx, dw, db


class Pool(NamedTuple):
    """A window (height, width) and its stride, applied to each channel separately."""

    kernel: Ints
    stride: Ints

    def _out(self, x: Array) -> Array:
        height = (x.shape[1] - self.kernel[0]) // self.stride[0] + 1
        width = (x.shape[2] - self.kernel[1]) // self.stride[1] + 1
        return np.empty((len(x), height, width, x.shape[3]), x.dtype)

    def max_forward(self, x: Array) -> Array:
        """Return the maxima."""
        out = self._out(x)
        size = pool.max_scratch_size(len(x), x.shape[1:], out.shape[1:])
        pool.max_forward(
            x,
            out,
            np.empty(size, x.dtype),
            kernel=self.kernel,
            stride=self.stride,
            pad=_NONE,
            dilation=(1, 1),
        )
        return out

    def max_backward(self, x: Array, y: Array, dy: Array) -> Array:
        """Return the gradient of x, where y are the maxima of x."""
        dx = np.empty_like(x)
        size = pool.scratch_size(len(x), y.shape[1:], kernel=self.kernel)
        scratch = np.empty(size, x.dtype)
        pool.max_backward(
            x,
            y,
            dy,
            dx,
            scratch,
            kernel=self.kernel,
            stride=self.stride,
            pad=_NONE,
            dilation=(1, 1),
        )
        return dx

    def avg_forward(self, x: Array) -> Array:
        """Return the means."""
        out = self._out(x)
        pool.avg_forward(
            x, out, kernel=self.kernel, stride=self.stride, pad=_NONE, count_include_pad=True
        )
        return out

    def avg_backward(self, x: Array, dy: Array) -> Array:
        """Return the gradient of x."""
        dx = np.empty_like(x)
        scratch = np.empty(pool.avg_scratch_size(len(x), dy.shape[1:]), x.dtype)
        pool.avg_backward(
            dy,
            dx,
            scratch,
            kernel=self.kernel,
            stride=self.stride,
            pad=_NONE,
            count_include_pad=True,
        )
        return dx


_NONE: Ints = (0, 0, 0, 0)


def affine_forward(x: Array, w: Array, b: Array) -> Array:
    """x w + b for x (N, D), w (D, M), b (M,)."""
    out = np.empty((len(x), w.shape[1]), x.dtype)
    scratch = np.empty(linear.scratch_size(len(x), out.shape[1:]), out.dtype)
    linear.forward(x, w.T, b, out, scratch)
    return out


def affine_backward(x: Array, w: Array, dy: Array) -> tuple[Array, Array, Array]:
    """The gradients of x, w and b."""
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty(w.shape[1], x.dtype)
    linear.backward_weight(x, dy, dw.T)
    linear.backward_bias(dy, db)
    linear.backward_input(dy, w.T, dx)
    return dx, dw, db


def relu(y: Array) -> Array:
    """max(y, 0), in place: the output of the layer before is not kept."""
    flat = y.reshape(-1)

    def tile(rows: slice) -> None:
        np.maximum(flat[rows], 0, out=flat[rows])

    elementwise.run(tile, flat, flat[:0])
    return y


def relu_backward(y: Array, dy: Array) -> Array:
    """The gradient of relu's input, from its value y alone: dy where y > 0, else 0."""
    out = np.empty_like(dy)
    flat, value, gradient = out.reshape(-1), y.reshape(-1), dy.reshape(-1)

    def tile(rows: slice, positive: Array) -> None:
        np.greater(value[rows], 0, out=positive)
        np.multiply(gradient[rows], positive, out=flat[rows])

    scratch = np.empty(elementwise.scratch_size(1, 1), dy.dtype)
    elementwise.run(tile, flat, scratch, flags=1)
    return out


class Normalized(NamedTuple):
    """What the backward pass of a batch norm needs from its forward pass; vectors (C,)."""

    weight: Array
    mean: Array
    inverse_std: Array

    def in_type(self, dtype: np.dtype[Any]) -> Normalized:
        """Return the same in another floating-point type."""
        return Normalized(*(array.astype(dtype, copy=False) for array in self))


def batch_norm_relu(
    x: Array,
    weight: Array,
    bias: Array,
    running: tuple[Array, Array],
    *,
    eps: float,
    momentum: float,
) -> tuple[Array, Normalized]:
    """relu of the batch norm of x (..., C) in training; `running` mean and variance are updated.

    One pass over x after its statistics: max(x scale + shift, 0).
    """
    mean, inverse_std, scale, shift = (np.empty_like(weight) for _ in range(4))
    norm.batch_statistics(
        x, _norm_scratch(x), weight, bias, *running, None, mean, inverse_std, scale, shift,
        eps=eps, momentum=momentum,
    )  # fmt: skip
    return scale_shift_relu(x, scale, shift), Normalized(weight, mean, inverse_std)


def running_norm_relu(
    x: Array, weight: Array, bias: Array, running: tuple[Array, Array], *, eps: float
) -> Array:
    """relu of the batch norm of x (..., C) in evaluation."""
    scale, shift = np.empty_like(weight), np.empty_like(weight)
    norm.running_scale_shift(weight, bias, *running, scale, shift, eps=eps)
    return scale_shift_relu(x, scale, shift)


def scale_shift_relu(x: Array, scale: Array, shift: Array) -> Array:
    """max(x scale + shift, 0), for x (..., C) and vectors (C,)."""
    out = np.empty_like(x)
    rows_out, rows_x = out.reshape(-1, len(scale)), x.reshape(-1, len(scale))

    def tile(rows: slice, product: Array) -> None:
        np.multiply(rows_x[rows], scale, out=product)
        np.add(product, shift, out=product)
        np.maximum(product, 0, out=rows_out[rows])

    scratch = np.empty(elementwise.scratch_size(len(scale), 1), x.dtype)
    elementwise.run(tile, rows_out, scratch, floats=1)
    return out


def batch_norm_backward(x: Array, dy: Array, saved: Normalized) -> tuple[Array, Array, Array]:
    """The gradients of x, weight and bias of a batch norm in training."""
    dweight, dbias, dy_scale, x_scale, dx_shift = (np.empty_like(saved.mean) for _ in range(5))
    norm.batch_backward(
        x, dy, _norm_scratch(x), *saved, dweight, dbias, dy_scale, x_scale, dx_shift
    )
    dx = np.empty_like(x)
    width = len(saved.mean)
    out, value, gradient = (array.reshape(-1, width) for array in (dx, x, dy))

    def tile(rows: slice, left: Array, right: Array) -> None:
        np.multiply(gradient[rows], dy_scale, out=left)
        np.subtract(value[rows], saved.mean, out=right)
        np.multiply(right, x_scale, out=right)
        np.add(left, right, out=left)
        np.add(left, dx_shift, out=out[rows])

    scratch = np.empty(elementwise.scratch_size(width, 2), x.dtype)
    elementwise.run(tile, out, scratch, floats=2)
    return dx, dweight, dbias


def _norm_scratch(x: Array) -> Array:
    return np.empty(norm.scratch_size(len(x), x.shape[1:]), x.dtype)
