"""Depthwise convolution: every channel has its own kernel and makes one output channel.

    out[n, p, q, c] = bias[c] + sum over i, j of
                      x[n, p*sh + i*dh - top, q*sw + j*dw - left, c] * weight[c, 0, i, j]

This has no matrix product, so each tap is a multiplication and an addition of whole tiles. A tap's
C weights are repeated along a row of the picture, which makes NumPy's inner loops long.
"""

from math import prod

import numpy as np

from netspec.kernels.arrays import Array, carve, repeat_row
from netspec.kernels.windows import (
    Tiling,
    Window,
    choose_tiling,
    clipped_taps,
    extent,
    pad_tile,
    padded_shape,
)

TILE = 1 << 15


def applies(inputs: int, outputs: int, groups: int) -> bool:
    """Return True if a convolution from `inputs` to `outputs` channels is depthwise."""
    return groups == inputs == outputs > 1


def forward(
    x: Array, weight: Array, bias: Array | None, out: Array, scratch: Array, window: Window
) -> None:
    """`out = x * weight + bias`, channel by channel.

    x (N, H, W, C), weight (C, 1, kh, kw), bias (C,) or None, out (N, OH, OW, C).
    """
    tiling, *shapes = _plan(x.shape, out.shape, window)
    rows, padded, product = carve(scratch, *shapes)
    rows[...] = weight.transpose(2, 3, 1, 0)
    start: Array | float = (
        0.0 if bias is None else repeat_row(bias, out.shape[2]).reshape(-1, len(bias))
    )
    for tile in tiling.tiles(len(x), out.shape[1]):
        part = pad_tile(x, tile, padded, window)
        total = out[tile.area]
        total[...] = start
        part_product = product[: len(total), : len(tile.rows)]
        for i, j in np.ndindex(*window.kernel):
            np.multiply(_seen(part, total.shape, i, j, window), rows[i, j], out=part_product)
            total += part_product


def backward_weight(x: Array, dy: Array, dweight: Array, scratch: Array, window: Window) -> None:
    """dweight[c, 0, i, j] = sum over n, p, q of dy[n, p, q, c] * (what tap i, j, c sees there).

    x (N, H, W, C), dy (N, OH, OW, C), dweight (C, 1, kh, kw).
    """
    tiling, *shapes = _plan(x.shape, dy.shape, window)
    rows, padded, product = carve(scratch, *shapes)
    rows.fill(0)
    for tile in tiling.tiles(len(x), dy.shape[1]):
        part = pad_tile(x, tile, padded, window)
        gradient = dy[tile.area]
        part_product = product[: len(gradient), : len(tile.rows)]
        for i, j in np.ndindex(*window.kernel):
            np.multiply(_seen(part, gradient.shape, i, j, window), gradient, out=part_product)
            rows[i, j] += np.add.reduce(part_product, axis=(0, 1))
    np.add.reduce(rows, axis=2, out=dweight[:, 0].transpose(1, 2, 0))


def backward_input(dy: Array, weight: Array, dx: Array, scratch: Array, window: Window) -> None:
    """dx[n, h, w, c] = sum over i, j of dy[n, p, q, c] * weight[c, 0, i, j].

    The sum runs over the outputs p, q whose tap i, j reads pixel h, w.
    dy (N, OH, OW, C), weight (C, 1, kh, kw), dx (N, H, W, C).
    """
    tiling, *shapes = _plan(dx.shape, dy.shape, window)
    rows, _, product = carve(scratch, *shapes)
    rows[...] = weight.transpose(2, 3, 1, 0)
    _, height, width, _ = dx.shape
    for tile in tiling.tiles(len(dx), dy.shape[1]):
        if tile.rows.start == 0:
            dx[tile.images] = 0
        gradient = dy[tile.area]
        part_product = product[: len(gradient), : len(tile.rows)]
        for tap in clipped_taps(window, tile.rows, range(dy.shape[2]), (height, width)):
            np.multiply(gradient, rows[tap.i, tap.j], out=part_product)
            dx[tile.images, tap.in_h, tap.in_w] += part_product[:, tap.out_h, tap.out_w]


def scratch_size(x_shape: tuple[int, ...], y_shape: tuple[int, ...], window: Window) -> int:
    """Elements of scratch that suffice for the three kernels above."""
    _, *shapes = _plan(x_shape, y_shape, window)
    return sum(prod(shape) for shape in shapes)


def _plan(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], window: Window
) -> tuple[Tiling, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The tiling, and the shapes of the repeated weights, the padded input and the products."""
    n, height, width, channels = y_shape
    tiling = choose_tiling(n, height, width * channels, TILE)
    return (
        tiling,
        (*window.kernel, width, channels),
        padded_shape(tiling, width, x_shape[-1], window),
        (tiling.images, tiling.rows, width, channels),
    )


def _seen(part: Array, shape: tuple[int, ...], i: int, j: int, window: Window) -> Array:
    """Return what tap (i, j) of every window sees in a padded tile; `shape` is the tile of outputs."""
    _, (sh, sw), _, (dh, dw) = window
    tall, wide = extent(shape[1], 1, sh, dh), extent(shape[2], 1, sw, dw)
    return part[:, i * dh : i * dh + tall : sh, j * dw : j * dw + wide : sw]
