"""Random changes of training images: what is drawn for each, the same on every device.

What is drawn for an image follows from the seed, the epoch and the image's number alone. So it is the
same for both backends, however many processes or threads share the work, and wherever in the epoch a
run is taken up again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.choices import check_name, require

KINDS = ("crop", "flip", "cutout")
# Pixels that `crop` adds on each side before it cuts the picture's size out.
PADDING = 4

# The columns of what `draw` gives.
TOP, LEFT, FLIPPED, CUT_ROW, CUT_COLUMN = range(5)


def check_kinds(kinds: Sequence[str], sample_shape: tuple[int, ...]) -> None:
    """Check the names, and that there are pictures to change.

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
    """What happens to each of the `count` training pictures of `size` (H, W): (count, 5).

    Row i is for picture i, in whichever batch it comes.

    Columns: the first row and column that `crop` keeps of the padded picture, in [0, 2 PADDING]
    (0 without `crop`, where nothing is padded); 1 where `flip` mirrors the picture, half of them;
    the row and column of `cutout`'s centre, anywhere in the picture.
    """
    # Epochs count from 1; a third number keeps this apart from the order of the images.
    rng = np.random.default_rng([seed, epoch, 1])
    drawn = np.zeros((count, 5), np.int64)
    if "crop" in kinds:
        drawn[:, [TOP, LEFT]] = rng.integers(0, 2 * PADDING + 1, (count, 2))
    if "flip" in kinds:
        drawn[:, FLIPPED] = rng.integers(0, 2, count)
    if "cutout" in kinds:
        drawn[:, [CUT_ROW, CUT_COLUMN]] = rng.integers(0, size, (count, 2))
    return drawn
