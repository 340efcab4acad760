"""Numbers that each channel is multiplied by: y = x*weight over the last axis."""

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, carve, chunks, column_sums

# Elements of x in a tile.
TILE = 1 << 15

# What an element counts against `parallel.WORTH_A_THREAD`.
WORK = 8


def copy_weight(weight: Array, out: Array) -> None:
    """`out = weight`, both (C,): a buffer that elementwise code can broadcast."""
    np.copyto(out, weight)


def backward_weight(x: Array, dy: Array, dweight: Array, scratch: Array) -> None:
    """dweight[c] = sum of x*dy over the rows of x and dy (..., C)."""
    channels = x.shape[-1]
    numbers, gradients = x.reshape(-1, channels), dy.reshape(-1, channels)
    split = parallel.parts(len(numbers), x.size * WORK)
    share = len(scratch) // len(split)

    def part(rows: slice, own: Array) -> Array:
        total, more = np.zeros_like(dweight), np.empty_like(dweight)
        for tile in chunks(rows.stop - rows.start, max(1, TILE // channels)):
            here = slice(rows.start + tile.start, rows.start + tile.stop)
            (product,) = carve(own, numbers[here].shape)
            np.multiply(numbers[here], gradients[here], out=product)
            column_sums(product, more)
            total += more
        return total

    own = (scratch[i * share : (i + 1) * share] for i in range(len(split)))
    dweight[...] = 0
    for total in parallel.run(part, list(zip(split, own, strict=True))):
        dweight += total


def scratch_size(n: int, channels: int) -> int:
    """Elements of scratch that suffice for `backward_weight`."""
    return parallel.threads() * max(TILE, channels)
