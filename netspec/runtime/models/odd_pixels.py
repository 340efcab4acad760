"""Notices pixels that are not normalised, or twice, or others than those of training, as far as a model
knows what it was trained on.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec.runtime.data.input_normalization import InputNormalization, Normalization
from netspec.runtime.data.samples import by_input
from netspec.runtime.weights.data_facts import TrainedOn, image_type

_BYTES = "uint8"
_SCALED = (
    "these pixels lie between 0 and 1, and the net was trained on bytes from 0 to 255, which are"
    " normalised here: give them as they are stored"
)
_WHOLE = (
    "these are bytes from 0 to 255, and the normalisation of the weights is that of pixels from 0 to 1:"
    " give pixels as in training, x / 255"
)
_RAW = (
    "these are bytes as they are stored, and this takes numbers that are normalised as in training:"
    " model.trained_on.normalization.apply(x, model.dtype); `predict` and `evaluate` normalise"
)


def pixel_doubt(
    x: NDArray[Any], trained_on: str | None, normalization: InputNormalization
) -> str | None:
    """Return what is odd about stored pixels beside those of training, or None.

    Args:
        x: samples (N, ...) to be normalised, with a field for each of several inputs.
        trained_on: the types of the training images' numbers, see `number_types`; None if unknown.
        normalization: that of training.
    """
    if _are_scaled(x, trained_on):
        return _SCALED
    return _WHOLE if trained_on is None and _are_whole(x, normalization) else None


def _are_whole(x: NDArray[Any], normalization: InputNormalization) -> bool:
    """Whether there are bytes, and their normalisation has the mean and deviation of pixels from 0 to 1.

    No such bytes are pictures: their mean and their deviation would be below 1 of 255.
    """
    if isinstance(normalization, Normalization):
        return _are_of_one(x, normalization)
    named = normalization.inputs
    return any(_are_of_one(a, named[name]) for name, a in by_input(x).items() if name in named)


def _are_of_one(x: NDArray[Any], by: Normalization) -> bool:
    if x.dtype != np.uint8 or by.kind == "none":
        return False
    return max(np.abs(by.mean).max(), by.scale.max()) <= 1 and bool((x > 1).any())


def _are_scaled(x: NDArray[Any], trained_on: str | None) -> bool:
    """Return True for pixels that were divided by 255, of a net that was trained on bytes."""
    if trained_on is None:
        return False
    fields = zip(by_input(x).values(), trained_on.split(","), strict=False)
    return any(known == _BYTES and _has_shares(array) for array, known in fields)


def _has_shares(array: NDArray[Any]) -> bool:
    """Whether an array has fractions, and nothing below 0 or above 1."""
    if array.dtype.kind != "f" or not array.size or array.min() < 0 or array.max() > 1:
        return False
    return bool((array != np.trunc(array)).any())


def warn_of_bytes(
    trained_on: TrainedOn | None,
    x: ArrayLike | Mapping[str, ArrayLike] | None,
    stacklevel: int = 3,
) -> None:
    """Warn of bytes in place of the normalised numbers that a net was trained on.

    Args:
        trained_on: what the model was trained on; None if nobody told it.
        x: what was given: an array, or one for each input.
        stacklevel: how far up the caller is who gave them, see `warnings.warn`.
    """
    if trained_on is None or trained_on.normalization.kind == "none":
        return
    if _BYTES not in (image_type(trained_on.about) or ""):
        return
    given = x.values() if isinstance(x, Mapping) else [x]
    if any(getattr(each, "dtype", None) == np.uint8 for each in given):
        warnings.warn(_RAW, UserWarning, stacklevel=stacklevel)
