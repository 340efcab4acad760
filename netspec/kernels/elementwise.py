"""What fused elementwise code needs: tiles that stay in cache, and registers to compute in."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.kernels.arrays import Array, chunks

# Elements in a tile: the tile of each operand and each register fit the L2 cache together.
TILE = 1 << 14


def scratch_size(width: int, registers: int) -> int:
    """Elements of scratch that `tiles` needs for rows of `width`."""
    return registers * max(TILE, width)


def tiles(
    out: Array, scratch: Array, *, floats: int, flags: int
) -> Iterator[tuple[slice, list[Array], list[NDArray[np.bool_]]]]:
    """Go through `out`, of shape (R,) or (R, width), in tiles.

    Yields the rows of a tile, and registers of the tile's shape: `floats` of the type of `out`, and
    `flags` of booleans, all in `scratch`.
    """
    width = out.shape[1] if out.ndim == 2 else 1
    size = max(TILE, width)
    for rows in chunks(len(out), max(1, TILE // width)):
        shape = (rows.stop - rows.start, *out.shape[1:])
        count = shape[0] * width
        pieces: list[Any] = [
            scratch[i * size : i * size + count].reshape(shape) for i in range(floats)
        ]
        booleans = scratch[floats * size : (floats + flags) * size].view(np.bool_)
        marks = [booleans[i * size : i * size + count].reshape(shape) for i in range(flags)]
        yield rows, pieces, marks
