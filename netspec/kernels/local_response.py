"""Local response normalization: each number by the squares of its neighbouring channels.

base[n, h, w, c] = k + alpha/size * sum of x[n, h, w, c']**2 over c - size//2 <= c' <= c + (size-1)//2
y = x / base**beta
"""

from collections.abc import Callable, Iterator

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, carve, chunks

# Elements of x in a tile: it and its scratch fit the L2 cache together.
TILE = 1 << 15

# The cost of an element, in the units of `parallel.WORTH_A_THREAD`.
WORK = 64


def forward(
    x: Array,
    out: Array,
    base: Array,
    scratch: Array,
    *,
    size: int,
    alpha: float,
    beta: float,
    k: float,
) -> None:
    """The formulas at the top; x, out and base are (N, H, W, C)."""

    def part(rows: slice, own: Array) -> None:
        for tile in _tiles(rows, x.shape[-1]):
            numbers, total, result = _rows(x)[tile], _rows(base)[tile], _rows(out)[tile]
            (squares,) = carve(own, numbers.shape)
            np.square(numbers, out=squares)
            _window_sums(squares, total, size // 2, (size - 1) // 2)
            total *= alpha / size
            total += k
            np.power(total, -beta, out=result)
            result *= numbers

    _run(part, x, scratch)


def backward(
    x: Array,
    y: Array,
    base: Array,
    dy: Array,
    dx: Array,
    scratch: Array,
    *,
    size: int,
    alpha: float,
    beta: float,
) -> None:
    """dx = dy/base**beta - 2*alpha*beta/size * x * (sum of dy*y/base over the windows that hold x).

    A window that holds channel c is centred at one of c - (size-1)//2 to c + size//2.
    """

    def part(rows: slice, own: Array) -> None:
        for tile in _tiles(rows, x.shape[-1]):
            numbers, gradient, result = _rows(x)[tile], _rows(dy)[tile], _rows(dx)[tile]
            share, total = carve(own, numbers.shape, numbers.shape)
            np.multiply(gradient, _rows(y)[tile], out=share)
            share /= _rows(base)[tile]
            _window_sums(share, total, (size - 1) // 2, size // 2)
            total *= numbers
            total *= -2 * alpha * beta / size
            np.power(_rows(base)[tile], -beta, out=result)
            result *= gradient
            result += total

    _run(part, x, scratch)


def scratch_size(n: int, shape: tuple[int, ...]) -> int:
    """Elements of scratch that suffice for the kernels above; shape (H, W, C)."""
    return 2 * parallel.threads() * max(TILE, shape[-1])


def _window_sums(x: Array, out: Array, before: int, after: int) -> None:
    """out[r, c] = sum of x[r, c'] over c - before <= c' <= c + after; x and out (R, C)."""
    np.copyto(out, x)
    channels = x.shape[-1]
    for offset in range(1, min(before, channels - 1) + 1):
        out[:, offset:] += x[:, :-offset]
    for offset in range(1, min(after, channels - 1) + 1):
        out[:, :-offset] += x[:, offset:]


def _rows(x: Array) -> Array:
    """View (..., C) as (R, C)."""
    return x.reshape(-1, x.shape[-1])


def _tiles(rows: slice, channels: int) -> Iterator[slice]:
    for tile in chunks(rows.stop - rows.start, max(1, TILE // channels)):
        yield slice(rows.start + tile.start, rows.start + tile.stop)


def _run(part: Callable[[slice, Array], None], x: Array, scratch: Array) -> None:
    """Call `part(rows, scratch)` for the rows of each thread."""
    split = parallel.parts(len(_rows(x)), x.size * WORK)
    share = len(scratch) // len(split)
    own = (scratch[i * share : (i + 1) * share] for i in range(len(split)))
    parallel.run(part, list(zip(split, own, strict=True)))
