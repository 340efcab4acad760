"""The handwritten digits that come with netspec, resized to a network's input."""

from __future__ import annotations

import math
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.dataset import Dataset

TEST_IMAGES = 360
SIDE = 8
_LARGEST_VALUE = 16.0
# 1,797 pictures of 3 x 224 x 224 are 270 MB; an input larger than this is not meant for 8 x 8
# digits.
_MAX_BYTES = 1 << 30
# How many pixels are resized at a time.
_BLOCK = 1 << 18


def load_digits(input_shape: tuple[int, ...] | None) -> Dataset:
    """The 1,797 digits of 8 x 8 grey pixels: 1,437 to train, 360 to test, 10 classes.

    The split is stratified and always the same. Pictures become uint8 0..255 of shape
    (C, H, W) = `input_shape` (None: (1, 8, 8)), resized by linear interpolation between pixel
    centres (scipy.ndimage.zoom with grid_mode, torch's align_corners=False) and repeated over the
    channels. An input of shape (64,) gets the 8 x 8 picture row by row.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998); see
    `digits.md` beside this file.

    Raises:
        NetspecError: `data/shape` for an input that is not of the shape of a picture.
    """
    shape = (1, SIDE, SIDE) if input_shape in (None, (SIDE * SIDE,)) else input_shape
    if shape is None or len(shape) != 3 or min(shape) < 1:
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"digits are pictures: the network's input is {list(input_shape or ())}, "
            "not [channels, height, width]",
            "write `input image: [1, 28, 28]`, or [64] for the bare 8 x 8 pixels",
        )
    images, labels = _stored()
    channels, height, width = shape
    count = len(images)
    if math.prod((count, height, width)) > _MAX_BYTES:
        raise NetspecError.simple(
            codes.DATA_SHAPE, f"digits are 8 x 8 pictures; {height} x {width} is too large for them"
        )
    x = _resize(images, height, width)[:, None]
    # A copy for several channels, because code that changes a picture must be able to change one
    # channel.
    x = x if channels == 1 else np.repeat(x, channels, axis=1)
    train = count - TEST_IMAGES
    dataset = Dataset(
        "digits", x[:train], labels[:train], x[train:], labels[train:], 10, tuple("0123456789")
    )
    return dataset if input_shape is None else dataset.fit_to(input_shape)


def _stored() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures (N, 8, 8) of values 0..16 and labels (N,); the test images come last."""
    with (
        resources.files(__package__).joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return arrays["images"], arrays["labels"].astype(np.int64)


def _resize(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (N, 8, 8) values 0..16 to (N, height, width) uint8 0..255."""
    out = np.empty((len(images), height, width), np.uint8)
    rows, columns = _taps(height), _taps(width)
    step = max(1, _BLOCK // (height * width))
    for start in range(0, len(images), step):
        block = slice(start, start + step)
        values = images[block] * (255.0 / _LARGEST_VALUE)
        sums = np.zeros((len(values), height, width))
        # The order of the sum, and outer taps that meet at the border, make the result
        # bit-identical to SciPy's.
        for row, row_weight in rows:
            for column, column_weight in columns:
                sums += values[:, row[:, None], column] * row_weight[:, None] * column_weight
        np.rint(sums, out=out[block], casting="unsafe")
    return out


def _taps(size: int) -> tuple[tuple[NDArray[np.intp], NDArray[np.float64]], ...]:
    """Return the two of 8 pixels that each of `size` pixels lies between, each (size,), with weights."""
    at = (np.arange(size) + 0.5) * (SIDE / size) - 0.5
    before = np.floor(at)
    weight = at - before
    first = before.astype(np.intp)
    return (
        (np.clip(first, 0, SIDE - 1), 1 - weight),
        (np.clip(first + 1, 0, SIDE - 1), weight),
    )
