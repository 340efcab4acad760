"""The loops over time of recurrent layers.

A value is (N, T, F): N images, each with T steps. What a step adds from its input is computed for all
steps beforehand, by one matrix product; these kernels add what comes from the step before. Each thread
goes over all steps of its part of the batch, so that no step waits for another thread.

`before` (N, T, H) holds the hidden state h that enters each step, and `cells` (N, T, H) the cell state
c. `reverse` goes from the last step to the first. `at` is the place of a layer's state among the
states of all layers, h0 (N, H) or (N, layers, H).
"""

from collections.abc import Callable, Sequence

import numpy as np

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, carve

Steps = Sequence[tuple[int, int | None]]


def rnn(
    pre: Array,
    weight: Array,
    bias: Array | None,
    h0: Array | None,
    out: Array,
    before: Array,
    *,
    at: int,
    reverse: bool,
    relu: bool,
) -> None:
    """h[t] = f(pre[t] + h[t - 1] weight^T + bias), with f = tanh or relu.

    pre (N, T, H), weight (H, H), bias (H,), out (N, T, H).
    """

    def part(images: slice) -> None:
        x, y, states = pre[images], out[images], before[images]
        steps = _begin(states, h0, images, at, reverse)
        for t, following in steps:
            h = y[:, t]
            np.matmul(states[:, t], weight.T, out=h)
            h += x[:, t]
            if bias is not None:
                h += bias
            if relu:
                np.maximum(h, 0, out=h)
            else:
                np.tanh(h, out=h)
            if following is not None:
                np.copyto(states[:, following], h)

    _each_part(part, before, weight)


def rnn_backward(
    dy: Array,
    weight: Array,
    out: Array,
    dpre: Array,
    dh0: Array | None,
    scratch: Array,
    *,
    reverse: bool,
    relu: bool,
) -> None:
    """The gradient of `pre`, which is that of the bias for each step too, and that of h0.

    With dh = dy[t] + dpre[t + 1] weight: dpre[t] = dh f'(h[t]), where tanh' = 1 - h^2 and relu' = h > 0.
    """
    (dh_of,) = carve(scratch, dy[:, 0].shape)

    def part(images: slice) -> None:
        d, y, dh, given = dpre[images], out[images], dh_of[images], dy[images]
        if relu:
            np.greater(y, 0, out=d)
        else:
            np.multiply(y, y, out=d)
            np.subtract(1, d, out=d)
        dh[...] = 0
        for t, _ in reversed(_order(dy.shape[1], reverse)):
            dh += given[:, t]
            d[:, t] *= dh
            np.matmul(d[:, t], weight, out=dh)
        _end(dh, dh0, images)

    _each_part(part, dy, weight)


def lstm(
    pre: Array,
    weight: Array,
    bias: Array | None,
    h0: Array | None,
    c0: Array | None,
    out: Array,
    gates: Array,
    before: Array,
    cells: Array,
    squashed: Array,
    scratch: Array,
    *,
    at: int,
    reverse: bool,
) -> None:
    """With a = pre[t] + h[t - 1] weight^T + bias: i, f, o = sigmoid(a), g = tanh(a);
    c[t] = f c[t - 1] + i g; h[t] = o tanh(c[t]).

    pre and gates (N, T, 4H) in the order i, f, g, o, weight (4H, H), bias (4H,); squashed (N, T, H) is
    tanh(c). sigmoid(a) = tanh(a / 2) / 2 + 1/2, so that one tanh serves all
    gates. The memory of gates, cells and squashed has the steps first, see `_steps_first`.
    """
    size = weight.shape[1]
    n = len(before)
    turned, halves, lift, cell_of, product_of = carve(
        scratch, (size, 4 * size), (4 * size,), (4 * size,), (n, size), (n, 4 * size)
    )
    halves[...] = 0.5
    halves[2 * size : 3 * size] = 1
    np.subtract(1, halves, out=lift)
    np.multiply(weight.T, halves, out=turned)

    by_step, cells_by_step, squashed_by_step = map(_steps_first, (gates, cells, squashed))

    def part(images: slice) -> None:
        x, y, states = pre[images], out[images], before[images]
        a, c = by_step[:, images].swapaxes(0, 1), cells_by_step[:, images].swapaxes(0, 1)
        small = squashed_by_step[:, images].swapaxes(0, 1)
        steps = _begin(states, h0, images, at, reverse)
        _begin(c, c0, images, at, reverse)
        if bias is None:
            np.multiply(x, halves, out=a)
        else:
            np.add(x, bias, out=a)
            a *= halves
        cell, product = cell_of[images], product_of[images]
        for t, following in steps:
            np.matmul(states[:, t], turned, out=product)
            product += a[:, t]
            np.tanh(product, out=product)
            product *= halves
            np.add(product, lift, out=a[:, t])
            gate = a[:, t].reshape(-1, 4, size)
            np.multiply(gate[:, 1], c[:, t], out=cell)
            np.multiply(gate[:, 0], gate[:, 2], out=small[:, t])
            cell += small[:, t]
            np.tanh(cell, out=small[:, t])
            np.multiply(gate[:, 3], small[:, t], out=y[:, t])
            if following is not None:
                np.copyto(states[:, following], y[:, t])
                np.copyto(c[:, following], cell)

    _each_part(part, before, weight)


def scratch_size(n: int, hidden: int) -> int:
    """Elements of scratch that suffice for `n` images in each kernel but `lstm`."""
    return 3 * n * hidden


def lstm_scratch_size(n: int, hidden: int) -> int:
    """Elements of scratch that `lstm` needs for `n` images."""
    return 4 * hidden * (hidden + 2) + 5 * n * hidden


def lstm_backward(
    dy: Array,
    weight: Array,
    gates: Array,
    cells: Array,
    squashed: Array,
    dpre: Array,
    dh0: Array | None,
    dc0: Array | None,
    scratch: Array,
    *,
    reverse: bool,
) -> None:
    """The gradient of `pre` (N, T, 4H), which is that of the bias for each step too, and of h0 and c0.

    With dh = dy[t] + dpre[t + 1] weight and dc = dh o (1 - tanh(c)^2) + dc[t + 1] f[t + 1]:
    di = dc g i (1 - i), df = dc c[t - 1] f (1 - f), dg = dc i (1 - g^2), do = dh tanh(c) o (1 - o).
    """
    size = weight.shape[1]
    dh_of, dc_of, by_cell_of = carve(scratch, *[(len(dy), size)] * 3)
    saved = [_steps_first(x) for x in (gates, cells, squashed)]

    def part(images: slice) -> None:
        slope = dpre[images]
        d = slope.reshape(*slope.shape[:2], 4, size)
        of_steps, c, small = (x[:, images].swapaxes(0, 1) for x in saved)
        a, given = of_steps.reshape(d.shape), dy[images]
        i, f, g, o = (a[:, :, k] for k in range(4))
        np.subtract(1, a, out=d)  # what multiplies dc or dh, for all steps at once
        d *= a
        d[:, :, 0] *= g
        d[:, :, 1] *= c
        d[:, :, 3] *= small
        np.multiply(g, g, out=d[:, :, 2])
        np.subtract(1, d[:, :, 2], out=d[:, :, 2])
        d[:, :, 2] *= i
        dh, dc, by_cell = dh_of[images], dc_of[images], by_cell_of[images]
        dh[...] = 0
        dc[...] = 0
        for t, _ in reversed(_order(dy.shape[1], reverse)):
            dh += given[:, t]
            np.multiply(small[:, t], small[:, t], out=by_cell)
            np.subtract(1, by_cell, out=by_cell)
            by_cell *= o[:, t]
            by_cell *= dh
            dc += by_cell
            d[:, t, :3] *= dc[:, None]
            d[:, t, 3] *= dh
            dc *= f[:, t]
            np.matmul(slope[:, t], weight, out=dh)
        _end(dh, dh0, images)
        _end(dc, dc0, images)

    _each_part(part, dy, weight)


def gru(
    pre: Array,
    weight: Array,
    bias: Array | None,
    h0: Array | None,
    out: Array,
    gates: Array,
    before: Array,
    inner: Array,
    scratch: Array,
    *,
    at: int,
    reverse: bool,
) -> None:
    """With a = h[t - 1] weight^T + bias: r, z = sigmoid(pre[t] + a), n = tanh(pre[t] + r a);
    h[t] = n + z (h[t - 1] - n).

    pre and gates (N, T, 3H) in the order r, z, n, weight (3H, H), bias (3H,); inner (N, T, H) is the
    part of a that r multiplies.
    """
    size = weight.shape[1]
    (product_of,) = carve(scratch, (len(pre), 3 * size))

    def part(images: slice) -> None:
        x, y, states, add = pre[images], out[images], before[images], inner[images]
        a, product = gates[images], product_of[images]
        steps = _begin(states, h0, images, at, reverse)
        for t, following in steps:
            np.matmul(states[:, t], weight.T, out=product)
            if bias is not None:
                product += bias
            both, n = a[:, t, : 2 * size], a[:, t, 2 * size :]
            np.add(x[:, t, : 2 * size], product[:, : 2 * size], out=both)
            both *= 0.5
            np.tanh(both, out=both)
            both *= 0.5
            both += 0.5
            np.copyto(add[:, t], product[:, 2 * size :])
            np.multiply(both[:, :size], add[:, t], out=n)
            n += x[:, t, 2 * size :]
            np.tanh(n, out=n)
            np.subtract(states[:, t], n, out=y[:, t])
            y[:, t] *= both[:, size:]
            y[:, t] += n
            if following is not None:
                np.copyto(states[:, following], y[:, t])

    _each_part(part, before, weight)


def gru_backward(
    dy: Array,
    weight: Array,
    gates: Array,
    before: Array,
    inner: Array,
    dpre: Array,
    dinner: Array,
    dh0: Array | None,
    scratch: Array,
    *,
    reverse: bool,
) -> None:
    """The gradients of `pre` (N, T, 3H), of a = h[t - 1] weight^T + bias (`dinner`), and of h0.

    dn = dh (1 - z) (1 - n^2), dz = dh (h[t - 1] - n) z (1 - z), dr = dn inner r (1 - r). `pre` gets
    (dr, dz, dn) and a gets (dr, dz, dn r); dh[t - 1] = dh z + da weight.
    """
    size = weight.shape[1]
    dh_of, back_of = carve(scratch, *[(len(dy), size)] * 2)

    def part(images: slice) -> None:
        states, given, back_in = before[images], dy[images], dinner[images]
        a = gates[images].reshape(len(states), -1, 3, size)
        d, da = dpre[images].reshape(a.shape), back_in.reshape(a.shape)
        r, z, n = (a[:, :, k] for k in range(3))
        np.subtract(1, a, out=d)  # what multiplies dh or dn, for all steps at once
        d[:, :, 1] *= z
        np.subtract(states, n, out=da[:, :, 1])
        d[:, :, 1] *= da[:, :, 1]
        d[:, :, 0] *= r
        d[:, :, 0] *= inner[images]
        np.multiply(n, n, out=d[:, :, 2])
        np.subtract(1, d[:, :, 2], out=d[:, :, 2])
        np.subtract(1, z, out=da[:, :, 1])
        d[:, :, 2] *= da[:, :, 1]
        dh, back = dh_of[images], back_of[images]
        dh[...] = 0
        for t, _ in reversed(_order(dy.shape[1], reverse)):
            dh += given[:, t]
            d[:, t, 1:] *= dh[:, None]
            d[:, t, 0] *= d[:, t, 2]
            np.copyto(da[:, t, :2], d[:, t, :2])
            np.multiply(d[:, t, 2], r[:, t], out=da[:, t, 2])
            np.matmul(back_in[:, t], weight, out=back)
            dh *= z[:, t]
            dh += back
        _end(dh, dh0, images)

    _each_part(part, dy, weight)


def join(forward: Array, backward: Array, out: Array) -> None:
    """`out` (N, T, 2H) is both directions (N, T, H), one behind the other."""
    size = forward.shape[2]
    np.copyto(out[:, :, :size], forward)
    np.copyto(out[:, :, size:], backward)


def separate(dy: Array, dforward: Array, dbackward: Array) -> None:
    """The gradients of both directions, from that of what `join` gives."""
    size = dforward.shape[2]
    np.copyto(dforward, dy[:, :, :size])
    np.copyto(dbackward, dy[:, :, size:])


def stack(out: Array, *states: Array) -> None:
    """`out` (N, layers, H) is the states of all layers, each (N, H)."""
    for at, state in enumerate(states):
        np.copyto(out[:, at], state)


def drop(x: Array, mask: Array, out: Array, *, start: int) -> None:
    """`out = x * mask[..., start:]`, for x (N, T, F): each layer has columns of the mask of its own."""
    np.multiply(x, mask[:, :, start : start + x.shape[2]], out=out)


def _steps_first(x: Array) -> Array:
    """Return the memory of x (N, T, ...) as (T, N, ...): what belongs to a step lies together.

    Rows of a step that are a large power of two apart would drive each other out of the cache.
    """
    return x.reshape(x.shape[1], x.shape[0], *x.shape[2:])


def _order(steps: int, reverse: bool) -> list[tuple[int, int | None]]:
    """Return each step with the one that follows, None behind the last, in the order of time."""
    order = list(range(steps))[::-1] if reverse else list(range(steps))
    return list(zip(order, [*order[1:], None], strict=True))


def _begin(states: Array, given: Array | None, images: slice, at: int, reverse: bool) -> Steps:
    """Put the state that is given, else zeros, into the first step; return the steps in order."""
    steps = _order(states.shape[1], reverse)
    first = states[:, steps[0][0]]
    if given is None:
        first[...] = 0
    else:
        of_all = given.reshape(len(given), -1, given.shape[-1])
        np.copyto(first, of_all[images, at])
    return steps


def _end(d: Array, target: Array | None, images: slice) -> None:
    """Write the gradient of the state that was given."""
    if target is not None:
        np.copyto(target[images], d)


def _each_part(part: Callable[[slice], None], x: Array, weight: Array) -> None:
    """Call `part(images)` for the parts of a batch x (N, T, ...)."""
    split = parallel.parts(len(x), len(x) * x.shape[1] * weight.size)
    parallel.run(part, [(images,) for images in split])
