"""Transposed convolution: the gradient of a convolution with respect to its input, used forward.

It shares the kernels of `conv`, with input and output exchanged.
"""

from netspec.kernels import conv
from netspec.kernels.arrays import Array, repeat_row
from netspec.kernels.copies import by_images
from netspec.kernels.windows import Pad, Pair


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    scratch: Array,
    *,
    stride: Pair,
    pad: Pad,
    dilation: Pair,
    groups: int,
) -> None:
    """out[n, p, q, o] = bias[o] + sum of x[n, h, w, c] * weight[c, o, i, j].

    The sum runs over p = h*sh + i*dh - top and q = w*sw + j*dw - left. x (N, H, W, C), weight
    (C, O/groups, kh, kw), bias (O,) or None, out (N, P, Q, O).
    """
    conv.backward_input(
        x, weight, out, scratch, stride=stride, pad=pad, dilation=dilation, groups=groups
    )
    if bias is None:
        return
    row = repeat_row(bias, out.shape[2])

    def part(images: slice) -> None:
        rows = out[images].reshape(-1, row.size)
        rows += row

    by_images(part, out)
