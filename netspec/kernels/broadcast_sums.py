"""Gradients of parameters that elementwise code broadcasts: sums over all places a number was used."""

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, carve, chunks, column_sums

# Elements of x in a tile.
TILE = 1 << 15

# The cost of an element, in the units of `parallel.WORTH_A_THREAD`.
WORK = 8


def backward(x: Array | None, dy: Array, out: Array, scratch: Array, *, after: int = 1) -> None:
    """out[c] = sum of x*dy over all axes but c, for x and dy (..., C, after); x None means ones."""
    row = len(out) * after
    gradients = dy.reshape(-1, row)
    numbers = None if x is None else x.reshape(-1, row)
    split = parallel.parts(len(gradients), dy.size * WORK)
    share = len(scratch) // len(split)

    def part(rows: slice, own: Array) -> Array:
        total, more = np.zeros_like(out), np.empty_like(out)
        for tile in chunks(rows.stop - rows.start, max(1, TILE // row)):
            here = slice(rows.start + tile.start, rows.start + tile.stop)
            product = gradients[here]
            if numbers is not None:
                (product,) = carve(own, product.shape)
                np.multiply(numbers[here], gradients[here], out=product)
            if after > 1:
                product = np.add.reduce(product.reshape(-1, len(out), after), axis=2)
            column_sums(product, more)
            total += more
        return total

    own = (scratch[i * share : (i + 1) * share] for i in range(len(split)))
    out[...] = 0
    for total in parallel.run(part, list(zip(split, own, strict=True))):
        out += total


def scratch_size(n: int, row: int) -> int:
    """Elements of scratch that suffice for `backward`, for rows of C * `after` elements."""
    return parallel.threads() * max(TILE, row)
