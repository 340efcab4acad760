"""What the kernels share: the array type, splitting scratch into arrays, and sums over rows."""

import functools
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Number = TypeVar("Number", bound=np.generic)

# Rows of few channels are laid end to end until they are about this long: NumPy's inner loop is as
# long as the row it adds, and starting it costs as much as adding a few hundred numbers.
FOLDED_WIDTH = 1024

# A row of more numbers is a long one; see `row_sums`.
SHORT_ROW = 1024


# OpenBLAS multiplies matrices with up to this many products without packing them first, if the
# processor has AVX-512. Such small products are a quarter faster, so work that can be cut is cut to
# this size.
SMALL_PRODUCT = 1_000_000


@functools.cache
def has_avx512() -> bool:
    """Return True if the processor has AVX-512, as far as NumPy can tell."""
    core: Any = getattr(np, "_core", None) or np.core
    features = getattr(getattr(core, "_multiarray_umath", None), "__cpu_features__", {})
    return bool(features.get("AVX512_SKX"))


def carve(scratch: Array, *shapes: tuple[int, ...]) -> list[Array]:
    """Cut one array of each of `shapes` from the front of the 1-d `scratch`, one after another."""
    pieces, start = [], 0
    for shape in shapes:
        stop = start + prod(shape)
        pieces.append(scratch[start:stop].reshape(shape))
        start = stop
    return pieces


def strided(x: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of the memory of `x` with any shape and strides (in bytes).

    Kernels that may be recorded must take such views here: NumPy's own function loses the subclass
    of the array.
    """
    return as_strided(x, shape, strides, subok=True)


def as_one(task: Callable[..., None], *arrays: Array, reads: Sequence[Array] = ()) -> None:
    """Call `task(*arrays, *reads)`, if its NumPy calls depend on the numbers in the arrays.

    A recording of the kernels (`netspec.runtime.engine.record.recorder`) keeps it as a single call,
    so `task` must not depend on anything else that changes from call to call. It must not write to
    `reads`.
    """
    recorder = getattr(arrays[0], "recorder", None)
    if recorder is None:
        task(*arrays, *reads)
    else:
        recorder.note_one(task, arrays, reads)


def fixed(array: NDArray[Number]) -> NDArray[Number]:
    """Return a contiguous read-only array, to mark that it holds the same numbers in every run.

    A recording of the kernels uses such an array directly, and refuses other arrays that it does
    not know.
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


@functools.cache
def _ones(count: int, dtype: np.dtype[Any]) -> Array:
    return fixed(np.ones((count, 1), dtype))


def row_sums(x: Array, out: Array) -> Array:
    """Sum the rows of `x` (..., C) into `out` (..., 1), and return that; both are contiguous.

    NumPy adds up a short row in several times as long as BLAS takes for its product with ones. A long
    row is left to NumPy, which adds it up pairwise.
    """
    count = x.shape[-1]
    if count > SHORT_ROW:
        total: Array = np.add.reduce(x, axis=-1, keepdims=True, out=out)
        return total
    np.matmul(x.reshape(-1, count), _ones(count, x.dtype), out=out.reshape(-1, 1))
    return out


def chunks(length: int, size: int) -> Iterator[slice]:
    """Cut range(length) into consecutive slices of at most `size`."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def repeat_row(vector: Array, times: int) -> Array:
    """Repeat `vector` (C,) `times` times end to end.

    Adding one long row is faster than many short ones.
    """
    return np.tile(vector, times)
