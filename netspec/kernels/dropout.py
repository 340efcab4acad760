"""Random numbers: dropout masks and noise; and scaling each image by one number."""

import numpy as np

from netspec.kernels.arrays import Array, chunks
from netspec.kernels.copies import by_images

BLOCK = 1 << 14


def sample_mask(rng: np.random.Generator, mask: Array, *, p: float) -> None:
    """Fill `mask` (any shape) with 0 with probability `p`, and with 1 / (1 - p) otherwise.

    mask = (u >= p) / (1 - p), u uniform in [0, 1). `u` is drawn in float32 whatever the dtype of
    `mask`, so one seed drops the same activations in float32 and in float64.
    """
    if p == 1:
        mask.fill(0)
        return
    flat = mask.reshape(-1)
    uniform = np.empty(min(BLOCK, flat.size), np.float32)
    for block in chunks(flat.size, BLOCK):
        drawn = rng.random(dtype=np.float32, out=uniform[: block.stop - block.start])
        np.greater_equal(drawn, np.float32(p), out=flat[block])
        flat[block] *= 1 / (1 - p)


def sample_normal(rng: np.random.Generator, out: Array) -> None:
    """Fill `out` (any shape) with standard normal numbers.

    They are drawn in float32 whatever the dtype of `out`, so one seed gives the same numbers in
    float32 and in float64.
    """
    flat = out.reshape(-1)
    drawn = np.empty(min(BLOCK, flat.size), np.float32)
    for block in chunks(flat.size, BLOCK):
        flat[block] = rng.standard_normal(dtype=np.float32, out=drawn[: block.stop - block.start])


def scale_images(x: Array, mask: Array, out: Array) -> None:
    """`out = x * mask`, with x (N, ...) and `mask` one number for each image, or each of its channels.

    `mask` has the axes of x, those that share a number with size 1.
    """
    by_images(lambda images: np.multiply(x[images], mask[images], out=out[images]), out)
