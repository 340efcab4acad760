"""Padding with pixels of the picture: mirrored at its edge, or with the edge repeated.

A padded axis has up to three sections: before the picture, the picture, and after it. With two
padded axes there are nine regions, each of which is a slice of one region of the picture.
"""

from collections.abc import Iterator

import numpy as np

from netspec.kernels.arrays import Array
from netspec.kernels.copies import by_images
from netspec.kernels.windows import Pad

Region = tuple[slice, slice, slice]


def forward(x: Array, out: Array, *, pad: Pad, mode: str) -> None:
    """`out` is `x` (N, H, W, C) with `pad` (top, bottom, left, right) around it; mode as below."""
    regions = list(_regions(x.shape, pad, mode))

    def part(images: slice) -> None:
        for inside, outside in regions:
            out[images][outside] = x[images][inside]

    by_images(part, out)


def backward(dy: Array, dx: Array, *, pad: Pad, mode: str) -> None:
    """Each pixel of `dx` (N, H, W, C) gets the sum of `dy` over the places that were copied from it."""
    regions = list(_regions(dx.shape, pad, mode))
    top, _, left, _ = pad
    picture = np.s_[:, top : top + dx.shape[1], left : left + dx.shape[2]]

    def part(images: slice) -> None:
        target, gradient = dx[images], dy[images]
        np.copyto(target, gradient[picture])
        for inside, outside in regions:
            if outside != picture:
                pixels = target[inside]
                # With `replicate`, one row or column is the source of many places.
                shared = tuple(
                    axis for axis in (1, 2) if pixels.shape[axis] != gradient[outside].shape[axis]
                )
                pixels += np.add.reduce(gradient[outside], axis=shared, keepdims=True)

    by_images(part, dy)


def _regions(shape: tuple[int, ...], pad: Pad, mode: str) -> Iterator[tuple[Region, Region]]:
    """Yield each region of the picture, and the region of the padded picture that is made from it.

    `shape` is that of the picture, (N, H, W, C).
    """
    _, height, width, _ = shape
    top, bottom, left, right = pad
    for rows, padded_rows in _sections(height, top, bottom, mode):
        for columns, padded_columns in _sections(width, left, right, mode):
            every = slice(None)
            yield (every, rows, columns), (every, padded_rows, padded_columns)


def _sections(size: int, before: int, after: int, mode: str) -> Iterator[tuple[slice, slice]]:
    """Yield the sections of an axis as (part of the picture, part of the padded picture).

    `reflect` reads 2, 1, [0, 1, 2, ... (the edge is not repeated), `replicate` 0, 0, [0, 1, ...
    """
    end = before + size
    yield slice(0, size), slice(before, end)
    if before:
        mirrored = slice(before, 0, -1) if mode == "reflect" else slice(0, 1)
        yield mirrored, slice(0, before)
    if after:
        first, last = size - 2, size - 2 - after
        mirrored = slice(first, last if last >= 0 else None, -1)
        yield mirrored if mode == "reflect" else slice(size - 1, size), slice(end, end + after)
