"""Windows of a picture as columns, and the sum of columns back into the picture."""

from collections.abc import Iterator

import numpy as np

from netspec.kernels.arrays import Array
from netspec.kernels.copies import by_images

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]
Region = tuple[slice, ...]

# All images and all channels.
CHANNELS = (slice(None), slice(None))


def forward(
    x: Array, out: Array, *, kernel: Pair, stride: Pair, pad: Padding, dilation: Pair
) -> None:
    """out[n, (c, i, j), (p, q)] = x[n, s p + d i - pad, s q + d j - pad, c], and 0 in the padding.

    x is (N, H, W, C), and out (N, C * kernel, windows).
    """
    columns, padded = _columns(x, out, kernel, stride, pad, dilation), any(pad)
    taps = list(_taps(x, kernel, stride, pad, dilation))
    channels_first = x.transpose(0, 3, 1, 2)

    def part(images: slice) -> None:
        if padded:
            out[images].fill(0)
        for tap, windows, pixels in taps:
            np.copyto(
                columns[images][(*tap, *windows)], channels_first[images][(*CHANNELS, *pixels)]
            )

    by_images(part, out)


def backward(
    dy: Array, dx: Array, *, kernel: Pair, stride: Pair, pad: Padding, dilation: Pair
) -> None:
    """Add each number of dy (N, C * kernel, windows) to the pixel of dx (N, H, W, C) it was read from."""
    columns = _columns(dx, dy, kernel, stride, pad, dilation)
    taps = list(_taps(dx, kernel, stride, pad, dilation))
    channels_first = dx.transpose(0, 3, 1, 2)

    def part(images: slice) -> None:
        dx[images].fill(0)
        for tap, windows, pixels in taps:
            target = channels_first[images][(*CHANNELS, *pixels)]
            np.add(target, columns[images][(*tap, *windows)], out=target)

    by_images(part, dy)


def _count(size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Count the windows along an axis; `pad` is that of both sides together."""
    return (size + pad - dilation * (kernel - 1) - 1) // stride + 1


def _counts(x: Array, kernel: Pair, stride: Pair, pad: Padding, dilation: Pair) -> Pair:
    _, height, width, _ = x.shape
    top, bottom, left, right = pad
    return (
        _count(height, kernel[0], stride[0], top + bottom, dilation[0]),
        _count(width, kernel[1], stride[1], left + right, dilation[1]),
    )


def _columns(
    x: Array, columns: Array, kernel: Pair, stride: Pair, pad: Padding, dilation: Pair
) -> Array:
    """View the columns as (N, C, kernel height, kernel width, rows, columns of windows)."""
    counts = _counts(x, kernel, stride, pad, dilation)
    return columns.reshape(len(x), x.shape[3], *kernel, *counts)


def _taps(
    x: Array, kernel: Pair, stride: Pair, pad: Padding, dilation: Pair
) -> Iterator[tuple[tuple[slice | int, ...], Region, Region]]:
    """Yield each place in a window, the windows where it is a pixel, and these pixels."""
    counts = _counts(x, kernel, stride, pad, dilation)
    before = (pad[0], pad[2])
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            windows, pixels = [], []
            for axis, place in enumerate((i, j)):
                step, first = stride[axis], place * dilation[axis] - before[axis]
                start = max(0, -(first // step))
                stop = min(counts[axis], (x.shape[1 + axis] - 1 - first) // step + 1)
                at = start * step + first
                windows.append(slice(start, max(start, stop)))
                pixels.append(slice(at, max(at, at + (stop - start - 1) * step + 1), step))
            if all(w.stop > w.start for w in windows):
                yield (slice(None), slice(None), i, j), tuple(windows), tuple(pixels)
