"""Transposed convolution: the gradient of a convolution with respect to its input, used forward.

It shares the kernels of `conv`, with input and output exchanged.
"""

from netspec.kernels import conv
from netspec.kernels.arrays import Array, repeat_row
from netspec.kernels.copies import by_images
from netspec.kernels.windows import Ints


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
    """out[n, p, o] = bias[o] + sum of x[n, h, c] * weight[c, o, i].

    The sum runs over p = h*stride + i*dilation - before, where p, h and i have as many numbers as
    there are axes behind the channels. x (N, ..., C), weight (C, O/groups, ...), bias (O,) or None,
    out (N, ..., O).
    """
    conv.backward_input(
        x, weight, out, scratch, stride=stride, pad=pad, dilation=dilation, groups=groups
    )
    if bias is None:
        return
    row = repeat_row(bias, out.shape[-2])

    def part(images: slice) -> None:
        rows = out[images].reshape(-1, row.size)
        rows += row

    by_images(part, out)
