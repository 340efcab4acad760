"""Convolution of volumes (N, D, H, W, C) by one thread.

What a window reads along the depth is laid out as further channels of a picture, in the order
(group, tap, channel). A convolution of pictures then does the rest:

    picture[n, p, h, w, (g, i, c)] = x[n, p*stride + i*dilation - before, h, w, (g, c)]

The gradient of x is that of the pictures, each number added to where it was read from.
"""

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np

from netspec.kernels.arrays import Array, carve, chunks
from netspec.kernels.convolution import im2col
from netspec.kernels.windows import Ints, Window, clip

# Elements of the pictures that are laid out at once.
AT_ONCE = 1 << 20


class Depth(NamedTuple):
    """How a window moves along the depth."""

    taps: int
    stride: int
    before: int
    dilation: int

    def reads(self, outputs: int, size: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield each tap with the outputs for which it lies inside, and the slices it reads there."""
        for i in range(self.taps):
            yield i, *clip(i * self.dilation - self.before, self.stride, range(outputs), size)


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    scratch: Array,
    window: Window,
    groups: int,
) -> None:
    """`out = x * weight + bias`.

    x (N, D, H, W, C), weight (O, C/groups, kd, kh, kw), bias (O,) or None, out (N, OD, OH, OW, O).
    """
    depth, plane = _split(window)
    kernels, rest = _flat_weight(weight, scratch)
    for images, pictures, own in _at_once(x.shape, out.shape, depth, rest):
        _unfold(x[images], pictures, depth, groups)
        im2col.forward(
            _pictures(pictures), kernels, bias, _pictures(out[images]), own, plane, groups
        )


def input_gradient(
    dy: Array, weight: Array, dx: Array, scratch: Array, window: Window, groups: int
) -> None:
    """The gradient of x, with the shapes of `forward`."""
    depth, plane = _split(window)
    kernels, rest = _flat_weight(weight, scratch)
    for images, pictures, own in _at_once(dx.shape, dy.shape, depth, rest):
        target = _pictures(pictures)
        im2col.input_gradient(_pictures(dy[images]), kernels, target, own, plane, groups)
        _fold(pictures, dx[images], depth, groups)


def weight_gradient(
    x: Array, dy: Array, dweight: Array, scratch: Array, window: Window, groups: int
) -> Array:
    """Return the gradient of a weight of dweight's shape as `unpack` takes it; it is in `scratch`."""
    depth, plane = _split(window)
    shape = _turned(dweight.shape)
    total, one = carve(scratch, shape, shape)
    rest = scratch[2 * total.size :]
    for images, pictures, own in _at_once(x.shape, dy.shape, depth, rest):
        _unfold(x[images], pictures, depth, groups)
        target = total if images.start == 0 else one
        im2col.weight_gradient(
            _pictures(pictures), _pictures(dy[images]), _flat(target), own, plane, groups
        )
        if images.start:
            total += one
    return total


def unpack(total: Array, dweight: Array) -> None:
    """Convert the result of `weight_gradient` to dweight (O, C/groups, kd, kh, kw)."""
    np.copyto(dweight, total.transpose(0, 2, 1, 3, 4))


def scratch_size(n: int, in_shape: Ints, out_shape: Ints, groups: int, window: Window) -> int:
    """Elements of scratch that suffice for the functions above, for `n` images."""
    depth, plane = _split(window)
    picture = _picture(in_shape, depth)
    most = _images_at_once(n, in_shape, out_shape, depth)

    def needs(images: int) -> int:
        count = images * out_shape[0]
        own = im2col.scratch_size(count, picture, out_shape[1:], groups, plane)
        return count * prod(picture) + own

    weights = 2 * in_shape[-1] * out_shape[-1] * prod(window.kernel) // groups
    return weights + max(needs(images) for images in {most, n % most or most})


def _split(window: Window) -> tuple[Depth, Window]:
    """Return the window along the depth, and the one over the pictures."""
    (taps, *kernel), (step, *stride), (before, _, *pad), (apart, *dilation) = window
    return Depth(taps, step, before, apart), Window(
        tuple(kernel), tuple(stride), tuple(pad), tuple(dilation)
    )


def _turned(weight: Ints) -> Ints:
    """The shape of a weight (O, C/groups, kd, kh, kw) as (O, kd, C/groups, kh, kw)."""
    outs, ins, taps, *kernel = weight
    return (outs, taps, ins, *kernel)


def _flat(turned: Array) -> Array:
    """View (O, kd, C/groups, kh, kw) as (O, kd C/groups, kh, kw)."""
    outs, taps, ins, *kernel = turned.shape
    return turned.reshape(outs, taps * ins, *kernel)


def _flat_weight(weight: Array, scratch: Array) -> tuple[Array, Array]:
    """Return a weight as that of the pictures, in scratch, and the scratch behind it."""
    (turned,) = carve(scratch, _turned(weight.shape))
    np.copyto(turned, weight.transpose(0, 2, 1, 3, 4))
    return _flat(turned), scratch[turned.size :]


def _picture(volume: Ints, depth: Depth) -> Ints:
    """The shape of a picture that is laid out for a volume (D, H, W, C)."""
    _, height, width, channels = volume
    return (height, width, depth.taps * channels)


def _images_at_once(n: int, volume: Ints, out_shape: Ints, depth: Depth) -> int:
    each = out_shape[0] * prod(_picture(volume, depth))
    return max(1, min(n, AT_ONCE // max(1, each)))


def _at_once(
    x_shape: Ints, y_shape: Ints, depth: Depth, scratch: Array
) -> Iterator[tuple[slice, Array, Array]]:
    """Yield some images at a time, memory for their pictures (n, OD, H, W, kd C), and further scratch."""
    picture = _picture(x_shape[1:], depth)
    for images in chunks(x_shape[0], _images_at_once(x_shape[0], x_shape[1:], y_shape[1:], depth)):
        (pictures,) = carve(scratch, (images.stop - images.start, y_shape[1], *picture))
        yield images, pictures, scratch[pictures.size :]


def _pictures(volumes: Array) -> Array:
    """View (N, D, H, W, C) as (N D, H, W, C)."""
    return volumes.reshape(-1, *volumes.shape[2:])


def _views(x: Array, pictures: Array, depth: Depth, groups: int) -> tuple[Array, Array]:
    """View x as (..., groups, C/groups), and the pictures as (..., groups, kd, C/groups)."""
    ins = x.shape[-1] // groups
    given = x.reshape(*x.shape[:-1], groups, ins)
    return given, pictures.reshape(*pictures.shape[:-1], groups, depth.taps, ins)


def _unfold(x: Array, pictures: Array, depth: Depth, groups: int) -> None:
    """Lay out the pictures: the formula at the top of this file."""
    given, laid = _views(x, pictures, depth, groups)
    for i, reached, read in depth.reads(pictures.shape[1], x.shape[1]):
        if reached != slice(0, pictures.shape[1]):
            laid[..., i, :].fill(0)
        np.copyto(laid[:, reached, :, :, :, i], given[:, read])


def _fold(pictures: Array, dx: Array, depth: Depth, groups: int) -> None:
    """Add each number of the pictures to the one of dx that it was read from."""
    given, laid = _views(dx, pictures, depth, groups)
    dx.fill(0)
    for i, reached, read in depth.reads(pictures.shape[1], dx.shape[1]):
        given[:, read] += laid[:, reached, :, :, :, i]
