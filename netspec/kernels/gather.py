"""Numbers chosen by their places along an axis, and places as vectors of one 1.

A place is a whole number in an array of floats, counted from 0; a fraction is cut off (rows of an
embedding are rounded to), and a place outside the axis is the nearest inside.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.kernels.arrays import Array, as_one


def choose(x: Array, places: Array, out: Array, *, axis: int) -> None:
    """`out[.., i, ..] = x[.., places[.., i, ..], ..]` along an axis of x (N, ...)."""

    def task(out: Array, x: Array, places: Array) -> None:
        out[...] = np.take_along_axis(_beside(x, places, axis), _whole(places, x.shape[axis]), axis)

    as_one(task, out, reads=[x, places])


def choose_backward(places: Array, dy: Array, dx: Array, *, axis: int) -> None:
    """Add each number of dy to the number of `dx` that was chosen for it; the others are 0."""

    def task(dx: Array, places: Array, dy: Array) -> None:
        dx.fill(0)
        index: list[NDArray[Any]] = list(np.indices(dy.shape, sparse=True))
        index[axis] = _whole(places, dx.shape[axis])
        np.add.at(dx, tuple(index), dy)

    as_one(task, dx, reads=[places, dy])


def one_hot(places: Array, out: Array) -> None:
    """`out[.., c]` is 1 where the place is c, else 0; `out` has one axis more, the last."""

    def task(out: Array, places: Array) -> None:
        classes = out.shape[-1]
        np.copyto(out, np.arange(classes) == _whole(places, classes)[..., None])

    as_one(task, out, reads=[places])


def rows(places: Array, weight: Array, out: Array) -> None:
    """`out[.., :] = weight[places[..], :]`, with weight (V, D) and `out` (N, ..., D)."""

    def task(out: Array, places: Array, weight: Array) -> None:
        np.take(weight, _whole(np.rint(places), len(weight)), axis=0, out=out, mode="clip")

    as_one(task, out, reads=[places, weight])


def rows_backward(places: Array, dy: Array, dweight: Array, *, padding: int | None) -> None:
    """Each row of `dweight` (V, D) is the sum of dy (N, ..., D) at its places.

    The places are sorted, so that the rows of one sum are neighbours. The row `padding` gets 0.
    """

    def task(dweight: Array, places: Array, dy: Array) -> None:
        chosen = _whole(np.rint(places), len(dweight)).ravel()
        order = np.argsort(chosen, kind="stable")
        found, starts = np.unique(chosen[order], return_index=True)
        dweight.fill(0)
        dweight[found] = np.add.reduceat(dy.reshape(len(chosen), -1)[order], starts, axis=0)
        if padding is not None:
            dweight[padding] = 0

    as_one(task, dweight, reads=[places, dy])


def _beside(x: Array, places: Array, axis: int) -> Array:
    """Return the part of x that places of this shape can choose from: all of x along the axis."""
    sizes = enumerate(places.shape)
    part: Array = x[tuple(slice(None) if a == axis else slice(n) for a, n in sizes)]
    return part


def _whole(places: Array, count: int) -> NDArray[Any]:
    """Return places as whole numbers from 0 to `count` - 1."""
    return np.clip(np.nan_to_num(places), 0, count - 1).astype(np.intp)
