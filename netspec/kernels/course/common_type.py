"""One floating-point type for all arrays of a call, as the kernels require."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from netspec.kernels.arrays import Array


def in_common_type(**arrays: ArrayLike) -> list[Array]:
    """Return the arrays in their widest type: float32 if all are, float64 if any holds integers.

    An array that already has this type is not copied.

    Raises:
        TypeError: for an array that does not hold real numbers, with its name.
    """
    found = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in found.items():
        if array.dtype.kind not in "fiub":
            raise TypeError(f"`{name}` must hold real numbers, not {array.dtype}")
    dtype = np.result_type(*(_floating(array.dtype) for array in found.values()))
    return [array.astype(dtype, copy=False) for array in found.values()]


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type if it is float32 or float64, else the one of these that holds its numbers."""
    if dtype.kind != "f":
        return np.dtype(np.float64)
    return np.dtype(np.float32) if dtype.itemsize <= 4 else np.dtype(np.float64)
