"""Convolution (cross-correlation) of signals, pictures and volumes, stored channels last.

    out[n, p, o] = bias[o] + sum over i, c of x[n, p*stride + i*dilation - before, c] * weight[o, c, i]

where p and i have as many numbers as there are axes behind the channels. Pictures are done by
`im2col`, signals as pictures of height 1, and volumes as pictures too: `volume`. The images are
shared out among threads.
"""

from functools import cache

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, column_sums
from netspec.kernels.convolution import depthwise, im2col, volume
from netspec.kernels.windows import Ints, Window, as_row


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    scratch: Array,
    *,
    stride: Ints,
    pad: Ints,
    dilation: Ints,
    groups: int,
) -> None:
    """`out = x * weight + bias`: the formula at the top of this file.

    x (N, ..., C), weight (O, C/groups, ...), bias (O,) or None, out (N, ..., O).
    """
    window = Window(weight.shape[2:], stride, pad, dilation)
    if len(stride) == 1:
        x, weight, out, window = x[:, None], weight[:, :, None], out[:, None], as_row(window)
    one = volume.forward if len(stride) == 3 else im2col.forward
    split = parallel.parts(len(x), out.size * weight[0].size)

    def part(images: slice, own: Array) -> None:
        one(x[images], weight, bias, out[images], own, window, groups)

    parallel.run(part, _shares(split, scratch))


def backward_weight(
    x: Array,
    dy: Array,
    dweight: Array,
    scratch: Array,
    *,
    stride: Ints,
    pad: Ints,
    dilation: Ints,
    groups: int,
) -> None:
    """dweight[o, c, i] = sum over n, p of dy[n, p, o] * (what tap i, c sees there).

    x (N, ..., C), dy (N, ..., O), dweight (O, C/groups, ...).
    """
    window = Window(dweight.shape[2:], stride, pad, dilation)
    if len(stride) == 1:
        x, dy, dweight, window = x[:, None], dy[:, None], dweight[:, :, None], as_row(window)
    if len(stride) < 3 and depthwise.applies(x.shape[-1], dy.shape[-1], groups):
        depthwise.backward_weight(x, dy, dweight, scratch, window)
        return
    split = parallel.parts(len(x), dy.size * dweight[0].size)

    def part(images: slice, own: Array) -> Array:
        if len(stride) == 3:
            return volume.weight_gradient(x[images], dy[images], dweight, own, window, groups)
        return im2col.packed_gradient(x[images], dy[images], groups, own, window)

    total, *others = parallel.run(part, _shares(split, scratch))
    for other in others:
        total += other
    if len(stride) == 3:
        volume.unpack(total, dweight)
    else:
        im2col.unpack(total, dweight, scratch, x, dy, groups, window)


def backward_bias(dy: Array, dbias: Array) -> None:
    """dbias[o] = sum over n, p of dy[n, p, o], with dy (N, ..., O), dbias (O,)."""
    column_sums(dy, dbias)


def backward_input(
    dy: Array,
    weight: Array,
    dx: Array,
    scratch: Array,
    *,
    stride: Ints,
    pad: Ints,
    dilation: Ints,
    groups: int,
) -> None:
    """dx[n, h, c] = sum over o, i of dy[n, p, o] * weight[o, c, i], over the p whose tap i reads h.

    dy (N, ..., O), weight (O, C/groups, ...), dx (N, ..., C).
    """
    window = Window(weight.shape[2:], stride, pad, dilation)
    if len(stride) == 1:
        dy, weight, dx, window = dy[:, None], weight[:, :, None], dx[:, None], as_row(window)
    one = volume.input_gradient if len(stride) == 3 else im2col.input_gradient
    split = parallel.parts(len(dx), dy.size * weight[0].size)

    def part(images: slice, own: Array) -> None:
        one(dy[images], weight, dx[images], own, window, groups)

    parallel.run(part, _shares(split, scratch))


def scratch_size(
    n: int,
    in_shape: Ints,
    out_shape: Ints,
    *,
    kernel: Ints,
    stride: Ints,
    pad: Ints,
    dilation: Ints,
    groups: int,
) -> int:
    """Elements of scratch that suffice for the three kernels above.

    `n` images, in_shape (..., C), out_shape (..., O). Each part of the images has a share of the
    scratch, and all shares are as large as the largest. Because tiles are made as equal as
    possible, a part with fewer images may need more, so every size that a part can have is
    considered.
    """
    window = Window(kernel, stride, pad, dilation)
    share = cache(lambda images: scratch_share(images, in_shape, out_shape, groups, window))
    return max(
        number * max(map(share, sizes)) for number, sizes in parallel.possible_parts(n).items()
    )


def scratch_share(n: int, in_shape: Ints, out_shape: Ints, groups: int, window: Window) -> int:
    """Elements of scratch that one thread needs for `n` images."""
    if len(window.stride) == 3:
        return volume.scratch_size(n, in_shape, out_shape, groups, window)
    if len(window.stride) == 1:
        in_shape, out_shape, window = (1, *in_shape), (1, *out_shape), as_row(window)
    return im2col.scratch_size(n, in_shape, out_shape, groups, window)


def _shares(split: list[slice], scratch: Array) -> list[tuple[slice, Array]]:
    """The images of each part, with its share of the scratch."""
    share = len(scratch) // len(split)
    return [(part, scratch[i * share : (i + 1) * share]) for i, part in enumerate(split)]
