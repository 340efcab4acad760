"""Copies of arrays and parts of them: slices, padding, concatenation, permutation, repetition, and
PyTorch's order of axes to that of the kernels and back.

A region of an image begins at `start` and continues by `step`, with one number for each axis after
the batch. It is as large as the smaller of the two arrays.
"""

import itertools
from collections.abc import Callable
from math import prod

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array

Ints = tuple[int, ...]

# The cost of an element, in the units of `parallel.WORTH_A_THREAD`.
WORK = 4
# Addresses this many bytes apart fall into the same set of a first-level cache, of 8 to 12 lines. So
# many channels at such a distance push each other out: turning pictures of 32 x 32 with 64 channels
# took four times as long.
CACHE_STRIDE, SHARING = 1 << 12, 16
# Pixels that are turned at a time, so that they stay in a second-level cache.
TURNED = 1 << 10


def extract(x: Array, out: Array, *, start: Ints, step: Ints) -> None:
    """`out = x[:, start::step, ...]`, as far as `out` (N, ...) goes."""
    region = _region(out, start, step)
    by_images(lambda images: np.copyto(out[images], x[images][region]), out)


def insert(x: Array, out: Array, *, start: Ints, step: Ints) -> None:
    """`out[:, start::step, ...] = x`, as far as `x` (N, ...) goes; the rest of `out` stays."""
    region = _region(x, start, step)
    by_images(lambda images: np.copyto(out[images][region], x[images]), x)


def embed(x: Array, out: Array, *, start: Ints, step: Ints, value: float) -> None:
    """`out = value` everywhere but at `out[:, start::step, ...] = x`."""
    region = _region(x, start, step)

    def part(images: slice) -> None:
        target = out[images]
        target.fill(value)
        target[region] = x[images]

    by_images(part, out)


def transpose(x: Array, out: Array, *, split: Ints, axes: Ints) -> None:
    """View each image of `x` as of shape `split`, and permute its axes by `axes` (counted from 0)."""
    source = x.reshape(-1, *split).transpose(0, *(axis + 1 for axis in axes))
    target = out.reshape(source.shape)
    by_images(lambda images: np.copyto(target[images], source[images]), out)


def roll(x: Array, out: Array, *, shifts: Ints) -> None:
    """`out` is x (N, ...) with the places of each axis moved by its shift, in a circle."""
    moves = []
    for size, shift in zip(x.shape[1:], shifts, strict=True):
        at = shift % size
        halves = [(slice(0, size - at), slice(at, size)), (slice(size - at, size), slice(0, at))]
        moves.append(halves if at else halves[:1])
    pairs = [tuple(zip(*halves, strict=True)) for halves in itertools.product(*moves)]

    def part(images: slice) -> None:
        for read, written in pairs:
            np.copyto(out[images][(slice(None), *written)], x[images][(slice(None), *read)])

    by_images(part, out)


def repeat(x: Array, out: Array) -> None:
    """`out = x`, repeated where a size of x (N, ...) is 1 and that of `out` (N, ...) is not."""
    by_images(lambda images: np.copyto(out[images], x[images]), out)


def to_channels_last(x: Array, out: Array) -> None:
    """out[n, ..., c] = x[n, c, ...], with x (N, C, H, W) and out (N, H, W, C), or of any rank."""
    size = prod(x.shape[2:])
    if _share_cache_lines(x, size) and x.flags.c_contiguous and out.flags.c_contiguous:
        rows, pixels = x.reshape(*x.shape[:2], size), out.reshape(len(out), size, x.shape[1])
        by_images(lambda images: _turn(rows[images], pixels[images]), out)
        return
    source = x.transpose(0, *range(2, x.ndim), 1)
    by_images(lambda images: np.copyto(out[images], source[images]), out)


def _share_cache_lines(x: Array, size: int) -> bool:
    """Whether the same pixel of all channels, `size` numbers apart, falls into few sets of a cache."""
    return x.shape[1] >= SHARING and size * x.itemsize % CACHE_STRIDE == 0 and size > 0


def _turn(x: Array, out: Array) -> None:
    """`out[n, p, c] = x[n, c, p]` by way of an array whose rows are not a power of two apart."""
    channels, size = x.shape[1:]
    wide = min(size, TURNED)
    apart = np.empty((channels, wide + CACHE_STRIDE // 64), x.dtype)
    for picture, target in zip(x, out, strict=True):
        for start in range(0, size, wide):
            part = apart[:, : min(wide, size - start)]
            np.copyto(part, picture[:, start : start + wide])
            np.copyto(target[start : start + wide], part.T)


def to_channels_first(x: Array, out: Array) -> None:
    """out[n, c, ...] = x[n, ..., c], with x (N, H, W, C) and out (N, C, H, W), or of any rank."""
    source = x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
    by_images(lambda images: np.copyto(out[images], source[images]), out)


def by_images(task: Callable[[slice], object], array: Array) -> None:
    """Call `task(images)` so that all images of `array` (N, ...) are done; each thread gets a part."""
    parallel.run(task, [(part,) for part in parallel.parts(len(array), array.size * WORK)])


def _region(part: Array, start: Ints, step: Ints) -> tuple[slice, ...]:
    """Return the index of a region of the size of `part` (N, ...)."""
    extents = zip(part.shape[1:], start, step, strict=True)
    return (slice(None), *(slice(a, a + (n - 1) * s + 1, s) for n, a, s in extents))
