"""Convolution of pictures by one thread: im2col and one matrix product (GEMM), tile by tile.

    out[n, p, q, o] = bias[o] + sum over i, j, c of
                      x[n, p*sh + i*dh - top, q*sw + j*dw - left, c] * weight[o, c, i, j]

The *columns* of a tile of outputs are the patches of x that it reads, one patch in each row, in the
order (i, j, c). In this order, kw*C numbers of a patch are one contiguous run of x. A tile's
columns fit the L2 cache; the backward kernels compute them again instead of keeping them.

One row of the columns may serve `span` neighbouring outputs: the patch is then wider, and the
packed weight holds the kernel `span` times, each shifted by the stride, with zeros around it. This
multiplies by some zeros, but avoids copying the overlap of neighbouring patches. `mending` keeps a
NaN in the patch from reaching outputs whose own window does not hold it.

The gradient of x is the same computation on dy with the kernel flipped. With a stride other than 1
it is done once for each position of a pixel within the stride.

Groups are a leading axis throughout: a batch of matrix products.
"""

from collections.abc import Iterator
from math import prod

import numpy as np

from netspec.kernels.arrays import Array, carve, repeat_row, strided
from netspec.kernels.convolution import depthwise, winograd
from netspec.kernels.convolution.conv_plan import (
    TilePlan,
    is_pointwise,
    phases,
    plan_tiles,
    reaches_all,
)
from netspec.kernels.convolution.mending import mend
from netspec.kernels.windows import Ints, Tile, Window, frame, pad_tile, reads_padding


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    scratch: Array,
    window: Window,
    groups: int,
) -> None:
    """`out = x * weight + bias`: the formula at the top of this file.

    x (N, H, W, C), weight (O, C/groups, kh, kw), bias (O,) or None, out (N, OH, OW, O).
    """
    if depthwise.applies(x.shape[-1], out.shape[-1], groups):
        depthwise.forward(x, weight, bias, out, scratch, window)
    else:
        _correlate(x, _by_group(weight, groups), bias, out, scratch, window)


def input_gradient(
    dy: Array, weight: Array, dx: Array, scratch: Array, window: Window, groups: int
) -> None:
    """dx[n, h, w, c] = sum over o, i, j of dy[n, p, q, o] * weight[o, c, i, j].

    The sum runs over the outputs p, q whose tap i, j reads pixel h, w: p*sh + i*dh - top = h and
    q*sw + j*dw - left = w.
    """
    if depthwise.applies(dx.shape[-1], dy.shape[-1], groups):
        depthwise.backward_input(dy, weight, dx, scratch, window)
    else:
        _correlate_back(dy, _by_group(weight, groups), dx, scratch, window)


def weight_gradient(
    x: Array, dy: Array, dweight: Array, scratch: Array, window: Window, groups: int
) -> None:
    """dweight[o, c, i, j] = sum over n, p, q of dy[n, p, q, o] * (what tap i, j, c sees there)."""
    if depthwise.applies(x.shape[-1], dy.shape[-1], groups):
        depthwise.backward_weight(x, dy, dweight, scratch, window)
    else:
        packed = packed_gradient(x, dy, groups, scratch, window)
        unpack(packed, dweight, scratch, x, dy, groups, window)


def packed_gradient(x: Array, dy: Array, groups: int, scratch: Array, window: Window) -> Array:
    """Return the gradient of the weight as `unpack` takes it; it is in `scratch`.

    As matrices, dweight = columns(x).T @ dy. Several such gradients can be added up before.
    """
    if _is_winograd(x, dy, groups, window):
        return winograd.weight_gradient(x, dy, scratch, window)
    return _packed_gradient(x, dy, groups, scratch, window)


def unpack(
    total: Array, dweight: Array, scratch: Array, x: Array, dy: Array, groups: int, window: Window
) -> None:
    """Convert a packed gradient of x and dy to dweight (O, C/groups, kh, kw)."""
    if _is_winograd(x, dy, groups, window):
        winograd.weight_of(total, dweight, scratch)
    else:
        _unpack(total, _by_group(dweight, groups), window.stride[1])


def scratch_size(n: int, in_shape: Ints, out_shape: Ints, groups: int, window: Window) -> int:
    """Elements of scratch that suffice for the functions above, for `n` images."""
    x_shape, y_shape = (n, *in_shape), (n, *out_shape)
    if depthwise.applies(in_shape[-1], out_shape[-1], groups):
        return depthwise.scratch_size(x_shape, y_shape, window)
    plan = plan_tiles(x_shape, y_shape, groups, window)
    sizes = [2 * prod(plan.packed) + prod(plan.padded) + prod(plan.columns)]
    if winograd.applies(x_shape, y_shape, groups, window):
        sizes.append(winograd.scratch_size(x_shape, y_shape, window))
    for phase in phases(window, x_shape):
        plan = plan_tiles(y_shape, phase.shape, groups, phase.window)
        shapes = plan[1:4] if window.stride == (1, 1) else plan[1:]
        sizes.append(sum(map(prod, shapes)))
        if winograd.applies(y_shape, phase.shape, groups, phase.window):
            sizes.append(winograd.scratch_size(y_shape, phase.shape, phase.window))
    return max(sizes)


def _is_winograd(x: Array, y: Array, groups: int, window: Window) -> bool:
    """Return True if a convolution of x to y is done by `winograd`."""
    single = x.dtype == np.float32
    dense = y.flags.c_contiguous
    return single and dense and winograd.applies(x.shape, y.shape, groups, window)


def _packed_gradient(x: Array, dy: Array, groups: int, scratch: Array, window: Window) -> Array:
    """Compute the gradient of the packed weight; the result is in `scratch`."""
    plan = plan_tiles(x.shape, dy.shape, groups, window)
    total, part, padded, columns = carve(scratch, plan.packed, *plan[1:4])
    matrix, part_matrix = _matrices(total), _matrices(part)
    for tile, patches in _im2col(x, dy.shape, padded, columns, plan, window):
        # The first tile's product is written directly, so the sum need not be zeroed before.
        first = tile.images.start == tile.rows.start == 0
        product = matrix if first else part_matrix
        np.matmul(patches.transpose(0, 2, 1), _outputs(dy[tile.area], plan), out=product)
        if not first:
            matrix += product
    return total


def _correlate_back(dy: Array, kernels: Array, dx: Array, scratch: Array, window: Window) -> None:
    """Compute the gradient of the input, with kernels (G, O/G, C/G, kh, kw)."""
    # dx is dy correlated with the flipped kernel, where inputs and outputs change places:
    # p = (h + top - i*dh) / sh.
    flipped = kernels.transpose(0, 2, 1, 3, 4)
    if not reaches_all(window, dx.shape):
        dx.fill(0)
    for phase in phases(window, dx.shape):
        _correlate(dy, flipped[phase.taps], None, dx[phase.pixels], scratch, phase.window)


def _correlate(
    x: Array, kernels: Array, bias: Array | None, out: Array, scratch: Array, window: Window
) -> None:
    """`out = x * kernels + bias`, with kernels (G, O/G, C/G, kh, kw)."""
    if _is_winograd(x, out, len(kernels), window):
        winograd.correlate(x, kernels[0], bias, out, scratch, window)
        return
    plan = plan_tiles(x.shape, out.shape, len(kernels), window)
    # A matrix product writes whole matrices, so if `out` is strided the product goes to `result`
    # first.
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
    if packed.shape[4] > 1:
        mend(x, kernels[0], bias, out, window)


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


def _outputs(rows: Array, plan: TilePlan) -> Array:
    """View a tile of outputs (..., OW, O) as matrices (G, outputs/span, span*O/G)."""
    groups, *_, span, outs = plan.packed
    return rows.reshape(-1, groups, span * outs).transpose(1, 0, 2)


def _im2col(
    x: Array,
    out_shape: tuple[int, ...],
    padded: Array,
    columns: Array,
    plan: TilePlan,
    window: Window,
) -> Iterator[tuple[Tile, Array]]:
    """Yield each tile of outputs with the patches it reads, as matrices (G, outputs/span, patch)."""
    groups, kh, wide, ins, span, _ = plan.packed
    tiles = plan.tiling.tiles(len(x), out_shape[1])
    if is_pointwise(x.shape, out_shape, groups, window):
        for tile in tiles:
            yield tile, x[tile.area].reshape(1, -1, ins)
        return
    padding, (top, _, left, _) = reads_padding(x.shape, out_shape, window), window.pad
    source = padded if padding else x[:, -top:, -left:]
    images, rows = plan.tiling if padding else (len(x), out_shape[1])
    # All patches as one view that overlaps itself in memory: copying a part of it is im2col.
    _, (sh, sw), _, (dh, dw) = window
    n, h, w, c = source.strides
    patches = strided(
        source,
        (groups, images, rows, out_shape[2] // span, kh, wide, ins),
        (ins * c, n, sh * h, span * sw * w, dh * h, dw * w, c),
    )
    # In tiles of whole images the zeros are always in the same places, so they are written only
    # once. A step of this loop holds the interpreter lock for some microseconds, so it is kept
    # short.
    if padding and rows == out_shape[1] and groups == 1:
        yield from _whole_images(x, padded, patches[0], columns, window, tiles)
        return
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


def _whole_images(
    x: Array,
    padded: Array,
    patches: Array,
    columns: Array,
    window: Window,
    tiles: Iterator[Tile],
) -> Iterator[tuple[Tile, Array]]:
    """`_im2col` for tiles of whole images; patches (images, OH, OW/span, kh, wide, C)."""
    inside, picture = frame(x, padded, window)
    filled = columns[: patches.size].reshape(patches.shape)
    height, width, patch = patches.shape[1], patches.shape[2], prod(patches.shape[3:])
    matrix = filled.reshape(1, -1, patch)
    for tile in tiles:
        count = tile.images.stop - tile.images.start
        if count < len(inside):
            inside, patches, filled = inside[:count], patches[:count], filled[:count]
            matrix = matrix[:, : count * height * width]
        np.copyto(inside, picture[tile.images])
        np.copyto(filled, patches)
        yield tile, matrix
