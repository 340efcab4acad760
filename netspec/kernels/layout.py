"""Conversion between PyTorch's order of axes and that of the kernels."""

import numpy as np

from netspec.kernels.arrays import Array
from netspec.kernels.copies import by_images


def to_channels_last(x: Array, out: Array) -> None:
    """out[n, ..., c] = x[n, c, ...], with x (N, C, H, W) and out (N, H, W, C), or of any rank."""
    source = x.transpose(0, *range(2, x.ndim), 1)
    by_images(lambda images: np.copyto(out[images], source[images]), out)


def to_channels_first(x: Array, out: Array) -> None:
    """out[n, c, ...] = x[n, ..., c], with x (N, H, W, C) and out (N, C, H, W), or of any rank."""
    source = x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
    by_images(lambda images: np.copyto(out[images], source[images]), out)
