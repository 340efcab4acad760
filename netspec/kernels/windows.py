"""Sliding windows over pictures (N, H, W, C): the outputs that a tap reaches, tiles, columns."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from netspec.kernels.arrays import Array, chunks
from netspec.kernels.copies import by_images

Ints = tuple[int, ...]


class Window(NamedTuple):
    """The geometry of a window, axis by axis: (h, w) for a picture, (d, h, w) for a volume.

    The padding is (before, after) for each axis: (top, bottom, left, right).
    """

    kernel: Ints
    stride: Ints
    pad: Ints
    dilation: Ints


def as_row(window: Window) -> Window:
    """Return the window over a signal as one over a picture of height 1."""
    kernel, stride, pad, dilation = window
    return Window((1, *kernel), (1, *stride), (0, 0, *pad), (1, *dilation))


class Tap(NamedTuple):
    """Tap (i, j) of a window, with the outputs for which it lies in the picture, and the pixels there.

    Output pixel out[:, out_h, out_w] sees picture[:, in_h, in_w] through this tap.
    """

    i: int
    j: int
    out_h: slice
    out_w: slice
    in_h: slice
    in_w: slice


def clip(offset: int, stride: int, outputs: range, size: int) -> tuple[slice, slice]:
    """Return the `outputs` that read inside an axis of `size` pixels, and the pixels they read.

    Output o reads pixel o*stride + offset. The first slice counts from the start of `outputs`.
    """
    low = max(outputs.start, -(offset // stride))
    high = min(outputs.stop, (size - 1 - offset) // stride + 1)
    if low >= high:
        return slice(0, 0), slice(0, 0)
    pixels = slice(low * stride + offset, (high - 1) * stride + offset + 1, stride)
    return slice(low - outputs.start, high - outputs.start), pixels


def clipped_taps(window: Window, rows: range, columns: range, picture: Ints) -> Iterator[Tap]:
    """Yield every tap of the window in row-major order, for the outputs at `rows` x `columns`."""
    for i in range(window.kernel[0]):
        offset = i * window.dilation[0] - window.pad[0]
        out_h, in_h = clip(offset, window.stride[0], rows, picture[0])
        for j in range(window.kernel[1]):
            offset = j * window.dilation[1] - window.pad[2]
            out_w, in_w = clip(offset, window.stride[1], columns, picture[1])
            yield Tap(i, j, out_h, out_w, in_h, in_w)


def taps_of(
    window: Window, outputs: Ints, extents: Ints
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Yield for every tap, in row-major order, the outputs that it reaches and what it sees there.

    Both are indices into arrays (N, ..., C), with any number of axes between.
    """
    along = [
        [clip(i * apart - before, step, range(count), size) for i in range(taps)]
        for taps, step, before, apart, count, size in zip(
            window.kernel, window.stride, window.pad[::2], window.dilation, outputs, extents,
            strict=True,
        )
    ]  # fmt: skip
    every = slice(None)
    for places in product(*along):
        yield (every, *(out for out, _ in places)), (every, *(seen for _, seen in places))


class Tile(NamedTuple):
    """A tile of the output: some whole images, or some rows of one image."""

    images: slice
    rows: range

    @property
    def area(self) -> tuple[slice, slice]:
        """The tile's index into an array (N, OH, ...)."""
        return self.images, slice(self.rows.start, self.rows.stop)


class Tiling(NamedTuple):
    """How many images and output rows a tile has at most."""

    images: int
    rows: int

    def tiles(self, n: int, height: int) -> Iterator[Tile]:
        """Cut `n` outputs of `height` rows into tiles."""
        for images in chunks(n, self.images):
            for rows in chunks(height, self.rows):
                yield Tile(images, range(rows.start, rows.stop))


def choose_tiling(n: int, height: int, row_size: int, budget: int) -> Tiling:
    """Tiles of at most about `budget` elements when one output row takes `row_size`.

    A tile is whole images if they fit, else rows of one image. Tiles are made as equal as possible.
    """
    rows = max(1, budget // row_size)
    if rows >= height:
        return Tiling(images=_even(n, rows // height), rows=height)
    return Tiling(images=1, rows=_even(height, rows))


def _even(total: int, most: int) -> int:
    """The size of the parts if `total` is divided evenly into parts of at most `most`."""
    parts = -(-total // most)
    return -(-total // parts)


def extent(outputs: int, kernel: int, stride: int, dilation: int) -> int:
    """How many pixels of the padded picture `outputs` neighbouring windows span."""
    return (outputs - 1) * stride + (kernel - 1) * dilation + 1


def padded_shape(tiling: Tiling, width: int, channels: int, window: Window) -> tuple[int, ...]:
    """The shape of the padded input of the largest tile, with output rows of `width`."""
    (kh, kw), (sh, sw), _, (dh, dw) = window
    return (
        tiling.images,
        extent(tiling.rows, kh, sh, dh),
        extent(width, kw, sw, dw),
        channels,
    )


def reads_padding(x_shape: tuple[int, ...], y_shape: tuple[int, ...], window: Window) -> bool:
    """Return True if some window reaches outside the picture; x (N, H, W, C), y (N, OH, OW, O)."""
    (kh, kw), (sh, sw), (top, _, left, _), (dh, dw) = window
    tall, wide = extent(y_shape[1], kh, sh, dh), extent(y_shape[2], kw, sw, dw)
    return top > 0 or left > 0 or tall - top > x_shape[1] or wide - left > x_shape[2]


def pad_tile(x: Array, tile: Tile, padded: Array, window: Window) -> Array:
    """Copy the part of `x` (N, H, W, C) that the output `tile` reads, with zeros around it.

    `padded` has the shape that `padded_shape` returns; returns the part of it that this tile fills.
    """
    (kh, _), (sh, _), (top, _, left, _), (dh, _) = window
    tall, wide = extent(len(tile.rows), kh, sh, dh), padded.shape[2]
    inside_h, picture_h = clip(tile.rows.start * sh - top, 1, range(tall), x.shape[1])
    inside_w, picture_w = clip(-left, 1, range(wide), x.shape[2])
    padded = padded[: tile.images.stop - tile.images.start, :tall]
    padded.fill(0)
    padded[:, inside_h, inside_w] = x[tile.images, picture_h, picture_w]
    return padded


def frame(x: Array, padded: Array, window: Window) -> tuple[Array, Array]:
    """Zero `padded`; returns the part of it inside the padding, and the part of `x` that goes there.

    `padded` has the shape that `padded_shape` gives for tiles of whole images of `x` (N, H, W, C).
    """
    top, _, left, _ = window.pad
    inside_h, picture_h = clip(-top, 1, range(padded.shape[1]), x.shape[1])
    inside_w, picture_w = clip(-left, 1, range(padded.shape[2]), x.shape[2])
    padded.fill(0)
    return padded[:, inside_h, inside_w], x[:, picture_h, picture_w]


def unfold(x: Array, out: Array, *, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> None:
    """out[n, (c, i, j), (p, q)] = x[n, s p + d i - pad, s q + d j - pad, c], and 0 in the padding.

    x is (N, H, W, C), and out (N, C * kernel, windows).
    """
    columns, taps = _columns(x, out, Window(kernel, stride, pad, dilation))
    channels_first = x.transpose(0, 3, 1, 2)

    def part(images: slice) -> None:
        if any(pad):
            out[images].fill(0)
        target, source = columns[images], channels_first[images]
        for i, j, out_h, out_w, in_h, in_w in taps:
            np.copyto(target[:, :, i, j, out_h, out_w], source[:, :, in_h, in_w])

    by_images(part, out)


def fold(dy: Array, dx: Array, *, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> None:
    """Add each number of dy (N, C * kernel, windows) to the pixel of dx (N, H, W, C) it was read from."""
    columns, taps = _columns(dx, dy, Window(kernel, stride, pad, dilation))
    channels_first = dx.transpose(0, 3, 1, 2)

    def part(images: slice) -> None:
        dx[images].fill(0)
        target, source = channels_first[images], columns[images]
        for i, j, out_h, out_w, in_h, in_w in taps:
            target[:, :, in_h, in_w] += source[:, :, i, j, out_h, out_w]

    by_images(part, dy)


def _columns(picture: Array, columns: Array, window: Window) -> tuple[Array, list[Tap]]:
    """View the columns as (N, C, kernel height, kernel width, rows, columns of windows); the taps."""
    n, height, width, channels = picture.shape
    (kh, kw), (sh, sw), (top, bottom, left, right), (dh, dw) = window
    rows = (height + top + bottom - extent(1, kh, sh, dh)) // sh + 1
    across = (width + left + right - extent(1, kw, sw, dw)) // sw + 1
    taps = clipped_taps(window, range(rows), range(across), (height, width))
    return columns.reshape(n, channels, kh, kw, rows, across), list(taps)
