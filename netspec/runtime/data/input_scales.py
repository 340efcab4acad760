"""From what a weights file says of normalisation to what targets put in front of a net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netspec.compiler.ir.input_scale import InputScale
from netspec.runtime.data.input_normalization import (
    InputNormalization,
    Normalization,
    Normalizations,
)


def input_scales(
    by: InputNormalization, shapes: Mapping[str, Sequence[Any]]
) -> dict[str, InputScale]:
    """Return how each input of a net is normalised.

    Args:
        by: the normalisation of the only input, or of each.
        shapes: the shape of each input for one image, by its name; only the number of axes is used.
    """
    each = by.inputs if isinstance(by, Normalizations) else dict.fromkeys(shapes, by)
    return {name: _scale(each[name], len(shape)) for name, shape in shapes.items() if name in each}


def _scale(by: Normalization, axes: int) -> InputScale:
    mean, scale = (
        array.reshape((1,) * (axes - array.ndim) + array.shape) for array in (by.mean, by.scale)
    )
    return InputScale(mean, scale)
