"""Adaptive pooling: into a given number of cells, with windows as even as whole pixels allow.

Cell p of P along an axis of H pixels reads the pixels floor(p*H / P) to ceil((p+1)*H / P). So
neighbouring cells may share a pixel, and with more cells than pixels some cells are equal.
"""

from collections.abc import Iterator
from math import prod

import numpy as np

from netspec.kernels.arrays import Array, as_one
from netspec.kernels.copies import by_images


def avg_forward(x: Array, out: Array) -> None:
    """out[n, p, q, c] = mean of x[n, ..., c] over cell p, q; x (N, ..., C), out (N, ..., C)."""

    def part(images: slice) -> None:
        for cell, places in _cells(x.shape, out.shape):
            pixels = x[images][places]
            mean = out[images][cell]
            _reduce(np.add, pixels, mean)
            mean /= prod(pixels.shape[1:-1])

    by_images(part, x)


def avg_backward(dy: Array, dx: Array) -> None:
    """dx[n, h, w, c] = sum of dy / size over the cells that read pixel h, w."""

    def part(images: slice) -> None:
        dx[images].fill(0)
        for cell, places in _cells(dx.shape, dy.shape):
            pixels = dx[images][places]
            share = dy[images][cell] / prod(pixels.shape[1:-1])
            pixels += share.reshape(len(share), *(1,) * (dx.ndim - 2), -1)

    by_images(part, dx)


def max_forward(x: Array, out: Array) -> None:
    """out[n, p, q, c] = max of x[n, ..., c] over cell p, q; x (N, ..., C), out (N, ..., C)."""

    def part(images: slice) -> None:
        for cell, places in _cells(x.shape, out.shape):
            _reduce(np.maximum, x[images][places], out[images][cell])

    by_images(part, x)


def max_backward(x: Array, dy: Array, dx: Array) -> None:
    """dx[n, h, w, c] = sum of dy over the cells whose first maximum, row by row, is pixel h, w."""
    channel = np.arange(x.shape[-1])

    def part(pictures: Array, gradient: Array, target: Array) -> None:
        image = np.arange(len(pictures))[:, None]
        target.fill(0)
        for cell, places in _cells(x.shape, dy.shape):
            window = pictures[places]
            first = window.reshape(len(window), -1, len(channel)).argmax(axis=1)
            within = np.unravel_index(first, window.shape[1:-1])
            at = (each.start + i for each, i in zip(places[1:], within, strict=True))
            # No place occurs twice, because each has its own image and channel.
            target[(image, *at, channel)] += gradient[cell]

    by_images(lambda images: as_one(part, x[images], dy[images], dx[images]), x)


def _reduce(function: np.ufunc, pixels: Array, out: Array) -> None:
    """Reduce pixels (N, ..., C) to out (N, C), one axis after the other."""
    while pixels.ndim > 3:
        pixels = function.reduce(pixels, axis=1)
    function.reduce(pixels, axis=1, out=out)


def _cells(
    x_shape: tuple[int, ...], out_shape: tuple[int, ...]
) -> Iterator[tuple[tuple[slice | int, ...], tuple[slice, ...]]]:
    """Yield the index of each cell in the output, and that of what it reads."""
    every, counts = slice(None), out_shape[1:-1]
    for at in np.ndindex(*counts):
        windows = (_window(*each) for each in zip(at, counts, x_shape[1:-1], strict=True))
        yield (every, *at), (every, *windows)


def _window(cell: int, cells: int, size: int) -> slice:
    return slice(cell * size // cells, -(-(cell + 1) * size // cells))
