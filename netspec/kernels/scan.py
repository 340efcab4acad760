"""Steps of one's own over the items of a sequence: they are called one after another.

A step is a function of arrays by name. `names` are those of the arrays given last, and `kinds` say
how each is held: one for all steps (`SINGLE`), or one for each (`STACKED`). The array that holds one
for each of T steps has the shape (N, T, ...), or (T, ...) where a step's is not of the batch
(`UNBATCHED`). In memory the steps come first, so that the array of a step is contiguous.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from netspec.kernels.arrays import Array

SINGLE, STACKED, UNBATCHED = 0, 1, 2

Step = Callable[..., None]


def begin(start: Array | None, states: Array, *, value: float = 0.0) -> None:
    """The state before the first step, of `states` (N, T, ...): `start` (N, ...), or a number."""
    first = _steps(states, STACKED)[0]
    if start is None:
        first[...] = value
    else:
        np.copyto(first, start)


def zero(out: Array) -> None:
    """`out = 0`."""
    out[...] = 0


def forward(
    step: Step,
    parameters: Mapping[str, Array],
    scratch: Array,
    x: Array,
    out: Array,
    *arrays: Array,
    names: Sequence[str],
    kinds: Sequence[int],
    item: str,
    result: str,
    before: Sequence[str],
    after: Sequence[str],
) -> None:
    """Call `step(arrays, parameters, scratch)` for each item of x (N, T, ...).

    It reads the array `item`, and what it leaves in `result` goes to `out` (N, T, ...). What it
    leaves in each of `after` is in the array `before` for the next step.
    """
    held = _held(arrays, names, kinds)
    steps = x.shape[1]
    for t in range(steps):
        now = _at(held, t)
        np.copyto(now[item], x[:, t])
        step(now, parameters, scratch)
        np.copyto(out[:, t], now[result])
        if t + 1 < steps:
            following = _at(held, t + 1)
            for state, value in zip(before, after, strict=True):
                np.copyto(following[state], now[value])


def backward(
    step: Step,
    parameters: Mapping[str, Array],
    scratch: Array,
    dy: Array,
    dx: Array | None,
    *arrays: Array,
    names: Sequence[str],
    kinds: Sequence[int],
    ditem: str,
    dresult: str,
    dafter: Sequence[str],
    dbefore: Sequence[str],
    dwhole: Sequence[str],
    trained: Sequence[str],
) -> None:
    """Call `step(arrays, parameters, gradients, scratch)` for each item, from the last to the first.

    It reads the gradients `dresult`, of which `dy` (N, T, ...) has one for each step, and `dafter` of
    the states that it leaves. It writes `ditem`, which goes to `dx`; `dbefore` of the states that it
    was given, "" for those that no gradient flows to; and `dwhole` of the values that every step is
    given.

    The first of `arrays` hold results: the gradients of the states before the first step, those of
    the whole values, and those of the `trained` parameters, then an array more for each of these. The
    others are as in `forward`.
    """
    states, whole, more = _cut(arrays, len(dafter), len(dwhole))
    totals, parts, rest = _cut(more, len(trained), len(trained))
    held = _held(rest, names, kinds)
    gradients = dict(zip(trained, parts, strict=True))
    for array in (*states, *whole, *totals):
        array[...] = 0
    for t in reversed(range(dy.shape[1])):
        now = _at(held, t)
        np.copyto(now[dresult], dy[:, t])
        for name, state in zip(dafter, states, strict=True):
            np.copyto(now[name], state)
        step(now, parameters, gradients, scratch)
        if dx is not None:
            np.copyto(dx[:, t], now[ditem])
        for name, state in zip(dbefore, states, strict=True):
            if name:
                np.copyto(state, now[name])
            else:
                state[...] = 0
        for name, total in zip(dwhole, whole, strict=True):
            total += now[name]
        for part, total in zip(parts, totals, strict=True):
            total += part


def _cut(
    arrays: Sequence[Array], first: int, second: int
) -> tuple[Sequence[Array], Sequence[Array], Sequence[Array]]:
    return arrays[:first], arrays[first : first + second], arrays[first + second :]


def _steps(array: Array, kind: int) -> Array:
    """Return an array with the steps as its first axis."""
    if kind == UNBATCHED:
        return array
    return array.reshape((array.shape[1], array.shape[0], *array.shape[2:]))


def _held(
    arrays: Sequence[Array], names: Sequence[str], kinds: Sequence[int]
) -> dict[str, tuple[Array, bool]]:
    return {
        name: (_steps(array, kind) if kind else array, bool(kind))
        for name, array, kind in zip(names, arrays, kinds, strict=True)
    }


def _at(held: Mapping[str, tuple[Array, bool]], t: int) -> dict[str, Array]:
    """Return the arrays of a step by name."""
    return {name: array[t] if is_many else array for name, (array, is_many) in held.items()}
