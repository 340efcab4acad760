"""Convolution (cross-correlation) as im2col and one matrix product (GEMM), tile by tile.

    out[n, p, q, o] = bias[o] + sum over i, j, c of
                      x[n, p*sh + i*dh - top, q*sw + j*dw - left, c] * weight[o, c, i, j]

The *columns* of a tile of outputs are the patches of x it reads, one patch a row, in the order
(i, j, c), in which a patch's row of kw*C numbers is one contiguous run of x. A tile's columns stay
in the L2 cache; the backward kernels make them again rather than keep them.

One row of the columns may serve `span` neighbouring outputs: the patch is then that much wider, and
the packed weight holds the kernel `span` times, each shifted by the stride, with zeros around it.
That multiplies by some zeros, and saves copying the overlap of neighbouring patches.

The gradient of x is the same computation on dy with the kernel flipped, and, where the stride is
not 1, once for each place of a pixel in the stride.

Groups are a leading axis throughout: a batch of matrix products.
"""

from collections.abc import Iterator
from math import gcd, prod
from types import EllipsisType
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netspec.kernels import depthwise, parallel
from netspec.kernels.arrays import Array, carve, column_sums, repeat_row
from netspec.kernels.windows import (
    Pad,
    Pair,
    Shape,
    Tile,
    Tiling,
    Window,
    choose_tiling,
    pad_tile,
    padded_shape,
    reads_padding,
)

# Elements in the columns of a tile, and the fewest outputs in a tile: where patches are long, a
# tile of few outputs would read the whole weight for little work.
TILE = 1 << 18
FEWEST_OUTPUTS = 256

# What `span` is chosen by, in nanoseconds, measured on one core of an AVX-512 machine: to copy a
# run, and each number in it, and to multiply-add. A product of N columns costs as if N + NARROW.
COPY_RUN, COPY, MULTIPLY, NARROW = 11.0, 0.08, 0.03, 10


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    scratch: Array,
    *,
    stride: Pair,
    pad: Pad,
    dilation: Pair,
    groups: int,
) -> None:
    """`out = x * weight + bias`: the formula at the top of this file.

    x (N, H, W, C), weight (O, C/groups, kh, kw), bias (O,) or None, out (N, OH, OW, O).
    """
    window = Window(_kernel(weight), stride, pad, dilation)
    split = parallel.parts(len(x), out.size * weight[0].size)

    def part(images: slice, own: Array) -> None:
        if depthwise.applies(x.shape[-1], out.shape[-1], groups):
            depthwise.forward(x[images], weight, bias, out[images], own, window)
        else:
            kernels = _by_group(weight, groups)
            _correlate(x[images], kernels, bias, out[images], own, window)

    parallel.run(part, _shares(split, scratch))


def backward_weight(
    x: Array,
    dy: Array,
    dweight: Array,
    scratch: Array,
    *,
    stride: Pair,
    pad: Pad,
    dilation: Pair,
    groups: int,
) -> None:
    """dweight[o, c, i, j] = sum over n, p, q of dy[n, p, q, o] * (what tap i, j, c saw there).

    As matrices, dweight = columns(x).T @ dy.
    x (N, H, W, C), dy (N, OH, OW, O), dweight (O, C/groups, kh, kw).
    """
    window = Window(_kernel(dweight), stride, pad, dilation)
    split = parallel.parts(len(x), dy.size * dweight[0].size)
    if depthwise.applies(x.shape[-1], dy.shape[-1], groups):
        depthwise.backward_weight(x, dy, dweight, scratch, window)
        return

    def part(images: slice, own: Array) -> Array:
        return _packed_gradient(x[images], dy[images], groups, own, window)

    total, *others = parallel.run(part, _shares(split, scratch))
    for other in others:
        total += other
    _unpack(total, _by_group(dweight, groups), stride[1])


def _packed_gradient(x: Array, dy: Array, groups: int, scratch: Array, window: Window) -> Array:
    """The gradient of the packed weight, in `scratch`."""
    plan = _plan(x.shape, dy.shape, groups, window)
    total, part, padded, columns = carve(scratch, plan.packed, *plan[1:4])
    matrix, part_matrix = _matrices(total), _matrices(part)
    for tile, patches in _im2col(x, dy.shape, padded, columns, plan, window):
        # The first tile's product needs no zeroed sum to be added to.
        first = tile.images.start == tile.rows.start == 0
        product = matrix if first else part_matrix
        np.matmul(patches.transpose(0, 2, 1), _outputs(dy[tile.area], plan), out=product)
        if not first:
            matrix += product
    return total


def backward_bias(dy: Array, dbias: Array) -> None:
    """dbias[o] = sum over n, p, q of dy[n, p, q, o], with dy (N, OH, OW, O), dbias (O,)."""
    column_sums(dy, dbias)


def backward_input(
    dy: Array,
    weight: Array,
    dx: Array,
    scratch: Array,
    *,
    stride: Pair,
    pad: Pad,
    dilation: Pair,
    groups: int,
) -> None:
    """dx[n, h, w, c] = sum over o, i, j of dy[n, p, q, o] * weight[o, c, i, j].

    The sum runs over the outputs p, q whose tap i, j reads pixel h, w: p*sh + i*dh - top = h and
    q*sw + j*dw - left = w. dy (N, OH, OW, O), weight (O, C/groups, kh, kw), dx (N, H, W, C).
    """
    window = Window(_kernel(weight), stride, pad, dilation)
    split = parallel.parts(len(dx), dy.size * weight[0].size)

    def part(images: slice, own: Array) -> None:
        if depthwise.applies(dx.shape[-1], dy.shape[-1], groups):
            depthwise.backward_input(dy[images], weight, dx[images], own, window)
        else:
            _correlate_back(dy[images], _by_group(weight, groups), dx[images], own, window)

    parallel.run(part, _shares(split, scratch))


def _correlate_back(dy: Array, kernels: Array, dx: Array, scratch: Array, window: Window) -> None:
    """The gradient of the input, with kernels (G, O/G, C/G, kh, kw)."""
    # dx is dy correlated with the flipped kernel, inputs for outputs: p = (h + top - i*dh) / sh.
    flipped = kernels.transpose(0, 2, 1, 3, 4)
    for phase in _phases(window, dx.shape):
        target = dx[phase.pixels]
        if 0 in phase.window.kernel:
            target.fill(0)
        else:
            _correlate(dy, flipped[phase.taps], None, target, scratch, phase.window)


def scratch_size(
    n: int,
    in_shape: Shape,
    out_shape: Shape,
    *,
    kernel: Pair,
    stride: Pair,
    pad: Pad,
    dilation: Pair,
    groups: int,
) -> int:
    """Elements of scratch that suffice for the three kernels above.

    `n` images, in_shape (H, W, C), out_shape (OH, OW, O). Each thread has a share for its images.
    """
    window = Window(kernel, stride, pad, dilation)
    threads = min(parallel.threads(), n)
    share = max(
        _scratch_share(images, in_shape, out_shape, groups, window)
        for images in {n, -(-n // threads)}
    )
    return threads * share


def _shares(split: list[slice], scratch: Array) -> list[tuple[slice, Array]]:
    """The images of each part, and its share of the scratch."""
    share = len(scratch) // len(split)
    return [(part, scratch[i * share : (i + 1) * share]) for i, part in enumerate(split)]


def _scratch_share(n: int, in_shape: Shape, out_shape: Shape, groups: int, window: Window) -> int:
    """Elements of scratch that one thread needs for `n` images."""
    x_shape, y_shape = (n, *in_shape), (n, *out_shape)
    if depthwise.applies(in_shape[-1], out_shape[-1], groups):
        return depthwise.scratch_size(x_shape, y_shape, window)
    plan = _plan(x_shape, y_shape, groups, window)
    sizes = [2 * prod(plan.packed) + prod(plan.padded) + prod(plan.columns)]
    for phase in _phases(window, x_shape):
        if 0 not in phase.window.kernel:
            plan = _plan(y_shape, phase.shape, groups, phase.window)
            shapes = plan[1:4] if window.stride == (1, 1) else plan[1:]
            sizes.append(sum(map(prod, shapes)))
    return max(sizes)


def _correlate(
    x: Array, kernels: Array, bias: Array | None, out: Array, scratch: Array, window: Window
) -> None:
    """`out = x * kernels + bias`, with kernels (G, O/G, C/G, kh, kw)."""
    plan = _plan(x.shape, out.shape, len(kernels), window)
    # A matrix product writes whole matrices, so where `out` is strided it goes by `result`.
    direct = out.flags.c_contiguous
    packed, padded, columns, *result = carve(scratch, *(plan[1:4] if direct else plan[1:]))
    _pack(kernels, packed, window.stride[1])
    bias_row = None if bias is None else repeat_row(bias, out.shape[2])
    for tile, patches in _im2col(x, out.shape, padded, columns, plan, window):
        rows = out[tile.area]
        target = rows if direct else result[0][: rows.size].reshape(rows.shape)
        np.matmul(patches, _matrices(packed), out=_outputs(target, plan))
        if bias_row is not None:
            long_rows = target.reshape(-1, bias_row.size)
            np.add(long_rows, bias_row, out=long_rows)
        if not direct:
            np.copyto(rows, target)


class _Phase(NamedTuple):
    """Those pixels of a picture that the same taps of a strided window can reach."""

    pixels: tuple[slice, ...]  # of dx
    shape: tuple[int, ...]  # of dx[pixels]
    taps: tuple[EllipsisType | slice, ...]  # of a weight (..., kh, kw), flipped
    window: Window  # that reads dy to make dx[pixels]


def _phases(window: Window, x_shape: tuple[int, ...]) -> Iterator[_Phase]:
    """Cut the pixels of x by their place in the stride; at stride 1 there is one phase, all of x.

    Every phase is then a convolution of stride 1: multiplications by the zeros that the stride
    puts between the pixels of dy are never done.
    """
    n, height, width, channels = x_shape
    (kh, kw), (sh, sw), (top, _, left, _), (dh, dw) = window
    for h, w in np.ndindex(min(sh, height), min(sw, width)):
        taps_h, count_h, pad_h = _taps_of_phase(h + top, kh, sh, dh)
        taps_w, count_w, pad_w = _taps_of_phase(w + left, kw, sw, dw)
        yield _Phase(
            pixels=(slice(None), slice(h, None, sh), slice(w, None, sw)),
            shape=(n, len(range(h, height, sh)), len(range(w, width, sw)), channels),
            taps=(..., taps_h, taps_w),
            window=Window(
                kernel=(count_h, count_w),
                stride=(1, 1),
                pad=(pad_h, 0, pad_w, 0),  # where it ends follows from the shape of dx
                dilation=(dh // gcd(sh, dh), dw // gcd(sw, dw)),
            ),
        )


def _taps_of_phase(pixel: int, kernel: int, stride: int, dilation: int) -> tuple[slice, int, int]:
    """Along one axis: the taps that reach a pixel of the padded picture, last first.

    Tap i does if pixel - i*dilation is a multiple of the stride. Also returns how many taps these
    are, and by how much of dy the last of them reaches back before the first output.
    """
    step = stride // gcd(stride, dilation)
    taps = [i for i in range(kernel) if (pixel - i * dilation) % stride == 0]
    if not taps:
        return slice(0, 0), 0, 0
    return slice(taps[-1], None, -step), len(taps), (taps[-1] * dilation - pixel) // stride


class _Plan(NamedTuple):
    """How a convolution is cut into tiles, and the shapes of what its scratch holds."""

    tiling: Tiling
    packed: tuple[int, ...]  # (G, kh, width of a patch, C/G, span, O/G)
    padded: tuple[int, ...]  # (images, rows, columns, C)
    columns: tuple[int, ...]  # (elements,)
    result: tuple[int, ...]  # (elements,)


def _plan(x_shape: tuple[int, ...], y_shape: tuple[int, ...], groups: int, window: Window) -> _Plan:
    """Decide span and tiles; x (N, H, W, C), y (N, OH, OW, O)."""
    (kh, kw), (_, stride), *_ = window
    n, height, width, outputs = y_shape
    inputs = x_shape[-1]
    outs, ins = outputs // groups, inputs // groups
    pointwise = _is_pointwise(x_shape, y_shape, groups, window)
    span = 1 if pointwise else _choose_span(width, ins, outs, groups, window)
    wide = kw + (span - 1) * stride
    patch = kh * wide * inputs
    row_size = width // span * patch
    # `result` is bounded too, where there are many outputs for a short patch.
    tile_row = max(row_size, width * outputs)
    tiling = choose_tiling(n, height, tile_row, max(TILE, FEWEST_OUTPUTS * patch))
    padding = reads_padding(x_shape, y_shape, window)
    return _Plan(
        tiling,
        packed=(groups, kh, wide, ins, span, outs),
        padded=padded_shape(tiling, width, inputs, window) if padding else (0,),
        columns=(0,) if pointwise else (tiling.images * tiling.rows * row_size,),
        result=(tiling.images * tiling.rows * width * outputs,),
    )


def _is_pointwise(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], groups: int, window: Window
) -> bool:
    """Whether the columns would be x itself, so that nothing need be copied."""
    (top, _, left, _) = window.pad
    same_picture = x_shape[1:3] == y_shape[1:3] and top == left == 0
    return same_picture and window.kernel == window.stride == (1, 1) and groups == 1


def _choose_span(width: int, ins: int, outs: int, groups: int, window: Window) -> int:
    """How many neighbouring outputs one row of the columns serves."""
    (kh, kw), (_, stride), _, (_, dilation) = window
    if groups > 1 or dilation > 1:
        return 1

    def cost(span: int) -> float:
        """Nanoseconds for one output pixel: the copies, and the matrix product."""
        run, wide = (kw + (span - 1) * stride) * ins, span * outs
        multiply = MULTIPLY * (1 + NARROW / wide)
        return kh / span * (COPY_RUN + run * COPY + run * wide * multiply)

    return min((span for span in range(1, width + 1) if width % span == 0), key=cost)


def _kernel(weight: Array) -> Pair:
    """(kh, kw) of a weight (O, C/groups, kh, kw)."""
    return weight.shape[2], weight.shape[3]


def _by_group(weight: Array, groups: int) -> Array:
    """View a weight (O, C/groups, kh, kw) as (groups, O/groups, C/groups, kh, kw)."""
    return weight.reshape(groups, -1, *weight.shape[1:])


def _pack(kernels: Array, packed: Array, stride: int) -> None:
    """Lay out kernels (G, O/G, C/G, kh, kw) as (G, kh, patch, C/G, span, O/G)."""
    kw, span = kernels.shape[-1], packed.shape[4]
    if span > 1:
        packed.fill(0)
    for s in range(span):
        packed[:, :, s * stride : s * stride + kw, :, s] = kernels.transpose(0, 3, 4, 2, 1)


def _unpack(packed: Array, kernels: Array, stride: int) -> None:
    """The adjoint of `_pack`: sum the `span` copies of every kernel entry."""
    kw, span = kernels.shape[-1], packed.shape[4]
    target = kernels.transpose(0, 3, 4, 2, 1)
    target[...] = packed[:, :, :kw, :, 0]
    for s in range(1, span):
        target += packed[:, :, s * stride : s * stride + kw, :, s]


def _matrices(packed: Array) -> Array:
    """View a packed weight as (G, numbers in a patch, span*O/G)."""
    groups, kh, wide, ins, span, outs = packed.shape
    return packed.reshape(groups, kh * wide * ins, span * outs)


def _outputs(rows: Array, plan: _Plan) -> Array:
    """View a tile of outputs (..., OW, O) as matrices (G, outputs/span, span*O/G)."""
    groups, *_, span, outs = plan.packed
    return rows.reshape(-1, groups, span * outs).transpose(1, 0, 2)


def _im2col(
    x: Array,
    out_shape: tuple[int, ...],
    padded: Array,
    columns: Array,
    plan: _Plan,
    window: Window,
) -> Iterator[tuple[Tile, Array]]:
    """Each tile of outputs with the patches it reads, as matrices (G, outputs/span, patch)."""
    groups, kh, wide, ins, span, _ = plan.packed
    tiles = plan.tiling.tiles(len(x), out_shape[1])
    if _is_pointwise(x.shape, out_shape, groups, window):
        for tile in tiles:
            yield tile, x[tile.area].reshape(1, -1, ins)
        return
    padding, (top, _, left, _) = reads_padding(x.shape, out_shape, window), window.pad
    source = padded if padding else x[:, -top:, -left:]
    images, rows = plan.tiling if padding else (len(x), out_shape[1])
    # All patches as one view, which overlap in memory: the copy of a part of it is im2col.
    _, (sh, sw), _, (dh, dw) = window
    n, h, w, c = source.strides
    patches = as_strided(
        source,
        (groups, images, rows, out_shape[2] // span, kh, wide, ins),
        (ins * c, n, sh * h, span * sw * w, dh * h, dw * w, c),
        writeable=False,
    )
    for tile in tiles:
        if padding:
            count, tall = tile.images.stop - tile.images.start, len(tile.rows)
            pad_tile(x, tile, padded, window)
            part = patches[:, :count, :tall]
        else:
            part = patches[:, *tile.area]
        target = columns[: part.size].reshape(part.shape)
        np.copyto(target, part)
        yield tile, target.reshape(groups, -1, kh * wide * ins)
