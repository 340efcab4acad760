"""How a convolution is divided: into tiles, by the span of a row of columns, and into phases.

A *phase* of a strided convolution's backward pass is the set of pixels that the same taps reach.
See `netspec.kernels.conv` for the other terms.
"""

import itertools
from collections.abc import Iterator
from math import gcd
from types import EllipsisType
from typing import NamedTuple

from netspec.kernels.windows import (
    Tiling,
    Window,
    choose_tiling,
    padded_shape,
    reads_padding,
)

# Elements in the columns of a tile, and the least number of outputs in a tile: if patches are long,
# a tile of few outputs would read the whole weight for little work.
TILE = 1 << 18
FEWEST_OUTPUTS = 256

# The costs by which `span` is chosen, in nanoseconds, measured on one core of an AVX-512 machine:
# to start copying a run, to copy each number in it, and to multiply-add. The cost of a product of N
# columns is proportional to N + NARROW.
COPY_RUN, COPY, MULTIPLY, NARROW = 3.5, 0.075, 0.0192, 4.8


class TilePlan(NamedTuple):
    """How a convolution is cut into tiles, and the shapes of the arrays in its scratch."""

    tiling: Tiling
    packed: tuple[int, ...]  # (G, kh, width of a patch, C/G, span, O/G)
    padded: tuple[int, ...]  # (images, rows, columns, C)
    columns: tuple[int, ...]  # (elements,)
    result: tuple[int, ...]  # (elements,)


def plan_tiles(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], groups: int, window: Window
) -> TilePlan:
    """Choose span and tiles; x (N, H, W, C), y (N, OH, OW, O)."""
    (kh, kw), (_, stride), *_ = window
    n, height, width, outputs = y_shape
    inputs = x_shape[-1]
    outs, ins = outputs // groups, inputs // groups
    pointwise = is_pointwise(x_shape, y_shape, groups, window)
    span = 1 if pointwise else _choose_span(width, ins, outs, groups, window)
    wide = kw + (span - 1) * stride
    patch = kh * wide * inputs
    row_size = width // span * patch
    # `result` is bounded too, for convolutions with many outputs and short patches.
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
    """Return True if the columns would equal x, so that nothing needs to be copied."""
    (top, _, left, _) = window.pad
    same_picture = x_shape[1:3] == y_shape[1:3] and top == left == 0
    return same_picture and window.kernel == window.stride == (1, 1) and groups == 1


def _choose_span(width: int, ins: int, outs: int, groups: int, window: Window) -> int:
    """Choose how many neighbouring outputs one row of the columns serves."""
    (kh, kw), (_, stride), _, (_, dilation) = window
    if groups > 1 or dilation > 1:
        return 1

    def cost(span: int) -> float:
        """Nanoseconds for one output pixel: the copies and the matrix product."""
        run, wide = (kw + (span - 1) * stride) * ins, span * outs
        multiply = MULTIPLY * (1 + NARROW / wide)
        return kh / span * (COPY_RUN + run * COPY + run * wide * multiply)

    return min((span for span in range(1, width + 1) if width % span == 0), key=cost)


class Phase(NamedTuple):
    """The pixels of a picture that the same taps of a strided window reach."""

    pixels: tuple[slice, ...]  # of dx
    shape: tuple[int, ...]  # of dx[pixels]
    taps: tuple[EllipsisType | slice, ...]  # of a weight (..., kh, kw), flipped
    window: Window  # the window that reads dy to compute dx[pixels]


def phases(window: Window, x_shape: tuple[int, ...]) -> Iterator[Phase]:
    """Group the pixels of x by their position within the stride. At stride 1 all of x is one phase.

    Each phase is then a convolution of stride 1. So the multiplications by the zeros that the
    stride inserts between the pixels of dy are never done. Phases that no tap reaches are left out.
    """
    n, height, width, channels = x_shape
    (kh, kw), (sh, sw), (top, _, left, _), (dh, dw) = window
    reached = _reached(top, kh, sh, dh, height), _reached(left, kw, sw, dw, width)
    for h, w in itertools.product(*reached):
        taps_h, count_h, pad_h = _taps_of_phase(h + top, kh, sh, dh)
        taps_w, count_w, pad_w = _taps_of_phase(w + left, kw, sw, dw)
        yield Phase(
            pixels=(slice(None), slice(h, None, sh), slice(w, None, sw)),
            shape=(n, len(range(h, height, sh)), len(range(w, width, sw)), channels),
            taps=(..., taps_h, taps_w),
            window=Window(
                kernel=(count_h, count_w),
                stride=(1, 1),
                pad=(pad_h, 0, pad_w, 0),  # its end follows from the shape of dx
                dilation=(dh // gcd(sh, dh), dw // gcd(sw, dw)),
            ),
        )


def reaches_all(window: Window, x_shape: tuple[int, ...]) -> bool:
    """Whether every pixel of x is in one of the `phases`."""
    _, height, width, _ = x_shape
    (kh, kw), (sh, sw), (top, _, left, _), (dh, dw) = window
    rows, columns = _reached(top, kh, sh, dh, height), _reached(left, kw, sw, dw, width)
    return len(rows) == min(sh, height) and len(columns) == min(sw, width)


def _reached(before: int, kernel: int, stride: int, dilation: int, size: int) -> list[int]:
    """Return the positions within the stride that some tap reaches along an axis of this size."""
    found = {(i * dilation - before) % stride for i in range(kernel)}
    return sorted(position for position in found if position < size)


def _taps_of_phase(pixel: int, kernel: int, stride: int, dilation: int) -> tuple[slice, int, int]:
    """Return the taps that reach a pixel of the padded picture along one axis, the last one first.

    Tap i reaches the pixel if pixel - i*dilation is a multiple of the stride. Also returns the
    number of these taps, and by how much of dy the last of them reaches back before the first
    output.
    """
    step = stride // gcd(stride, dilation)
    taps = [i for i in range(kernel) if (pixel - i * dilation) % stride == 0]
    return slice(taps[-1], None, -step), len(taps), (taps[-1] * dilation - pixel) // stride
