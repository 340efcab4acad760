"""Running sums along an axis, and their gradient."""

import numpy as np

from netspec.kernels.arrays import Array
from netspec.kernels.copies import by_images


def forward(x: Array, out: Array, *, axis: int) -> None:
    """out[i] = x[0] + ... + x[i] along an axis of x (N, ...)."""
    by_images(lambda images: np.add.accumulate(x[images], axis=axis, out=out[images]), x)


def backward(dy: Array, dx: Array, *, axis: int) -> None:
    """dx[i] = dy[i] + dy[i + 1] + ... to the end of the axis."""
    back = (slice(None),) * axis + (slice(None, None, -1),)
    g, target = dy[back], dx[back]
    by_images(lambda images: np.add.accumulate(g[images], axis=axis, out=target[images]), dx)
