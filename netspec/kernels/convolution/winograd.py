"""Convolution of stride 1 with fewer multiplications: Winograd's algorithm along the height.

For each tap along the width and each channel, m output rows of a kernel with r rows need t = m + r
- 1 products instead of m * r:

    y = A.T @ [(G @ w) * (B.T @ x)]      (Winograd 1980; Lavin and Gray 2016)

where x are the m + r - 1 rows that the m rows of y read. The `*` is a correlation along the width,
which is done as in `conv`: the runs of kw*C numbers are copied side by side, and the rest is one
matrix product (GEMM) for each of the t transformed rows. The transforms along the height are matrix
products too, of few rows but over whole picture rows at a time. For kernels of 3 rows and m = 4
this halves both the products and the copies.

With few channels, one run of columns may serve `span` neighbouring outputs, as in `conv`.

The constants come from evaluating polynomials at t - 1 small points and at infinity (Toom and
Cook). They cost about one digit in float32; in float64, where gradients are checked, this algorithm
is not used. Every transformed row is computed from all rows that a group reads, so `mending` is
needed to limit a NaN to the outputs whose windows hold it.
"""

import functools
from collections.abc import Iterator
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

import numpy as np

from netspec.kernels.arrays import (
    SMALL_PRODUCT,
    Array,
    carve,
    fixed,
    has_avx512,
    repeat_row,
    strided,
)
from netspec.kernels.convolution.mending import mend
from netspec.kernels.windows import Tile, Tiling, Window, frame, pad_tile

# How many output rows are computed at a time, by the rows of the kernel. More rows save products,
# but lose digits.
ROWS_AT_ONCE = {3: 4, 5: 2, 7: 2}
# The least number of output pixels, of each transformed row, in a matrix product.
FEWEST_PIXELS = 64
# The costs by which `span` is chosen, in nanoseconds on one core of an AVX-512 machine: to start
# copying a run, to copy each number in it, and a multiply-add of a small product, which costs more
# if the matrices are narrow or short.
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
    """How a convolution is cut into tiles, and the shapes of the arrays in its scratch."""

    tiling: Tiling
    at_once: int  # m
    padded: tuple[int, ...]  # (images, rows, columns, C)
    rows: tuple[int, ...]  # (images, groups, t, columns, C): the transformed input
    columns: tuple[int, ...]  # (t, images, groups, OW/span, patch*C)
    products: tuple[int, ...]  # (t, images, groups, OW/span, span*O)
    packed: tuple[int, ...]  # (t, patch, C, span, O): the transformed weight
    turned: tuple[int, ...]  # (kh, kw*C*O): the weight by rows
    plain: tuple[int, ...]  # (t, kw*C*O): the transformed rows
    result: tuple[int, ...]  # (images, groups, m, OW*O), if the rows are not a multiple of m


def applies(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], groups: int, window: Window
) -> bool:
    """Return True if this is the faster algorithm; x (N, H, W, C), y (N, OH, OW, O)."""
    (kh, kw), _, _, _ = window
    height, outputs = y_shape[1], y_shape[3]
    return possible(groups, window) and outputs >= 4 and kw > 1 and height >= ROWS_AT_ONCE[kh]


def possible(groups: int, window: Window) -> bool:
    """Return True if this algorithm can be used."""
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
    work = width * patch * channels * outputs  # for one group of m rows and one of the t products
    # Pixels in a tile: as few as in a small product, unless the weight would then be read for too
    # few pixels.
    most = max(_most_products() // (work // width), min(FEWEST_PIXELS, n * groups * width))
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


def _most_products() -> int:
    """Return the products of one transformed row in a tile: more, and fewer tiles, without AVX-512.

    Twice as many are 5 to 10 % faster on pictures of CIFAR-10's sizes there, and a quarter on volumes
    of 8 x 32 x 32.
    """
    return SMALL_PRODUCT if has_avx512() else 2 * SMALL_PRODUCT


def _choose_span(width: int, kw: int, channels: int, outputs: int) -> int:
    """Choose how many neighbouring outputs one run of the columns serves."""

    def cost(span: int) -> float:
        """Nanoseconds for one output pixel: the copies and the matrix product."""
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
    # The memory that `weight_of` uses comes first, so that it does not overwrite the sum.
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
    """Convert the gradient of the packed weight to that of the weight (O, C, kh, kw).

    `packed` is the result of `weight_gradient`, in the same scratch.
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
    """View (t, images, groups, W, K) as matrices (t, images*groups*W, K); a partial tile is copied."""
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
    """Yield each tile with the columns (t, images, groups, OW, kw*C) of its transformed rows."""
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
        padded.fill(0)  # rows below the picture are read too, and must be finite
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
