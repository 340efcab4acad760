"""Notices pictures that are dark on light where a net was trained on light on dark, or the other way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.input_normalization import InputNormalization, Normalization

_BYTES = "uint8"
_KNOW_THE_MEAN = ("channel", "mean-image")
# The mean of grey training images below which they are light on dark: that of MNIST is 0.13, of
# Fashion-MNIST 0.29.
_DARK = 0.35
# A picture whose frame is lighter than this, and which is light on the whole, is dark on light. Of the
# 70,000 pictures of MNIST none is, of Fashion-MNIST one; turned round, all and 95 %.
_FRAME, _WHOLE = 0.6, 0.5


def turned_round(
    x: NDArray[Any], normalization: InputNormalization, trained_on: str | None
) -> str | None:
    """Return how grey pictures differ from the training images in what is light; None if they do not, or
    it is not known.

    Args:
        x: (N, 1, H, W) or (N, H * W) pixels from 0 to 255.
        normalization: that of the training images, whose mean it may know.
        trained_on: the type of their numbers, see `number_types`.
    """
    grey = _as_grey(x)
    if grey is None or trained_on != _BYTES or not isinstance(normalization, Normalization):
        return None
    if normalization.kind not in _KNOW_THE_MEAN:
        return None
    mean = float(np.mean(normalization.mean)) / 255
    if mean < _DARK and _are_dark_on_light(grey):
        return "dark on light, and the training images are light on dark"
    if mean > 1 - _DARK and _are_dark_on_light(1 - grey):
        return "light on dark, and the training images are dark on light"
    return None


def _as_grey(x: NDArray[Any]) -> NDArray[np.floating] | None:
    """Return grey pictures (N, H, W) from 0 to 1; None for others, and for those of no known shape."""
    if x.dtype != np.uint8:
        return None
    side = math.isqrt(x.shape[1])
    if x.ndim == 2 and side * side == x.shape[1]:
        x = x.reshape(-1, 1, side, side)
    if x.ndim != 4 or x.shape[1] != 1:
        return None
    return x[:, 0].astype(np.float32) / 255


def _are_dark_on_light(grey: NDArray[np.floating]) -> bool:
    """Whether most pictures (N, H, W) are light, and their frames are."""
    frames = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    light = (np.median(frames, axis=1) > _FRAME) & (grey.mean(axis=(1, 2)) > _WHOLE)
    return bool(light.mean() > 0.5)
