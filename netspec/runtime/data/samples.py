"""Samples of several inputs: one array, whose elements have a field for each input.

So that they are chosen, cut and counted as the samples of one input are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.lazy_samples import LazySamples

Array = NDArray[np.generic]

# The name of the only input, where it needs none.
ONLY = ""


def packed(name: str, part: str, inputs: Mapping[str, ArrayLike]) -> Array:
    """Return the samples of several inputs as one array (N,), a copy; of one input, its array.

    Args:
        name: The name of the data set, for messages.
        part: The name of its part, likewise.
        inputs: Arrays (N, ...) by the name of the input.

    Raises:
        NetspecError: `data/shape` for no inputs, for arrays of different N, and for values that are
            no numbers.
    """
    arrays = {str(key): np.asarray(array) for key, array in inputs.items()}
    if not arrays:
        raise NetspecError.simple(codes.DATA_SHAPE, f"{name}: x_{part} has no inputs")
    for key, array in arrays.items():
        require_numbers(f"{name}: x_{part} of `{key}`", array)
    counts = {key: len(array) for key, array in arrays.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of `{key}`" for key, count in counts.items())
        raise NetspecError.simple(codes.DATA_SHAPE, f"{name}: x_{part} has {listed}")
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    fields = [(key, array.dtype, array.shape[1:]) for key, array in arrays.items()]
    out = np.empty(next(iter(counts.values())), np.dtype(fields))
    for key, array in arrays.items():
        out[key] = array
    return out


def require_numbers(what: str, x: Array) -> None:
    """Refuse what is no array (N, ...) of integers or floats.

    Raises:
        NetspecError: `data/shape`.
    """
    if x.dtype.kind not in "uif":
        raise NetspecError.simple(
            codes.DATA_SHAPE, f"{what} holds {x.dtype} values; images are integers or floats"
        )
    if x.ndim < 2:
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{what} has shape {list(x.shape)}; images are (N, C, H, W), feature vectors (N, F)",
        )


def by_input(x: Array) -> dict[str, Array]:
    """Return views (N, ...) of the samples, by the name of the input; that of a single one is `ONLY`."""
    names = x.dtype.names
    if names is None:
        return {ONLY: x}
    records = cast("NDArray[np.void]", x)
    return {name: records[name] for name in names}


def with_input(x: Array, name: str, values: Array) -> Array:
    """Return the samples with other values (N, ...) of an input, which are written into several ones."""
    if name == ONLY:
        return values
    by_input(x)[name][...] = values
    return x


def number_types(x: Array) -> str:
    """Return the types of the numbers of each input, such as `uint8` or `uint8,int64`."""
    return ",".join(array.dtype.name for array in by_input(x).values())


def numbers_in(x: Array) -> int:
    """Return how many numbers a sample has, in all inputs."""
    return sum(math.prod(array.shape[1:]) for array in by_input(x).values())


def is_in_memory(x: Array | None) -> bool:
    """Return True if the system cannot reclaim the memory, as it can that of a mapped file."""
    if isinstance(x, LazySamples):
        return False
    while isinstance(x, np.ndarray):
        if isinstance(x, np.memmap):
            return False
        x = x.base
    return True
