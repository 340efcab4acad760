"""Convolutions of 3 x 3 taps by Winograd's algorithm: where it wins, and what its function is given.

Sums of four by four outputs take 36 products for each channel and filter, instead of 144. The rest are
additions, which cost about a digit in single precision: for 16 to 64 channels the largest error is some
2e-5 of the root mean square of the outputs of a layer; in ResNet-20 it is 1e-6 of that of the scores, and
6e-5 of that of a weight's gradient, for 16 images. In double precision, where gradients are checked, it
is not used.
"""

from __future__ import annotations

import numpy as np

from netspec.compiler.c_backend.forms.picture import BLOCK, Picture, rounded
from netspec.compiler.c_backend.forms.windows import in_blocks
from netspec.compiler.c_backend.kernel_call import Array

# The side of a tile of outputs, and of the tile of products that makes them.
MADE, SIDE = 4, 6
PLACES = SIDE**2
# How many tiles at most are multiplied with the same filters at a time: six turns over six rows.
STRIP = 36
# The same for the gradient of a weight, whose sums are read and written for each.
STRIP_BACK = 72
# Parts of a batch for each of which sums are made, if there are few filters.
SHARES = 4
# Channels and filters below which the additions cost more than the products that are saved.
FEWEST = 8
# The tiles of a picture below which it takes longer to read transformed filters, four times as many
# numbers, than the products that are saved, unless they are so few that they stay in a cache.
FEW_TILES = 9
NEAR = 1 << 18
# Numbers of a vector at most.
LANES = 16
# The matrix G of F(4 x 4, 3 x 3), which transforms filters; Lavin and Gray 2016.
_FILTER = np.array(
    [
        [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
    ]
)  # fmt: skip


def wins(picture: Picture, *, double: bool) -> bool:
    """Whether it takes less time than products of all taps, and is exact enough."""
    if double or picture.kernel != (3, 3) or picture.groups != 1:
        return False
    if picture.stride != (1, 1) or picture.dilation != (1, 1):
        return False
    (high, wide, filters), channels = picture.y, picture.x[2]
    if min(channels, filters) < FEWEST or min(high, wide) <= 2:
        return False
    tiles = -(-high // MADE) * -(-wide // MADE)
    return tiles >= FEW_TILES or filters_size(filters, channels) <= NEAR


def work(picture: Picture) -> int:
    """Return the numbers that a thread needs in between."""
    channels = rounded(picture.x[2], LANES)
    return SIDE * channels + PLACES * (STRIP * channels + BLOCK) + PLACES * (STRIP + 1) * BLOCK


def work_back(picture: Picture) -> int:
    """Return the numbers that a thread needs for the gradient of a weight."""
    channels, filters = rounded(picture.x[2], LANES), rounded(picture.y[2], BLOCK)
    return SIDE * channels + PLACES * (STRIP_BACK * (channels + filters) + 2 * BLOCK)


def shares(picture: Picture) -> int:
    """Return of how many parts of the tiles sums are made for the gradient of a weight.

    They are as many for any number of threads, so that the sums have the same bits, and fewer where
    threads can have filters of their own.
    """
    return max(1, SHARES // -(-picture.y[2] // BLOCK))


def filters_size(filters: int, channels: int) -> int:
    """Return how many numbers transformed filters have."""
    return rounded(filters, BLOCK) * channels * PLACES


def transformed(weight: Array) -> Array:
    """Return filters (O, C, 3, 3) as [block][place][channel][filter in the block]."""
    moved = np.einsum("rk,ockl,sl->orsc", _FILTER, weight.astype(np.float64), _FILTER)
    return in_blocks(moved.reshape(len(weight), PLACES, -1), 1, BLOCK)
