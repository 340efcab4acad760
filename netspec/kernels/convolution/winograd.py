"""Convolution of stride 1 with fewer multiplications: Winograd's algorithm along the height.

m output rows of a kernel with r rows need t = m + r - 1 products a tap and channel, not m * r:

    y = A.T @ [(G @ w) * (B.T @ x)]      (Winograd 1980; Lavin and Gray 2016)

where x are the m + r - 1 rows that the m rows of y read, and `*` stands for a correlation along the
width, which is done as in `conv`: the runs of kw*C numbers are copied side by side, and one matrix
product (GEMM) for each of the t transformed rows does the rest. The transforms along the height are
matrix products too, of few rows but over whole picture rows at a time. For 3 rows at m = 4 this
halves both the products and the copies.

One run of columns may serve `span` neighbouring outputs, as in `conv`, where channels are few.

The constants come from evaluating polynomials at t - 1 small points and at infinity (Toom and Cook);
they cost about a digit in float32. In float64, where gradients are checked, this is not used. Every
transformed row is made of all rows that a group reads: `mending` keeps a NaN to its own outputs.
"""

import functools
from collections.abc import Iterator
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

import numpy as np

from netspec.kernels.arrays import SMALL_PRODUCT, Array, carve, fixed, repeat_row, strided
from netspec.kernels.convolution.mending import mend
from netspec.kernels.windows import Tile, Tiling, Window, frame, pad_tile

# Output rows at a time by rows of the kernel: more save products, and lose digits.
ROWS_AT_ONCE = {3: 4, 5: 2, 7: 2}
# The fewest output pixels, of each transformed row, that a matrix product has.
FEWEST_PIXELS = 64
# What decides the span, in nanoseconds on one core of an AVX-512 machine: to copy a run and each
# number in it; a multiply-add of a small product, dearer where the matrices are narrow or short.
COPY_RUN, COPY, MULTIPLY, NARROW, SHORT = 3.5, 0.075, 0.018, 3.0, 4.0
_POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))


@functools.cache
def transforms(m: int, r: int, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """(A.T (m, t), G (t, r), B.T (t, t)), with t = m + r - 1."""
    t = m + r - 1
    points = _POINTS[: t - 1]

    def product(skipped: int | None) -> list[Fraction]:
        """The coefficients of the product of all (x - point) but one, lowest first."""
        polynomial = [Fraction(1)]
        for i, point in enumerate(points):
            if i != skipped:
                shifted = [Fraction(0), *polynomial]
                scaled = [*(-point * c for c in polynomial), Fraction(0)]
                polynomial = [a + b for a, b in zip(shifted, scaled, strict=True)]
        return polynomial + [Fraction(0)] * (t - len(polynomial))

    back = [[point**i for point in points] + [Fraction(i == m - 1)] for i in range(m)]
    scale = [prod(p - q for q in points if q != p) for p in points]
    kernel = [[p**k / s for k in range(r)] for p, s in zip(points, scale, strict=True)]
    kernel.append([Fraction(k == r - 1) for k in range(r)])
    rows = [product(i) for i in range(t - 1)] + [product(None)]
    a, g, b = (fixed(np.array(matrix, np.float64).astype(dtype)) for matrix in (back, kernel, rows))
    return a, g, b


class WinogradPlan(NamedTuple):
    """How a convolution is cut into tiles, and the shapes of what its scratch holds."""

    tiling: Tiling
    at_once: int  # m
    padded: tuple[int, ...]  # (images, rows, columns, C)
    rows: tuple[int, ...]  # (images, groups, t, columns, C): the transformed input
    columns: tuple[int, ...]  # (t, images, groups, OW/span, patch*C)
    products: tuple[int, ...]  # (t, images, groups, OW/span, span*O)
    packed: tuple[int, ...]  # (t, patch, C, span, O): the transformed weight
    turned: tuple[int, ...]  # (kh, kw*C*O): the weight by rows
    plain: tuple[int, ...]  # (t, kw*C*O): those transformed
    result: tuple[int, ...]  # (images, groups, m, OW*O), where the rows are not a multiple of m


def applies(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], groups: int, window: Window
) -> bool:
    """Whether this is the faster way; x (N, H, W, C), y (N, OH, OW, O)."""
    (kh, kw), _, _, _ = window
    height, outputs = y_shape[1], y_shape[3]
    return possible(groups, window) and outputs >= 4 and kw > 1 and height >= ROWS_AT_ONCE[kh]


def possible(groups: int, window: Window) -> bool:
    """Whether it can be done this way."""
    (kh, _), stride, _, dilation = window
    return groups == 1 and stride == dilation == (1, 1) and kh in ROWS_AT_ONCE


def plan_tiles(x_shape: tuple[int, ...], y_shape: tuple[int, ...], window: Window) -> WinogradPlan:
    """Cut a convolution into tiles; x (N, H, W, C), y (N, OH, OW, O)."""
    kh, kw = window.kernel
    n, height, width, outputs = y_shape
    channels = x_shape[-1]
    m = ROWS_AT_ONCE[kh]
    t = m + kh - 1
    groups = -(-height // m)
    span = _choose_span(width, kw, channels, outputs)
    patch = kw + span - 1
    work = width * patch * channels * outputs  # of one group of m rows, for one of the t products
    # Pixels in a tile: as few as a small product has, unless the weight is read for too few then.
    most = max(SMALL_PRODUCT // (work // width), min(FEWEST_PIXELS, n * groups * width))
    if most >= groups * width:
        most = most // (groups * width)
        images, tall = -(-n // -(-n // most)), groups
    else:
        images, tall = 1, max(1, most // width)
    columns = width + kw - 1
    return WinogradPlan(
        Tiling(images, tall * m),
        m,
        padded=(images, tall * m + kh - 1, columns, channels),
        rows=(images, tall, t, columns, channels),
        columns=(t, images, tall, width // span, patch * channels),
        products=(t, images, tall, width // span, span * outputs),
        packed=(t, patch, channels, span, outputs),
        turned=(kh, kw * channels * outputs),
        plain=(t, kw * channels * outputs),
        result=(images, tall, m, width * outputs) if height % m else (0,),
    )


def _choose_span(width: int, kw: int, channels: int, outputs: int) -> int:
    """How many neighbouring outputs one run of the columns serves."""

    def cost(span: int) -> float:
        """Nanoseconds for one output pixel: the copies, and the matrix product."""
        run, wide = (kw + span - 1) * channels, span * outputs
        multiply = MULTIPLY * (1 + NARROW / wide) * (1 + SHORT / run)
        return (COPY_RUN + run * COPY + run * wide * multiply) / span

    return min((span for span in range(1, width + 1) if width % span == 0), key=cost)


def scratch_size(x_shape: tuple[int, ...], y_shape: tuple[int, ...], window: Window) -> int:
    """Elements of scratch that suffice for both kernels below."""
    plan = plan_tiles(x_shape, y_shape, window)
    return sum(map(prod, plan[2:])) + prod(plan.packed)


def correlate(
    x: Array, weight: Array, bias: Array | None, out: Array, scratch: Array, window: Window
) -> None:
    """`out = x * weight + bias`: x (N, H, W, C), weight (O, C, kh, kw), out (N, OH, OW, O)."""
    plan = plan_tiles(x.shape, out.shape, window)
    back, kernel, _ = transforms(plan.at_once, window.kernel[0], x.dtype)
    padded, rows, columns, products, packed, turned, plain, result = carve(scratch, *plan[2:])
    _pack(weight, kernel, packed, turned, plain)
    by_patch = packed.reshape(len(packed), columns.shape[-1], -1)
    bias_row = None if bias is None else repeat_row(bias, out.shape[2])
    matrix = products.reshape(*products.shape[:3], -1).transpose(1, 2, 0, 3)
    for tile, patches in _columns(x, out.shape, padded, rows, columns, plan, window):
        count, groups = patches.shape[1:3]
        part = products[:, :count, :groups]
        if part.size == products.size:
            np.matmul(_matrix(patches), by_patch, out=_matrix(part))
        else:
            np.matmul(patches, by_patch[:, None, None], out=part)
        target = out[tile.area]
        lines = target.reshape(count, -1, out.shape[2] * out.shape[3])
        if plan.result == (0,):
            whole = lines.reshape(count, groups, plan.at_once, -1)
            np.matmul(back, matrix[:count, :groups], out=whole)
        else:
            whole = result[:count, :groups]
            np.matmul(back, matrix[:count, :groups], out=whole)
            lines[...] = whole.reshape(count, -1, lines.shape[2])[:, : lines.shape[1]]
        if bias_row is not None:
            np.add(lines, bias_row, out=lines)
    mend(x, weight, bias, out, window)


def weight_gradient(x: Array, dy: Array, scratch: Array, window: Window) -> Array:
    """The gradient of the packed weight (t, patch, C, span, O); see `weight_of`."""
    plan = plan_tiles(x.shape, dy.shape, window)
    back, *_ = transforms(plan.at_once, window.kernel[0], x.dtype)
    shapes = (*plan[2:6], plan.packed, plan.result, plan.packed)
    # What `weight_of` needs comes first, and the sum outlasts it.
    *_, padded, rows, columns, products, total, result, part = carve(
        scratch, plan.turned, plan.plain, *shapes
    )
    forth = fixed(back.T)
    matrix = products.reshape(*products.shape[:3], -1).transpose(1, 2, 0, 3)
    first = True
    for tile, patches in _columns(x, dy.shape, padded, rows, columns, plan, window):
        count, groups = patches.shape[1:3]
        lines = dy[tile.area].reshape(count, -1, dy.shape[2] * dy.shape[3])
        if plan.result == (0,):
            whole = lines.reshape(count, groups, plan.at_once, -1)
        else:
            whole = result[:count, :groups]
            flat = whole.reshape(count, -1, lines.shape[2])
            flat[:, : lines.shape[1]] = lines
            flat[:, lines.shape[1] :] = 0
        np.matmul(forth, whole, out=matrix[:count, :groups])
        product = (total if first else part).reshape(len(total), columns.shape[-1], -1)
        grads = products[:, :count, :groups]
        np.matmul(_matrix(patches).transpose(0, 2, 1), _matrix(grads), out=product)
        if not first:
            total += part
        first = False
    return total


def weight_of(packed: Array, dweight: Array, scratch: Array) -> None:
    """From the gradient of the packed weight to that of the weight (O, C, kh, kw).

    `packed` is what `weight_gradient` made in the same scratch.
    """
    outs, ins, kh, kw = dweight.shape
    _, kernel, _ = transforms(ROWS_AT_ONCE[kh], kh, dweight.dtype)
    size = kw * ins * outs
    turned, plain = carve(scratch, (kh, size), (len(packed), size))
    total = plain.reshape(-1, kw, ins, outs)
    np.copyto(total, packed[:, :kw, :, 0])
    for s in range(1, packed.shape[3]):
        total += packed[:, s : s + kw, :, s]
    np.matmul(kernel.T, plain, out=turned)
    np.copyto(dweight, turned.reshape(kh, kw, ins, outs).transpose(3, 2, 0, 1))


def _pack(weight: Array, kernel: Array, packed: Array, turned: Array, plain: Array) -> None:
    """Transform a weight (O, C, kh, kw) and lay it out as (t, patch, C, span, O)."""
    outs, ins, kh, kw = weight.shape
    np.copyto(turned.reshape(kh, kw, ins, outs), weight.transpose(2, 3, 1, 0))
    np.matmul(kernel, turned, out=plain)
    if packed.shape[3] > 1:
        packed.fill(0)
    for s in range(packed.shape[3]):
        packed[:, s : s + kw, :, s] = plain.reshape(-1, kw, ins, outs)


def _matrix(part: Array) -> Array:
    """(t, images, groups, W, K) as matrices (t, images*groups*W, K); a part of one is copied."""
    return part.reshape(len(part), -1, part.shape[-1])


def _columns(
    x: Array,
    out_shape: tuple[int, ...],
    padded: Array,
    rows: Array,
    columns: Array,
    plan: WinogradPlan,
    window: Window,
) -> Iterator[tuple[Tile, Array]]:
    """Each tile with the columns (t, images, groups, OW, kw*C) of its transformed rows."""
    *_, forth = transforms(plan.at_once, window.kernel[0], x.dtype)
    t, m = len(forth), plan.at_once
    images, groups = plan.rows[:2]
    n, h, w, c = padded.strides
    line = padded.shape[2] * padded.shape[3]
    groups_of = strided(padded, (images, groups, t, line), (n, m * h, h, c))
    transformed = rows.reshape(images, groups, t, line)
    n, g, r, w, c = rows.strides
    span = plan.packed[3]
    patches = strided(rows, columns.shape, (r, n, g, span * w, c))
    whole = plan.tiling.rows >= out_shape[1]
    if whole:
        inside, picture = frame(x, padded, window)
    else:
        padded.fill(0)  # rows below the picture are read, and must be numbers
    for tile in plan.tiling.tiles(len(x), out_shape[1]):
        count = tile.images.stop - tile.images.start
        tall = -(-len(tile.rows) // m)
        if whole:
            np.copyto(inside[:count], picture[tile.images])
        else:
            pad_tile(x, tile, padded, window)
        np.matmul(forth, groups_of[:count, :tall], out=transformed[:count, :tall])
        target = columns[:, :count, :tall]
        np.copyto(target, patches[:, :count, :tall])
        yield tile, target
