"""Pooling. Windows are clipped to the picture, so nothing is ever padded.

Each tap (i, j) of the window is one strided slice of the picture, and the kernels go over the taps:
a 2x2 pool is four passes over whole tiles, in place of one Python loop turn per output.
"""

import numpy as np
from numpy.typing import NDArray

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, chunks
from netspec.kernels.windows import Pad, Pair, Tap, Window, clipped_taps

# Elements of the output in a tile, and images that a global pool takes at once.
TILE = 1 << 16

# What a pixel counts against `parallel.WORTH_A_THREAD`.
WORK = 8
GLOBAL_IMAGES = 16


def max_forward(
    x: Array, out: Array, *, kernel: Pair, stride: Pair, pad: Pad, dilation: Pair
) -> None:
    """out[n, p, q, c] = max over i, j of x[n, p*sh + i*dh - top, q*sw + j*dw - left, c].

    x (N, H, W, C), out (N, OH, OW, C). Padding counts as -inf; NaN propagates.
    """
    window = Window(kernel, stride, pad, dilation)

    def tile(images: slice, taps: list[Tap]) -> None:
        pictures, outputs = x[images], out[images]
        outputs.fill(-np.inf)
        for tap in taps:
            best = outputs[:, tap.out_h, tap.out_w]
            np.maximum(best, pictures[:, tap.in_h, tap.in_w], out=best)

    parallel.each(tile, _tiles(x, out, window), x.size * WORK)


def max_backward(
    x: Array,
    y: Array,
    dy: Array,
    dx: Array,
    *,
    kernel: Pair,
    stride: Pair,
    pad: Pad,
    dilation: Pair,
) -> None:
    """dx[n, h, w, c] = sum of dy over the windows whose first maximum is pixel h, w.

    First means in row-major order of the window. x, dx (N, H, W, C), y, dy (N, OH, OW, C), where
    y is what `max_forward` made of x.
    """
    window = Window(kernel, stride, pad, dilation)
    disjoint, tight = _disjoint(window), _tight(window, x, y)

    def tile(images: slice, taps: list[Tap]) -> None:
        pictures, best, gradient, target = x[images], y[images], dy[images], dx[images]
        found = np.zeros(best.shape, np.bool_)
        if not tight:
            target.fill(0)
        for tap in taps:
            inside = np.s_[:, tap.out_h, tap.out_w]
            pixels = np.s_[:, tap.in_h, tap.in_w]
            hit = pictures[pixels] == best[inside]
            np.greater(hit, found[inside], out=hit)  # hit, and no earlier tap was
            found[inside] |= hit
            if disjoint:
                np.multiply(gradient[inside], hit, out=target[pixels])
            else:
                target[pixels] += gradient[inside] * hit

    parallel.each(tile, _tiles(x, y, window), x.size * WORK)


def avg_forward(
    x: Array, out: Array, *, kernel: Pair, stride: Pair, pad: Pad, count_include_pad: bool
) -> None:
    """out[n, p, q, c] = sum over i, j of x[n, p*sh + i - top, q*sw + j - left, c] / size[p, q].

    x (N, H, W, C), out (N, OH, OW, C). The size of a window counts its padding if
    `count_include_pad`, but never what lies outside the padded picture.
    """
    window = Window(kernel, stride, pad, (1, 1))
    weight = _inverse_sizes(x, out, window, count_include_pad)

    def tile(images: slice, taps: list[Tap]) -> None:
        pictures, total = x[images], out[images]
        total.fill(0)
        for tap in taps:
            total[:, tap.out_h, tap.out_w] += pictures[:, tap.in_h, tap.in_w]
        total *= weight

    parallel.each(tile, _tiles(x, out, window), x.size * WORK)


def avg_backward(
    dy: Array, dx: Array, *, kernel: Pair, stride: Pair, pad: Pad, count_include_pad: bool
) -> None:
    """dx[n, h, w, c] = sum of dy[n, p, q, c] / size[p, q] over the windows that hold pixel h, w.

    dy (N, OH, OW, C), dx (N, H, W, C); sizes as in `avg_forward`.
    """
    window = Window(kernel, stride, pad, (1, 1))
    weight = _inverse_sizes(dx, dy, window, count_include_pad)
    disjoint, tight = _disjoint(window), _tight(window, dx, dy)

    def tile(images: slice, taps: list[Tap]) -> None:
        share, target = dy[images] * weight, dx[images]
        if not tight:
            target.fill(0)
        for tap in taps:
            pixels = target[:, tap.in_h, tap.in_w]
            if disjoint:
                pixels[...] = share[:, tap.out_h, tap.out_w]
            else:
                pixels += share[:, tap.out_h, tap.out_w]

    parallel.each(tile, _tiles(dx, dy, window), dx.size * WORK)


def global_avg_forward(x: Array, out: Array) -> None:
    """out[n, c] = mean over h, w of x[n, h, w, c], with x (N, H, W, C), out (N, C)."""
    # Rows of pixels first: they are long, and so are NumPy's inner loops.
    for images in chunks(len(x), GLOBAL_IMAGES):
        np.add.reduce(np.add.reduce(x[images], axis=1), axis=1, out=out[images])
    out /= x.shape[1] * x.shape[2]


def global_avg_backward(dy: Array, dx: Array) -> None:
    """dx[n, h, w, c] = dy[n, c] / (H*W), with dy (N, C), dx (N, H, W, C)."""
    _, height, width, _ = dx.shape
    dx[...] = (dy / (height * width))[:, None, None, :]


def _tiles(x: Array, out: Array, window: Window) -> list[tuple[slice, list[Tap]]]:
    """Tiles of whole images, small enough that `out` stays in the cache, and the taps in each."""
    _, rows, columns, _ = out.shape
    taps = list(clipped_taps(window, range(rows), range(columns), (x.shape[1], x.shape[2])))
    size = max(1, TILE * len(x) // out.size)
    return [(images, taps) for images in chunks(len(x), size)]


def _disjoint(window: Window) -> bool:
    """Whether no two windows share a pixel, so that gradients are written and not added."""
    (kh, kw), (sh, sw), _, dilation = window
    return dilation == (1, 1) and kh <= sh and kw <= sw


def _tight(window: Window, x: Array, y: Array) -> bool:
    """Whether every pixel of x is in exactly one window."""
    (kh, kw), stride, pad, dilation = window
    exact = (y.shape[1] * kh, y.shape[2] * kw) == x.shape[1:3]
    return exact and stride == (kh, kw) and not any(pad) and dilation == (1, 1)


def _inverse_sizes(x: Array, out: Array, window: Window, count_include_pad: bool) -> Array:
    """1 / (pixels in a window) for every output, (OH, OW, C): one long row for NumPy's loops."""
    (kh, kw), (sh, sw), (top, bottom, left, right), _ = window
    _, height, width, _ = x.shape
    _, rows, columns, channels = out.shape
    if not count_include_pad:
        top_edge, bottom_edge, left_edge, right_edge = 0, height, 0, width
    else:
        top_edge, bottom_edge, left_edge, right_edge = -top, height + bottom, -left, width + right
    high = _lengths(rows, kh, sh, top, top_edge, bottom_edge)
    wide = _lengths(columns, kw, sw, left, left_edge, right_edge)
    sizes = np.multiply.outer(high, wide).astype(out.dtype)
    return np.repeat(1 / sizes, channels).reshape(rows, columns, channels)


def _lengths(
    outputs: int, kernel: int, stride: int, pad: int, low: int, high: int
) -> NDArray[np.intp]:
    """How much of each of `outputs` windows lies between `low` and `high`, along one axis."""
    start = np.arange(outputs) * stride - pad
    inside = np.minimum(start + kernel, high) - np.maximum(start, low)
    # A window may lie in the padding altogether: its sum is 0, whatever that is divided by.
    return inside.clip(min=1)
