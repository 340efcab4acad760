"""What the kernels share: the array type, carving up scratch, and sums over rows."""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Number = TypeVar("Number", bound=np.generic)

# Rows of few channels are laid end to end until they are about this long: NumPy's inner loop is as
# long as the row it adds, and its start costs as much as adding some hundred numbers.
FOLDED_WIDTH = 1024


# OpenBLAS multiplies matrices of up to this many products without packing them first: small ones
# are a quarter faster that way, so what can be cut is cut to fit.
SMALL_PRODUCT = 1_000_000


def carve(scratch: Array, *shapes: tuple[int, ...]) -> list[Array]:
    """Cut one array of each of `shapes` from the front of the 1-d `scratch`, one after another."""
    pieces, start = [], 0
    for shape in shapes:
        stop = start + prod(shape)
        pieces.append(scratch[start:stop].reshape(shape))
        start = stop
    return pieces


def strided(x: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of the memory of `x` by any shape and strides (in bytes).

    What may be recorded must take such views here: NumPy's own function loses the kind of array.
    """
    return as_strided(x, shape, strides, subok=True)


def as_one(task: Callable[..., None], *arrays: Array, reads: Sequence[Array] = ()) -> None:
    """Call `task(*arrays, *reads)`, whose NumPy calls depend on the numbers in the arrays.

    A recording of the kernels (`netspec.runtime.engine.record.recorder`) keeps it as one call, so
    `task` may know nothing else that changes from call to call. It writes none of `reads`.
    """
    recorder = getattr(arrays[0], "recorder", None)
    if recorder is None:
        task(*arrays, *reads)
    else:
        recorder.note_one(task, arrays, reads)


def fixed(array: NDArray[Number]) -> NDArray[Number]:
    """The array, contiguous and read-only: one that holds the same numbers in every run.

    A recording of the kernels takes such an array as it is, and refuses others that it does not know.
    """
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def fold(x: Array) -> tuple[int, Array, Array]:
    """View the rows of `x` (..., C) as long rows of k*C numbers.

    Returns k, the folded rows (R // k, k*C), and the R % k rows left over (R % k, C), where R is
    the number of rows of `x`.
    """
    channels = x.shape[-1]
    rows = x.reshape(-1, channels)
    k = max(1, min(FOLDED_WIDTH // channels, len(rows)))
    whole = len(rows) // k * k
    return k, rows[:whole].reshape(-1, k * channels), rows[whole:]


def column_sums(x: Array, out: Array) -> None:
    """Sum `x` (..., C) over all axes but the last into `out` (C,).

    out[c] = sum over rows r of x[r, c]. Summing long rows first, and their parts afterwards, is
    both faster and, in float32, more accurate than adding row after row.
    """
    k, folded, rest = fold(x)
    np.add.reduce(np.add.reduce(folded, axis=0).reshape(k, -1), axis=0, out=out)
    out += np.add.reduce(rest, axis=0)


def chunks(length: int, size: int) -> Iterator[slice]:
    """Cut range(length) into consecutive slices of at most `size`."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def repeat_row(vector: Array, times: int) -> Array:
    """`vector` (C,) `times` over, end to end: adding a long row is faster than many short ones."""
    return np.tile(vector, times)
