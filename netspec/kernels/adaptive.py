"""Adaptive pooling: into a given number of cells, with windows as even as whole pixels allow.

Cell p of P along an axis of H pixels reads the pixels floor(p*H / P) to ceil((p+1)*H / P). So
neighbouring cells may share a pixel, and with more cells than pixels some cells are equal.
"""

from collections.abc import Iterator

import numpy as np

from netspec.kernels.arrays import Array, as_one
from netspec.kernels.copies import by_images


def avg_forward(x: Array, out: Array) -> None:
    """out[n, p, q, c] = mean of x[n, ..., c] over cell p, q; x (N, H, W, C), out (N, P, Q, C)."""

    def part(images: slice) -> None:
        for cell, rows, columns in _cells(x.shape, out.shape):
            pixels = x[images, rows, columns]
            mean = out[images][cell]
            np.add.reduce(np.add.reduce(pixels, axis=1), axis=1, out=mean)
            mean /= pixels.shape[1] * pixels.shape[2]

    by_images(part, x)


def avg_backward(dy: Array, dx: Array) -> None:
    """dx[n, h, w, c] = sum of dy / size over the cells that read pixel h, w."""

    def part(images: slice) -> None:
        dx[images].fill(0)
        for cell, rows, columns in _cells(dx.shape, dy.shape):
            pixels = dx[images, rows, columns]
            share = dy[images][cell] / (pixels.shape[1] * pixels.shape[2])
            pixels += share[:, None, None, :]

    by_images(part, dx)


def max_forward(x: Array, out: Array) -> None:
    """out[n, p, q, c] = max of x[n, ..., c] over cell p, q; x (N, H, W, C), out (N, P, Q, C)."""

    def part(images: slice) -> None:
        for cell, rows, columns in _cells(x.shape, out.shape):
            best = np.maximum.reduce(x[images, rows, columns], axis=1)
            np.maximum.reduce(best, axis=1, out=out[images][cell])

    by_images(part, x)


def max_backward(x: Array, dy: Array, dx: Array) -> None:
    """dx[n, h, w, c] = sum of dy over the cells whose first maximum, row by row, is pixel h, w."""
    channel = np.arange(x.shape[3])

    def part(pictures: Array, gradient: Array, target: Array) -> None:
        image = np.arange(len(pictures))[:, None]
        target.fill(0)
        for cell, rows, columns in _cells(x.shape, dy.shape):
            window = pictures[:, rows, columns]
            wide = window.shape[2]
            first = window.reshape(len(window), -1, len(channel)).argmax(axis=1)
            place = (image, rows.start + first // wide, columns.start + first % wide, channel)
            # No place occurs twice, because each has its own image and channel.
            target[place] += gradient[cell]

    by_images(lambda images: as_one(part, x[images], dy[images], dx[images]), x)


def _cells(
    x_shape: tuple[int, ...], out_shape: tuple[int, ...]
) -> Iterator[tuple[tuple[slice, int, int], slice, slice]]:
    """Yield the index of each cell in the output, with the rows and columns that it reads."""
    high, wide = out_shape[1:3]
    for p, q in np.ndindex(high, wide):
        yield np.s_[:, p, q], _window(p, high, x_shape[1]), _window(q, wide, x_shape[2])


def _window(cell: int, cells: int, size: int) -> slice:
    return slice(cell * size // cells, -(-(cell + 1) * size // cells))
