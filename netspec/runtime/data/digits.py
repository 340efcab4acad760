"""scikit-learn's bundled handwritten digits, brought to a network's input size. Needs no files."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from netspec.diagnostics import NetspecError
from netspec.runtime.data.dataset import Dataset

TEST_IMAGES = 360
_SIDE = 8
_LARGEST_VALUE = 16.0
_SPLIT_SEED = 0
# 1,797 pictures of 3 x 224 x 224 are 270 MB; beyond this an input is no place for 8 x 8 digits.
_MAX_BYTES = 1 << 30


def load_digits(input_shape: tuple[int, ...] | None) -> Dataset:
    """The 1,797 digits of 8 x 8 grey pixels: 1,437 to train, 360 to test, 10 classes.

    The split is stratified and always the same. Pictures become uint8 0..255 of shape
    (C, H, W) = `input_shape` (None: (1, 8, 8)), resized by linear interpolation between pixel
    centres (scipy.ndimage.zoom with grid_mode, torch's align_corners=False) and repeated over the
    channels. An input of shape (64,) gets the 8 x 8 picture row by row.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).

    Raises:
        NetspecError: `data/shape` for an input that no picture can be brought to.
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    shape = (1, _SIDE, _SIDE) if input_shape in (None, (_SIDE * _SIDE,)) else input_shape
    if shape is None or len(shape) != 3 or min(shape) < 1:
        raise NetspecError.simple(
            "data/shape",
            f"digits are pictures: the network's input is {list(input_shape or ())}, "
            "not [channels, height, width]",
            "write `input image: [1, 28, 28]`, or [64] for the bare 8 x 8 pixels",
        )
    bunch = datasets.load_digits()
    channels, height, width = shape
    count = len(bunch.images)
    if math.prod((count, height, width)) > _MAX_BYTES:
        raise NetspecError.simple(
            "data/shape", f"digits are 8 x 8 pictures; {height} x {width} is too large for them"
        )
    x = _resize(bunch.images, height, width)[:, None]
    # A view: the channels are copies of one another, so no memory is spent on them.
    x = np.broadcast_to(x, (count, channels, height, width))
    train, test = train_test_split(
        np.arange(count), test_size=TEST_IMAGES, random_state=_SPLIT_SEED, stratify=bunch.target
    )
    y = bunch.target.astype(np.int64)
    dataset = Dataset("digits", x[train], y[train], x[test], y[test], 10, tuple("0123456789"))
    return dataset if input_shape is None else dataset.fit_to(input_shape)


def _resize(images: NDArray[np.float64], height: int, width: int) -> NDArray[np.uint8]:
    """(N, 8, 8) values 0..16 to (N, height, width) uint8 0..255."""
    from scipy.ndimage import zoom

    out = np.empty((len(images), height, width), np.uint8)
    factors = (height / _SIDE, width / _SIDE)
    for image, resized in zip(images * (255.0 / _LARGEST_VALUE), out, strict=True):
        scaled = zoom(image, factors, order=1, mode="nearest", grid_mode=True)
        np.rint(scaled, out=resized, casting="unsafe")
    return out
