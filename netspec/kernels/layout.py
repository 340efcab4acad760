"""Conversion between PyTorch's order of axes and that of the kernels."""

import numpy as np

from netspec.kernels.arrays import Array
from netspec.kernels.copies import by_images


def to_channels_last(x: Array, out: Array) -> None:
    """out[n, h, w, c] = x[n, c, h, w], with x (N, C, H, W) and out (N, H, W, C)."""
    source = x.transpose(0, 2, 3, 1)
    by_images(lambda images: np.copyto(out[images], source[images]), out)


def to_channels_first(x: Array, out: Array) -> None:
    """out[n, c, h, w] = x[n, h, w, c], with x (N, H, W, C) and out (N, C, H, W)."""
    source = x.transpose(0, 3, 1, 2)
    by_images(lambda images: np.copyto(out[images], source[images]), out)
