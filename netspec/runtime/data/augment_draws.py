"""Random changes of training images: the numbers drawn for each image, the same on every device.

They depend only on the seed, the epoch and the number of the image. So they are the same for both
backends, for any number of processes or threads, and wherever in the epoch a run is resumed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.choices import check_name, require

KINDS = ("crop", "flip", "cutout")
# The number of pixels that `crop` adds on each side before it cuts out a part of the original size.
PADDING = 4

# The columns of the result of `draw`.
TOP, LEFT, FLIPPED, CUT_ROW, CUT_COLUMN = range(5)


def check_kinds(kinds: Sequence[str], sample_shape: tuple[int, ...]) -> None:
    """Check the names, and that the data are pictures.

    Raises:
        NetspecError: `train/bad-option`.
    """
    for kind in kinds:
        check_name("augmentation", kind, KINDS)
    require(
        not kinds or len(sample_shape) == 3,
        f"augmentation needs pictures (C, H, W), and the network's input is {list(sample_shape)}",
    )


def draw(
    kinds: Sequence[str], count: int, size: tuple[int, int], seed: int, epoch: int
) -> NDArray[np.int64]:
    """Draw the changes of each of `count` training pictures of `size` (H, W); returns (count, 5).

    Row i is for picture i, whichever batch it is in.

    Columns: the first row and column of the padded picture that `crop` keeps, in [0, 2 PADDING] (0
    without `crop`, where nothing is padded); 1 if `flip` mirrors the picture, as for half of them;
    the row and column of the centre of `cutout`, anywhere in the picture.
    """
    # Epochs count from 1; the third number makes these random numbers differ from those of the
    # order.
    rng = np.random.default_rng([seed, epoch, 1])
    drawn = np.zeros((count, 5), np.int64)
    if "crop" in kinds:
        drawn[:, [TOP, LEFT]] = rng.integers(0, 2 * PADDING + 1, (count, 2))
    if "flip" in kinds:
        drawn[:, FLIPPED] = rng.integers(0, 2, count)
    if "cutout" in kinds:
        drawn[:, [CUT_ROW, CUT_COLUMN]] = rng.integers(0, size, (count, 2))
    return drawn
