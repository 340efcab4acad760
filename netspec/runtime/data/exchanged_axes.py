"""Arrays whose axes stand in another order than a net's input has them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from netspec.compiler.ir.graph import Shape
from netspec.compiler.passes.bind_sizes import match_sizes_of

# Of more axes there would be too many orders to try; no layer has as many.
_MOST_AXES = 6


def exchanged(name: str, have: Sequence[int], want: Shape, *, batch: bool = True) -> str | None:
    """Return the call of NumPy that brings an array into the order of an input; None if none does.

    Where several orders fit, because sizes are equal, it is the one that keeps most axes behind each
    other, as from N, H, W, C to N, C, H, W.

    Args:
        name: what the call names the array.
        have: the shape of a sample.
        want: the shape of the input; a size that is open may be any.
        batch: whether the array has an axis of samples in front.
    """
    if not 2 <= len(have) == len(want) <= _MOST_AXES:
        return None
    fits = [
        order
        for order in permutations(range(len(have)))
        if match_sizes_of(want, tuple(have[axis] for axis in order)) is not None
    ]
    if not fits:
        return None
    order = min(fits, key=_pairs_turned)
    return f"np.transpose({name}, {(0, *(axis + 1 for axis in order)) if batch else order})"


def _pairs_turned(order: Sequence[int]) -> int:
    return sum(a > b for at, a in enumerate(order) for b in order[at + 1 :])
