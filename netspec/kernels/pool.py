"""Pooling. Windows are clipped to the picture, so nothing is ever padded.

Each tap of the window is one strided slice of the picture, and the kernels loop over the taps: a
pool is a few passes over whole tiles instead of one Python iteration per output.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, as_one, carve, chunks, fixed
from netspec.kernels.windows import Ints, Window, clip, taps_of

# Elements of the output in a tile, and the number of images that a global pool processes at once.
TILE = 1 << 17

# The cost of a pixel, in the units of `parallel.WORTH_A_THREAD`.
WORK = 8
GLOBAL_IMAGES = 16

# For each tap, the outputs that it reaches and what it sees there: indices into arrays (N, ..., C).
Taps = list[tuple[tuple[slice, ...], tuple[slice, ...]]]

# For up to this many channels, comparing pixels that are not needed costs less than skipping them.
FEW_CHANNELS = 32


def max_forward(
    x: Array, out: Array, scratch: Array, *, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints
) -> None:
    """out[n, p, c] = max over i of x[n, p*stride + i*dilation - before, c], on every axis.

    x (N, ..., C), out (N, ..., C). Padding counts as -inf; NaN propagates. The maxima are taken
    along the first axis, where whole rows of pictures are compared, then along the next one.
    """
    axes = range(1, x.ndim - 1)
    along = [
        [clip(i * apart - before, step, range(count), size) for i in range(taps)]
        for taps, step, before, apart, count, size in zip(
            kernel, stride, pad[::2], dilation, out.shape[1:], x.shape[1:], strict=False
        )
    ]
    kw, sw, dw, last = kernel[-1], stride[-1], dilation[-1], axes[-1]
    inside = pad[-2] == 0 and (out.shape[last] - 1) * sw + (kw - 1) * dw < x.shape[last]
    dense = kw > 1 and sw > 1 and inside and x.shape[-1] <= FEW_CHANNELS

    def part(mine: slice, own: Array) -> None:
        for images in _image_tiles(mine, out.shape):
            given, outputs = x[images], out[images]
            most = len(given) * _between(x.shape[1:], out.shape[1:])
            for axis in axes[:-1]:
                shape = (len(given), *out.shape[1 : axis + 1], *x.shape[axis + 1 :])
                (tall,) = carve(own[most * (axis % 2) :], shape)
                _max_along(given, tall, axis, along[axis - 1])
                given = tall
            if dense:
                (spare,) = carve(own[most * (last % 2) :], given.shape)
                _max_of_runs(given, spare, outputs, kw, sw, dw)
            else:
                _max_along(given, outputs, last, along[-1])

    _by_images(part, x, scratch)


def max_scratch_size(n: int, in_shape: Ints, out_shape: Ints) -> int:
    """Elements of scratch that `max_forward` needs for `n` images of in_shape (..., C)."""
    return 2 * parallel.threads() * _tile_images(n, out_shape) * _between(in_shape, out_shape)


def _between(in_shape: Ints, out_shape: Ints) -> int:
    """The most elements of an image on the way from in_shape to out_shape, axis by axis."""
    rank = len(in_shape)
    ways = (prod((*out_shape[:done], *in_shape[done:])) for done in range(1, rank - 1))
    return max(ways, default=prod(in_shape))


def _max_along(x: Array, out: Array, axis: int, taps: list[tuple[slice, slice]]) -> None:
    """Compute maxima along one axis.

    A tap gives the part of `out` it reaches and the part of `x` it sees.
    """

    def at(place: slice) -> tuple[slice, ...]:
        return (*[slice(None)] * axis, place)

    whole = slice(0, out.shape[axis])
    full = [seen for reached, seen in taps if reached == whole]
    rest = [(reached, seen) for reached, seen in taps if reached != whole]
    if len(full) > 1:
        np.maximum(x[at(full[0])], x[at(full[1])], out=out)
    elif full:
        np.copyto(out, x[at(full[0])])
    else:
        out.fill(-np.inf)
    for reached, seen in [*((whole, seen) for seen in full[2:]), *rest]:
        best = out[at(reached)]
        np.maximum(best, x[at(seen)], out=best)


def _max_of_runs(x: Array, spare: Array, out: Array, taps: int, stride: int, dilation: int) -> None:
    """Maxima along the last axis of x (N, ..., W, C), for windows that do not reach into padding.

    With few channels it is faster to compare every pixel with its neighbours, as one long row, than
    to select only the pixels needed; then only the wanted maxima are selected. `spare` has the
    shape of x.
    """
    row, best = x.reshape(-1), spare.reshape(-1)
    for tap in range(1, taps):
        offset = tap * dilation * x.shape[-1]
        into = best[: row.size - offset]
        np.maximum((row if tap == 1 else best)[: into.size], row[offset:], out=into)
    last = (out.shape[-2] - 1) * stride + 1
    np.copyto(_pixels(out), _pixels(spare)[..., :last:stride])


def _pixels(x: Array) -> NDArray[np.void]:
    """View x (..., C) with each pixel as one item, which is copied faster than many short runs."""
    return x.view(np.dtype((np.void, x.itemsize * x.shape[-1])))[..., 0]


def max_backward(
    x: Array,
    y: Array,
    dy: Array,
    dx: Array,
    scratch: Array,
    *,
    kernel: Ints,
    stride: Ints,
    pad: Ints,
    dilation: Ints,
) -> None:
    """dx[n, h, c] = sum of dy over the windows whose first maximum is at h, on every axis.

    "First" is in row-major order of the window; NaN is the maximum of a window that has one. x, dx
    (N, ..., C), y, dy (N, ..., C), where y is the output of `max_forward` for x.
    """
    window = Window(kernel, stride, pad, dilation)
    disjoint, tight = _disjoint(window), _tight(window, x, y)

    def branches(
        pictures: Array, best: Array, gradient: Array, target: Array, own: Array, taps: Taps
    ) -> None:
        if (
            tight
            and len(kernel) == 2
            and _single_maxima(pictures, best, gradient, target, kernel, own)
        ):
            return
        found, hit, product = _registers(best, own)
        found.fill(False)
        if not tight:
            target.fill(0)
        for is_maximum in (np.equal, _is_nan):  # NaN is a maximum that equals nothing
            for inside, pixels in taps:
                here, before = hit[inside], found[inside]
                is_maximum(pictures[pixels], best[inside], out=here)
                np.greater(here, before, out=here)  # here, and at no earlier tap
                np.logical_or(before, here, out=before)
                if disjoint and is_maximum is np.equal:
                    np.multiply(gradient[inside], here, out=target[pixels])
                else:
                    np.multiply(gradient[inside], here, out=product[inside])
                    target[pixels] += product[inside]
            if found.all():
                break

    def tile(images: slice, taps: Taps, own: Array) -> None:
        task = partial(branches, taps=taps)
        as_one(task, x[images], y[images], dy[images], dx[images], own)

    _each_tile(tile, x, y, window, scratch)


def _is_nan(x: Array, best: Array, *, out: NDArray[np.bool_]) -> None:
    np.isnan(x, out=out)


def scratch_size(n: int, out_shape: Ints, *, kernel: Ints) -> int:
    """Elements of scratch that `max_backward` needs for `n` images of out_shape (..., C)."""
    return parallel.threads() * _tile_size(n, out_shape) * (kernel[-1] + prod(kernel) // 4 + 2)


def _tile_images(n: int, out_shape: tuple[int, ...]) -> int:
    """The number of images in a tile, of `n` with out_shape (OH, OW, C)."""
    return min(n, max(1, TILE // prod(out_shape)))


def _tile_size(n: int, out_shape: Ints) -> int:
    """Elements of the output in a tile."""
    return _tile_images(n, out_shape) * prod(out_shape)


def _image_tiles(images: slice, out_shape: tuple[int, ...]) -> Iterator[slice]:
    """Cut `images` into tiles of whole images, small enough that an output stays in the cache."""
    count = images.stop - images.start
    for tile in chunks(count, _tile_images(count, out_shape[1:])):
        yield slice(images.start + tile.start, images.start + tile.stop)


def _each_tile(
    tile: Callable[[slice, Taps, Array], None],
    x: Array,
    out: Array,
    window: Window,
    scratch: Array | None = None,
) -> None:
    """Call `tile(images, taps, scratch)` for tiles of x (N, ..., C) and out (N, ..., C)."""
    taps = list(taps_of(window, out.shape[1:-1], x.shape[1:-1]))

    def part(mine: slice, own: Array) -> None:
        for images in _image_tiles(mine, out.shape):
            tile(images, taps, own)

    _by_images(part, x, x.reshape(-1)[:0] if scratch is None else scratch)


def _by_images(part: Callable[[slice, Array], None], x: Array, scratch: Array) -> None:
    """Call `part(images, scratch)` for the images of each thread, with its share of the scratch."""
    split = parallel.parts(len(x), x.size * WORK)
    share = len(scratch) // len(split)
    parallel.run(part, [(s, scratch[i * share : (i + 1) * share]) for i, s in enumerate(split)])


def _registers(y: Array, scratch: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Array]:
    """Two arrays of booleans and one of numbers, of the shape of y."""
    flags = scratch[y.size :].view(np.bool_)
    found, hit = (flags[i * y.size : (i + 1) * y.size].reshape(y.shape) for i in range(2))
    return found, hit, scratch[: y.size].reshape(y.shape)


def _single_maxima(x: Array, y: Array, dy: Array, dx: Array, kernel: Ints, scratch: Array) -> bool:
    """Do `max_backward` for pictures whose windows do not overlap, if none has its maximum twice.

    Numbers that belong to a window are repeated along the width, so that whole picture rows are
    compared and multiplied at once.
    """
    (kh, kw), (n, height, width, channels) = kernel, y.shape
    rows = x.reshape(n, height, kh, width, kw, channels)
    wide = (n, height, width, kw, channels)
    best = scratch[: prod(wide)].reshape(wide)
    hits = scratch[best.size :].view(np.bool_)[: kh * best.size].reshape(kh, *wide)
    np.copyto(_pixels(best), _pixels(y)[..., None])
    for i, hit in enumerate(hits):
        np.equal(rows[:, :, i], best, out=hit)
    if np.count_nonzero(hits) != y.size:
        return False
    np.copyto(_pixels(best), _pixels(dy)[..., None])
    target = dx.reshape(rows.shape)
    for i, hit in enumerate(hits):
        np.multiply(best, hit, out=target[:, :, i])
    return True


def avg_forward(
    x: Array,
    out: Array,
    *,
    kernel: Ints,
    stride: Ints,
    pad: Ints,
    count_include_pad: bool,
    divisor: int | None = None,
) -> None:
    """out[n, p, c] = sum over i of x[n, p*stride + i - before, c] / size[p], on every axis.

    x (N, ..., C), out (N, ..., C). The size of a window includes padding if `count_include_pad`,
    but never pixels outside the padded picture; `divisor` takes its place.
    """
    window = Window(kernel, stride, pad, (1,) * len(kernel))
    weight = _inverse_sizes(x, out, window, count_include_pad, divisor)

    def tile(images: slice, taps: Taps, _: Array) -> None:
        pictures, total = x[images], out[images]
        total.fill(0)
        for reached, seen in taps:
            total[reached] += pictures[seen]
        total *= weight

    _each_tile(tile, x, out, window)


def avg_backward(
    dy: Array,
    dx: Array,
    scratch: Array,
    *,
    kernel: Ints,
    stride: Ints,
    pad: Ints,
    count_include_pad: bool,
    divisor: int | None = None,
) -> None:
    """dx[n, h, c] = sum of dy[n, p, c] / size[p] over the windows that hold h, on every axis.

    dy (N, ..., C), dx (N, ..., C); sizes as in `avg_forward`.
    """
    window = Window(kernel, stride, pad, (1,) * len(kernel))
    weight = _inverse_sizes(dx, dy, window, count_include_pad, divisor)
    disjoint, tight = _disjoint(window), _tight(window, dx, dy)

    def tile(images: slice, taps: Taps, own: Array) -> None:
        gradient, target = dy[images], dx[images]
        (share,) = carve(own, gradient.shape)
        np.multiply(gradient, weight, out=share)
        if not tight:
            target.fill(0)
        for reached, seen in taps:
            pixels = target[seen]
            if disjoint:
                pixels[...] = share[reached]
            else:
                pixels += share[reached]

    _each_tile(tile, dx, dy, window, scratch)


def avg_scratch_size(n: int, out_shape: Ints) -> int:
    """Elements of scratch that `avg_backward` needs for `n` images of out_shape (..., C)."""
    return parallel.threads() * _tile_size(n, out_shape)


def global_scratch_size(n: int, in_shape: Ints) -> int:
    """Elements of scratch that `global_avg_forward` needs for `n` images of in_shape (..., C)."""
    return min(n, GLOBAL_IMAGES) * prod(in_shape[1:])


def global_avg_forward(x: Array, out: Array, scratch: Array) -> None:
    """out[n, c] = mean of x[n, ..., c], with x (N, ..., C), out (N, C)."""
    # Picture rows are added first, because they are long, which makes NumPy's inner loops long.
    n, width, channels = x.shape[0], prod(x.shape[2:-1]), x.shape[-1]
    for images in chunks(n, GLOBAL_IMAGES):
        pictures = x[images].reshape(-1, x.shape[1], width, channels)
        (rows,) = carve(scratch, (len(pictures), width, channels))
        np.add.reduce(pictures, axis=1, out=rows)
        np.add.reduce(rows, axis=1, out=out[images])
    out /= x.shape[1] * width


def global_avg_backward(dy: Array, dx: Array) -> None:
    """dx[n, ..., c] = dy[n, c] / (pixels of an image), with dy (N, C), dx (N, ..., C)."""
    n, *pixels, channels = dx.shape
    np.divide(dy.reshape(n, *(1 for _ in pixels), channels), prod(pixels), out=dx)


def _disjoint(window: Window) -> bool:
    """Return True if no two windows share a pixel, so that gradients can be written instead of added."""
    close = all(d == 1 for d in window.dilation)
    return close and all(k <= s for k, s in zip(window.kernel, window.stride, strict=True))


def _tight(window: Window, x: Array, y: Array) -> bool:
    """Return True if every pixel of x is in exactly one window."""
    kernel, stride, pad, dilation = window
    exact = tuple(n * k for n, k in zip(y.shape[1:], kernel, strict=False)) == x.shape[1:-1]
    return exact and stride == kernel and not any(pad) and all(d == 1 for d in dilation)


def _inverse_sizes(
    x: Array, out: Array, window: Window, count_include_pad: bool, divisor: int | None
) -> Array:
    """1 / (pixels in a window) for every output, (..., C): one long row for NumPy's loops."""
    sizes = np.ones((), np.intp)
    for axis, (taps, step) in enumerate(zip(window.kernel, window.stride, strict=True)):
        before, after = window.pad[2 * axis : 2 * axis + 2]
        size = x.shape[axis + 1]
        low, high = (-before, size + after) if count_include_pad else (0, size)
        along = _lengths(out.shape[axis + 1], taps, step, before, low, high)
        sizes = np.multiply.outer(sizes, along)
    if divisor is not None:
        sizes.fill(divisor)
    return fixed(np.repeat(1 / sizes.astype(out.dtype), out.shape[-1]).reshape(out.shape[1:]))


def _lengths(
    outputs: int, kernel: int, stride: int, pad: int, low: int, high: int
) -> NDArray[np.intp]:
    """How much of each of `outputs` windows lies between `low` and `high`, along one axis."""
    start = np.arange(outputs) * stride - pad
    inside = np.minimum(start + kernel, high) - np.maximum(start, low)
    # A window may lie in the padding altogether: its sum is 0, so any divisor will do.
    return inside.clip(min=1)
