"""How a convolution is cut up: into tiles, by the span of a row of columns, and into phases.

A *phase* of a strided convolution's backward pass is those pixels of the picture that the same taps
reach. See `netspec.kernels.conv` for the rest of the words.
"""

from collections.abc import Iterator
from math import gcd
from types import EllipsisType
from typing import NamedTuple

import numpy as np

from netspec.kernels.windows import (
    Tiling,
    Window,
    choose_tiling,
    padded_shape,
    reads_padding,
)

# Elements in the columns of a tile, and the fewest outputs in a tile: where patches are long, a
# tile of few outputs would read the whole weight for little work.
TILE = 1 << 18
FEWEST_OUTPUTS = 256

# What `span` is chosen by, in nanoseconds, measured on one core of an AVX-512 machine: to copy a
# run, and each number in it, and to multiply-add. A product of N columns costs as if N + NARROW.
COPY_RUN, COPY, MULTIPLY, NARROW = 3.5, 0.075, 0.0192, 4.8


class TilePlan(NamedTuple):
    """How a convolution is cut into tiles, and the shapes of what its scratch holds."""

    tiling: Tiling
    packed: tuple[int, ...]  # (G, kh, width of a patch, C/G, span, O/G)
    padded: tuple[int, ...]  # (images, rows, columns, C)
    columns: tuple[int, ...]  # (elements,)
    result: tuple[int, ...]  # (elements,)


def plan_tiles(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], groups: int, window: Window
) -> TilePlan:
    """Decide span and tiles; x (N, H, W, C), y (N, OH, OW, O)."""
    (kh, kw), (_, stride), *_ = window
    n, height, width, outputs = y_shape
    inputs = x_shape[-1]
    outs, ins = outputs // groups, inputs // groups
    pointwise = is_pointwise(x_shape, y_shape, groups, window)
    span = 1 if pointwise else _choose_span(width, ins, outs, groups, window)
    wide = kw + (span - 1) * stride
    patch = kh * wide * inputs
    row_size = width // span * patch
    # `result` is bounded too, where there are many outputs for a short patch.
    tile_row = max(row_size, width * outputs)
    tiling = choose_tiling(n, height, tile_row, max(TILE, FEWEST_OUTPUTS * patch))
    padding = reads_padding(x_shape, y_shape, window)
    return TilePlan(
        tiling,
        packed=(groups, kh, wide, ins, span, outs),
        padded=padded_shape(tiling, width, inputs, window) if padding else (0,),
        columns=(0,) if pointwise else (tiling.images * tiling.rows * row_size,),
        result=(tiling.images * tiling.rows * width * outputs,),
    )


def is_pointwise(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], groups: int, window: Window
) -> bool:
    """Whether the columns would be x itself, so that nothing need be copied."""
    (top, _, left, _) = window.pad
    same_picture = x_shape[1:3] == y_shape[1:3] and top == left == 0
    return same_picture and window.kernel == window.stride == (1, 1) and groups == 1


def _choose_span(width: int, ins: int, outs: int, groups: int, window: Window) -> int:
    """How many neighbouring outputs one row of the columns serves."""
    (kh, kw), (_, stride), _, (_, dilation) = window
    if groups > 1 or dilation > 1:
        return 1

    def cost(span: int) -> float:
        """Nanoseconds for one output pixel: the copies, and the matrix product."""
        run, wide = (kw + (span - 1) * stride) * ins, span * outs
        multiply = MULTIPLY * (1 + NARROW / wide)
        return kh / span * (COPY_RUN + run * COPY + run * wide * multiply)

    return min((span for span in range(1, width + 1) if width % span == 0), key=cost)


class Phase(NamedTuple):
    """Those pixels of a picture that the same taps of a strided window can reach."""

    pixels: tuple[slice, ...]  # of dx
    shape: tuple[int, ...]  # of dx[pixels]
    taps: tuple[EllipsisType | slice, ...]  # of a weight (..., kh, kw), flipped
    window: Window  # that reads dy to make dx[pixels]


def phases(window: Window, x_shape: tuple[int, ...]) -> Iterator[Phase]:
    """Cut the pixels of x by their place in the stride; at stride 1 there is one phase, all of x.

    Every phase is then a convolution of stride 1: multiplications by the zeros that the stride
    puts between the pixels of dy are never done.
    """
    n, height, width, channels = x_shape
    (kh, kw), (sh, sw), (top, _, left, _), (dh, dw) = window
    for h, w in np.ndindex(min(sh, height), min(sw, width)):
        taps_h, count_h, pad_h = _taps_of_phase(h + top, kh, sh, dh)
        taps_w, count_w, pad_w = _taps_of_phase(w + left, kw, sw, dw)
        yield Phase(
            pixels=(slice(None), slice(h, None, sh), slice(w, None, sw)),
            shape=(n, len(range(h, height, sh)), len(range(w, width, sw)), channels),
            taps=(..., taps_h, taps_w),
            window=Window(
                kernel=(count_h, count_w),
                stride=(1, 1),
                pad=(pad_h, 0, pad_w, 0),  # where it ends follows from the shape of dx
                dilation=(dh // gcd(sh, dh), dw // gcd(sw, dw)),
            ),
        )


def _taps_of_phase(pixel: int, kernel: int, stride: int, dilation: int) -> tuple[slice, int, int]:
    """Along one axis: the taps that reach a pixel of the padded picture, last first.

    Tap i does if pixel - i*dilation is a multiple of the stride. Also returns how many taps these
    are, and by how much of dy the last of them reaches back before the first output.
    """
    step = stride // gcd(stride, dilation)
    taps = [i for i in range(kernel) if (pixel - i * dilation) % stride == 0]
    if not taps:
        return slice(0, 0), 0, 0
    return slice(taps[-1], None, -step), len(taps), (taps[-1] * dilation - pixel) // stride
