"""One floating-point type for all arrays of a call, as the kernels want it."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from netspec.kernels.arrays import Array


def in_common_type(**arrays: ArrayLike) -> list[Array]:
    """The arrays in the widest of their types: float32 if all are, float64 where any is whole.

    An array that is of that type already is not copied.

    Raises:
        TypeError: for an array that holds no real numbers, by its name.
    """
    found = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in found.items():
        if array.dtype.kind not in "fiub":
            raise TypeError(f"`{name}` must hold real numbers, not {array.dtype}")
    dtype = np.result_type(*(_floating(array.dtype) for array in found.values()))
    return [array.astype(dtype, copy=False) for array in found.values()]


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type itself if it is float32 or float64, the one of these that holds its numbers if not."""
    if dtype.kind != "f":
        return np.dtype(np.float64)
    return np.dtype(np.float32) if dtype.itemsize <= 4 else np.dtype(np.float64)
