"""Random changes of training images: the numbers drawn for each image, the same on every device.

They depend only on the seed, the epoch and the number of the image. So they are the same for both
backends, for any number of processes or threads, and wherever in the epoch a run is resumed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.choices import check_name, require
from netspec.runtime.data.dataset import Dataset

KINDS = ("crop", "flip", "cutout")
# The number of pixels that `crop` adds on each side before it cuts out a part of the original size.
PADDING = 4

# The columns of the result of `draw`.
TOP, LEFT, FLIPPED, CUT_ROW, CUT_COLUMN = range(5)


def picture_to_change(kinds: Sequence[str], data: Dataset) -> str | None:
    """Return the input whose pictures are changed, by the data's name; None if nothing is changed.

    Raises:
        NetspecError: `train/bad-option` for an unknown kind, and if not exactly one input is a
            picture.
    """
    for kind in kinds:
        check_name("augmentation", kind, KINDS)
    inputs = " and ".join(map(str, map(list, data.input_shapes.values())))
    several = len(data.input_shapes) > 1
    require(
        not kinds or data.picture_input is not None,
        f"augmentation needs {'one input of ' if several else ''}pictures (C, H, W), and the"
        f" network's {'inputs are' if several else 'input is'} {inputs}",
    )
    return data.picture_input if kinds else None


def draw_for(
    kinds: Sequence[str], data: Dataset, picture: str | None, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Draw the changes of each training picture, see `draw`; (N, 0) if there are none to change."""
    count = len(data.x_train)
    if picture is None:
        return np.zeros((count, 0), np.int64)
    height, width = data.input_shapes[picture][1:]
    return draw(kinds, count, (height, width), seed, epoch)


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
