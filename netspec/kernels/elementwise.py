"""Helpers of fused elementwise code: tiles that stay in cache, and registers to compute in."""

import functools
import inspect
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, chunks

# Elements in a tile: few enough for the L3 cache, and enough that a NumPy call takes longer than
# the Python around it, for which two threads take turns.
TILE = 1 << 18

# The cost of an element, in the units of `parallel.WORTH_A_THREAD`.
WORK = 8


def scratch_size(width: int, registers: int) -> int:
    """Elements of scratch that `run` needs for rows of `width` elements."""
    return parallel.threads() * registers * max(TILE, width)


def select(
    condition: NDArray[np.bool_],
    then: Array | float,
    otherwise: Array | float,
    mask: Array,
    spare: Array,
    *,
    out: Array,
) -> None:
    """Set `out` to `then` where the condition holds, and to `otherwise` elsewhere, bit for bit.

    The bits are combined by a mask. Copying only some of the elements would branch at each of them,
    which takes several times as long if the condition is as good as random. `mask` and `spare`, of
    the shape of `out`, are overwritten; `out` may be the same array as `then`, `otherwise` or
    `spare`.
    """
    kind = _BITS[out.itemsize]
    chosen, bits = mask.view(kind), spare.view(kind)
    a, b = (
        x.view(kind) if isinstance(x, np.ndarray) else _bits(x, out.dtype)
        for x in (then, otherwise)
    )
    np.copyto(chosen, condition)
    np.negative(chosen, out=chosen)  # all bits set, or none
    np.bitwise_xor(a, b, out=bits)
    np.bitwise_and(bits, chosen, out=bits)
    np.bitwise_xor(bits, b, out=out.view(kind))


_BITS: dict[int, np.dtype[np.signedinteger[Any]]] = {4: np.dtype("i4"), 8: np.dtype("i8")}


def _bits(value: float, dtype: np.dtype[Any]) -> Any:
    """View the bits of the numbers as integers."""
    return np.array([value], dtype).view(_BITS[dtype.itemsize])[0]


def run(
    compute: Callable[..., None], out: Array, scratch: Array, *, floats: int = 0, flags: int = 0
) -> None:
    """Call `compute(rows, *registers)` for each tile of `out`, of shape (R,) or (R, width).

    `rows` is the slice of a tile. The registers are arrays of the tile's shape in `scratch`: first
    `floats` of the type of `out`, then `flags` of booleans. Each thread gets a part of the rows.
    """
    width = out.shape[1] if out.ndim == 2 else 1
    size = max(TILE, width)
    step = max(1, TILE // width)

    def part(mine: slice, own: Array) -> None:
        booleans = own[floats * size :].view(np.bool_)
        for tile in chunks(mine.stop - mine.start, step):
            rows = slice(mine.start + tile.start, mine.start + tile.stop)
            shape = (rows.stop - rows.start, *out.shape[1:])
            count = shape[0] * width
            yes = [booleans[i * size : i * size + count].reshape(shape) for i in range(flags)]
            registers = [own[i * size : i * size + count].reshape(shape) for i in range(floats)]
            compute(rows, *registers, *yes)

    split = parallel.parts(len(out), out.size * WORK)
    share = len(scratch) // len(split)
    parallel.run(part, [(s, scratch[i * share : (i + 1) * share]) for i, s in enumerate(split)])


def tiled(
    *, along: Sequence[str] = (), axes: int = 2, floats: int = 0, flags: int = 0
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: make a function of a tile one of whole arrays.

    The function is given as `compute(out, *operands, *registers)` and called as
    `compute(out, *operands, scratch)`. See `run` for the tiles and the registers.

    Args:
        along: the operands that are broadcast over `out` (N, ...): (C,) belongs to its last axis,
            (C, 1) to the last but one, and so on, (H, W, C) to the last three. All others have the
            shape of `out`.
        axes: how many of the last axes make up a row, if anything is broadcast.
        floats: how many registers of the type of `out` the function takes.
        flags: how many registers of booleans, after these.
    """

    def decorate(compute: Callable[..., None]) -> Callable[..., None]:
        names = list(inspect.signature(compute).parameters)
        repeated = [name in along for name in names[: len(names) - floats - flags]]

        @functools.wraps(compute)
        def whole(*arguments: Array) -> None:
            *arrays, scratch = arguments
            out = arrays[0]
            shape = (-1, prod(out.shape[1:][-axes:])) if along else (-1,)
            operands = [
                (_along(out, array, axes) if again else array.reshape(shape), again)
                for array, again in zip(arrays, repeated, strict=True)
            ]

            def tile(mine: slice, *registers: Array) -> None:
                parts = [operand if again else operand[mine] for operand, again in operands]
                compute(*parts, *registers)

            run(tile, operands[0][0], scratch, floats=floats, flags=flags)

        return whole

    return decorate


def _along(out: Array, vector: Array, axes: int = 2) -> Array:
    """Repeat a vector that is broadcast over `out` (N, ...) along a row of it.

    NumPy's inner loop is as long as its shortest operand. It broadcasts a single number by itself.

    Args:
        out: any array; it is not read.
        vector: (C,) belongs to the last axis, (C, 1) to the last but one, and so on; one of more
            sizes than one, such as (H, W, C), to as many last axes.
        axes: how many of the last axes make up a row.
    """
    if vector.shape == (1,):
        return vector
    shape, rank = out.shape[1:], vector.ndim
    if rank > 1:
        vector = np.repeat(vector, prod(shape[-rank:]) // vector.size)
    repeats = prod(shape[-axes:-rank])
    return vector if repeats == 1 else np.tile(vector, repeats)
