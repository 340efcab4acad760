"""Random crop, flip and cutout of a batch in NumPy, different for each image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.augment_draws import CUT_COLUMN, CUT_ROW, Augmentation

Array = NDArray[Any]


def shift_and_flip(x: Array, drawn: NDArray[np.int64], changes: Augmentation) -> Array:
    """`crop` and `flip`, as `netspec.runtime.models.pytorch.augment` does them.

    Args:
        x: (N, C, H, W) raw pixels, which `crop` pads; zeros are black.
        drawn: (N, 5), the result of `netspec.runtime.data.augment_draws.draw`.
        changes: which to do.

    Returns:
        (N, C, H, W), a new array if anything is changed.
    """
    if not changes.moves:
        return x
    height, width = x.shape[2:]
    if "crop" in changes:
        mode = "reflect" if changes.edges == "mirror" else "constant"
        x = np.pad(x, ((0, 0), (0, 0), *[(changes.pad, changes.pad)] * 2), mode)  # type: ignore[call-overload]
    out = np.empty((*x.shape[:2], height, width), x.dtype)
    # One slice for each image is three to four times as fast as a single gather with index arrays.
    for image, source, (top, left, flipped, *_) in zip(out, x, drawn.tolist(), strict=True):
        window = source[:, top : top + height, left : left + width]
        image[...] = window[:, :, ::-1] if flipped else window
    return out


def cut_out(x: Array, drawn: NDArray[np.int64], changes: Augmentation) -> Array:
    """`cutout`: set a square to 0, the mean of normalized images, in place.

    Args:
        x: (N, C, H, W), normalized.
        drawn: (N, 5).
        changes: which to do.
    """
    if "cutout" not in changes:
        return x
    side = changes.side(x.shape[2:])
    first = drawn[:, [CUT_ROW, CUT_COLUMN]] - side // 2
    for image, (top, left) in zip(x, first.tolist(), strict=True):
        image[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
    return x
