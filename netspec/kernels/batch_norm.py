"""Batch normalization over the last axis: the sums over rows, and the vectors computed from them.

Normalizing is y = x*scale + shift, and its gradient dx = dy*dy_scale + (x - mean)*x_scale +
dx_shift, where each vector has one number for each channel. These kernels compute the vectors; the
elementwise part is fused with the operations around it.
"""

from collections.abc import Callable, Iterator
from math import prod

import numpy as np
from numpy.typing import NDArray

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, carve, chunks, column_sums, fold, repeat_row

# Elements of x in a block. In short calls the threads wait for each other, so blocks larger than
# the L2 cache are faster in the end.
BLOCK = 1 << 17

# The cost of an element, in the units of `parallel.WORTH_A_THREAD`.
WORK = 8


def batch_statistics(
    x: Array,
    scratch: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    counter: NDArray[np.int64] | None,
    mean: Array,
    inverse_std: Array,
    scale: Array,
    shift: Array,
    *,
    eps: float,
    momentum: float,
) -> None:
    """Mean and variance of a batch, the affine map that normalizes it, and the running estimates.

    mean = sum(x) / R and var = sum((x - mean)**2) / R over the R rows of x (..., C);
    inverse_std = 1 / sqrt(var + eps), scale = weight*inverse_std, shift = bias - mean*scale;
    running = (1 - momentum)*running + momentum*batch, with the unbiased variance var * R/(R - 1).

    The variance takes a second pass over x, because sum(x**2)/R - mean**2 would lose all digits if
    the mean is large. `counter` () counts the batches. `inverse_std` and the rest are (C,) vectors.
    A weight of None means ones, a bias of None zeros.
    """
    rows = x.size // x.shape[-1]
    mean[...] = _sums(_column_sums, scratch, x)[0]
    mean /= rows

    def squares(x: Array, scratch: Array) -> list[Array]:
        total = np.zeros_like(mean)
        for (block,), centre, buffer in _blocks(mean, scratch, x):
            np.subtract(block, centre, out=buffer)
            np.square(buffer, out=buffer)
            total += _channel_sums(buffer, len(mean))
        return [total]

    (variance,) = _sums(squares, scratch, x)
    variance /= rows
    _inverse_std(variance, eps, inverse_std)
    _scale_shift(weight, bias, mean, inverse_std, scale, shift)
    if running_mean is not None:
        running_mean += momentum * (mean - running_mean)
    if running_var is not None:
        running_var += momentum * (variance * (rows / max(rows - 1, 1)) - running_var)
    if counter is not None:
        counter += 1


def running_scale_shift(
    weight: Array | None,
    bias: Array | None,
    running_mean: Array,
    running_var: Array,
    scale: Array,
    shift: Array,
    *,
    eps: float,
) -> None:
    """`scale = weight / sqrt(running_var + eps)`, `shift = bias - running_mean*scale`; all (C,)."""
    inverse_std = np.empty_like(scale)
    _inverse_std(running_var, eps, inverse_std)
    _scale_shift(weight, bias, running_mean, inverse_std, scale, shift)


def batch_backward(
    x: Array,
    dy: Array,
    scratch: Array,
    weight: Array | None,
    mean: Array,
    inverse_std: Array,
    dweight: Array | None,
    dbias: Array | None,
    dy_scale: Array,
    x_scale: Array,
    dx_shift: Array,
) -> None:
    """The gradient of batch normalization in training mode, where mean and variance depend on x.

    With xhat = (x - mean)*inverse_std and sums over the R rows of x and dy (..., C):
    dbias = sum(dy), dweight = sum(dy*xhat),
    dx = weight*inverse_std * (dy - dbias/R - xhat*dweight/R)
       = dy*dy_scale + (x - mean)*x_scale + dx_shift.
    Writes dweight and dbias, unless they are None, and the three vectors of dx.
    """
    rows = x.size // x.shape[-1]
    sum_dy, sum_dy_xhat = _gradient_sums(x, dy, scratch, mean, inverse_std)
    _store(sum_dy, dbias)
    _store(sum_dy_xhat, dweight)
    if weight is None:
        dy_scale[...] = inverse_std
    else:
        np.multiply(weight, inverse_std, out=dy_scale)
    x_scale[...] = dy_scale * inverse_std * sum_dy_xhat / -rows
    dx_shift[...] = dy_scale * sum_dy / -rows


def running_backward(
    x: Array,
    dy: Array,
    scratch: Array,
    running_mean: Array,
    running_var: Array,
    dweight: Array | None,
    dbias: Array | None,
    *,
    eps: float,
) -> None:
    """The gradient in evaluation mode, where the running estimates are constants.

    dbias = sum(dy), dweight = sum(dy * (x - running_mean)) / sqrt(running_var + eps), summed over
    the rows of x and dy (..., C). The rest, dx = dy*scale, is elementwise.
    """
    inverse_std = np.empty_like(running_var)
    _inverse_std(running_var, eps, inverse_std)
    sum_dy, sum_dy_xhat = _gradient_sums(x, dy, scratch, running_mean, inverse_std)
    _store(sum_dy, dbias)
    _store(sum_dy_xhat, dweight)


def scratch_size(n: int, shape: tuple[int, ...]) -> int:
    """Elements of scratch that suffice for the kernels above, for `n` images of shape (..., C)."""
    return parallel.threads() * min(n * prod(shape), max(BLOCK, shape[-1]))


def _inverse_std(variance: Array, eps: float, out: Array) -> None:
    """`out = 1 / sqrt(variance + eps)`."""
    np.add(variance, eps, out=out)
    np.sqrt(out, out=out)
    np.reciprocal(out, out=out)


def _scale_shift(
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    inverse_std: Array,
    scale: Array,
    shift: Array,
) -> None:
    """`scale = weight*inverse_std`, `shift = bias - mean*scale`."""
    scale[...] = inverse_std if weight is None else weight * inverse_std
    np.multiply(mean, scale, out=shift)
    np.subtract(0 if bias is None else bias, shift, out=shift)


def _gradient_sums(
    x: Array, dy: Array, scratch: Array, mean: Array, inverse_std: Array
) -> tuple[Array, Array]:
    """sum(dy) and sum(dy*xhat) over the rows, each (C,)."""

    def sums(x: Array, dy: Array, scratch: Array) -> list[Array]:
        sum_dy, sum_dy_xhat = np.zeros_like(mean), np.zeros_like(mean)
        for (block, gradient), centre, buffer in _blocks(mean, scratch, x, dy):
            np.subtract(block, centre, out=buffer)
            buffer *= gradient
            sum_dy += _channel_sums(gradient, len(mean))
            sum_dy_xhat += _channel_sums(buffer, len(mean))
        return [sum_dy, sum_dy_xhat]

    sum_dy, sum_dy_xhat = _sums(sums, scratch, x, dy)
    sum_dy_xhat *= inverse_std
    return sum_dy, sum_dy_xhat


def _sums(part: Callable[..., list[Array]], scratch: Array, *arrays: Array) -> list[Array]:
    """Sum what `part(*arrays, scratch)` returns, in order; each thread gets a part of the images."""
    split = parallel.parts(len(arrays[0]), arrays[0].size * WORK)
    share = len(scratch) // len(split)
    tasks = [
        (*(array[images] for array in arrays), scratch[i * share : (i + 1) * share])
        for i, images in enumerate(split)
    ]
    results: list[list[Array]] = parallel.run(part, tasks)
    first, *others = results
    for other in others:
        for total, more in zip(first, other, strict=True):
            total += more
    return first


def _blocks(
    mean: Array, scratch: Array, *arrays: Array
) -> Iterator[tuple[list[Array], Array, Array]]:
    """Iterate over the rows of `arrays` together, in blocks of long rows.

    Yields the blocks (rows, k*C), the mean repeated k times, and a buffer of a block's shape.
    """
    k, *_ = fold(arrays[0])
    whole = [fold(array)[1] for array in arrays]
    rest = [fold(array)[2] for array in arrays]
    for times, long_rows in ((k, whole), (1, rest)):
        centre = repeat_row(mean, times)
        for block in chunks(len(long_rows[0]), max(1, BLOCK // centre.size)):
            pieces = [array[block] for array in long_rows]
            yield pieces, centre, carve(scratch, pieces[0].shape)[0]


def _column_sums(x: Array, scratch: Array) -> list[Array]:
    """The sum of x (..., C) over its rows."""
    total = np.empty_like(x, shape=x.shape[-1:])
    column_sums(x, total)
    return [total]


def _channel_sums(block: Array, channels: int) -> Array:
    """Sum a block (rows, k*C) into (C,)."""
    long_row: Array = np.add.reduce(block, axis=0)
    sums: Array = np.add.reduce(long_row.reshape(-1, channels), axis=0)
    return sums


def _store(value: Array, out: Array | None) -> None:
    """Write `value` to `out`, unless that is None."""
    if out is not None:
        out[...] = value


def fold_into(
    weight: Array,
    bias: Array | None,
    scale: Array,
    shift: Array,
    folded_weight: Array,
    folded_bias: Array,
) -> None:
    """An affine map of each channel, folded into the layer before it: y = (x @ w + b)*scale + shift.

    `folded_weight = weight * scale` and `folded_bias = bias*scale + shift`.

    weight (O, ...), everything else (O,). A bias of None means zeros.
    """
    outputs = len(weight)
    rows = folded_weight.reshape(outputs, -1)
    np.multiply(weight.reshape(outputs, -1), scale[:, None], out=rows)
    if bias is None:
        np.copyto(folded_bias, shift)
    else:
        np.multiply(bias, scale, out=folded_bias)
        np.add(folded_bias, shift, out=folded_bias)
