"""Padding with pixels of the picture: mirrored at its edge, with the edge repeated, or from its
other side.

A padded axis has up to three sections: before the picture, the picture, and after it. With two
padded axes there are nine regions, each of which is a slice of one region of the picture.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np

from netspec.kernels.arrays import Array
from netspec.kernels.copies import by_images
from netspec.kernels.windows import Ints

Region = tuple[slice, ...]


def forward(x: Array, out: Array, *, pad: Ints, mode: str) -> None:
    """`out` is `x` (N, ..., C) with `pad` (before, after of each axis) around it; mode as below."""
    regions = list(_regions(x.shape, pad, mode))

    def part(images: slice) -> None:
        for inside, outside in regions:
            out[images][outside] = x[images][inside]

    by_images(part, out)


def backward(dy: Array, dx: Array, *, pad: Ints, mode: str) -> None:
    """Each pixel of `dx` (N, ..., C) gets the sum of `dy` over the places that were copied from it."""
    regions = list(_regions(dx.shape, pad, mode))
    inside = (slice(b, b + size) for b, size in zip(pad[::2], dx.shape[1:], strict=False))
    picture = (slice(None), *inside)

    def part(images: slice) -> None:
        target, gradient = dx[images], dy[images]
        np.copyto(target, gradient[picture])
        for inside, outside in regions:
            if outside != picture:
                pixels = target[inside]
                # With `replicate`, one row or column is the source of many places.
                shared = tuple(
                    axis
                    for axis in range(1, dx.ndim - 1)
                    if pixels.shape[axis] != gradient[outside].shape[axis]
                )
                pixels += np.add.reduce(gradient[outside], axis=shared, keepdims=True)

    by_images(part, dy)


def _regions(shape: tuple[int, ...], pad: Ints, mode: str) -> Iterator[tuple[Region, Region]]:
    """Yield each region of the picture, and the region of the padded picture that is made from it.

    `shape` is that of the picture, (N, ..., C).
    """
    along = [
        list(_sections(size, before, after, mode))
        for size, before, after in zip(shape[1:], pad[::2], pad[1::2], strict=False)
    ]
    every = slice(None)
    for sections in product(*along):
        yield (every, *(part for part, _ in sections)), (every, *(padded for _, padded in sections))


def _sections(size: int, before: int, after: int, mode: str) -> Iterator[tuple[slice, slice]]:
    """Yield the sections of an axis as (part of the picture, part of the padded picture).

    `reflect` reads 2, 1, [0, 1, 2, ... (the edge is not repeated), `replicate` 0, 0, [0, 1, ..., and
    `circular` ..., 8, 9, [0, 1, ..., 8, 9], 0, 1, ...
    """
    end = before + size
    yield slice(0, size), slice(before, end)
    if mode == "circular":
        if before:
            yield slice(size - before, size), slice(0, before)
        if after:
            yield slice(0, after), slice(end, end + after)
        return
    if before:
        mirrored = slice(before, 0, -1) if mode == "reflect" else slice(0, 1)
        yield mirrored, slice(0, before)
    if after:
        first, last = size - 2, size - 2 - after
        mirrored = slice(first, last if last >= 0 else None, -1)
        yield mirrored if mode == "reflect" else slice(size - 1, size), slice(end, end + after)
