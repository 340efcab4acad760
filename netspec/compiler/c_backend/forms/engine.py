"""Forms for the engine alone: all images at once, in tiles of vectors, with memory for each thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import cast

from netspec.compiler.c_backend.forms import winograd
from netspec.compiler.c_backend.forms.picture import BLOCK, Picture, is_flat, picture_of, rounded
from netspec.compiler.c_backend.forms.windows import in_blocks, one_filter_each, pads, volume
from netspec.compiler.c_backend.kernel_call import KernelCall, c_call
from netspec.compiler.ir.plan import Buffer, KernelStep
from netspec.records import record

# What a product over rows has at hand; see `library/engine/lanes.h`.
GROUP, WIDE, ROWS, PIECE = 4, 16, 128, 256
# The rows of x that the way back to a weight packs at a time.
SEEN = 256
# So many weights or more of a convolution of single places are shared by threads, rather than its places.
SHARED = 1 << 14
# The numbers at most that the gradients of a picture times all taps are: those of a larger cache.
GATHERED = 1 << 16
# Parts of a sum over the batch, each of which is added up alone.
SUMS = 64


def _in_blocks(filters: int, seen: int, groups: int) -> int:
    """Return how many numbers the filters of one tap are, in blocks."""
    return groups * rounded(filters // groups, BLOCK) * seen


def _packed(call: KernelCall, index: int, groups: int) -> str:
    """Return filters (O, I / groups, ...) in blocks: a constant, or scratch memory."""
    weight = call.values(index)
    if weight is not None:
        moved = weight.reshape(*weight.shape[:2], -1).transpose(0, 2, 1)
        return call.memory.constant(call.name(index), in_blocks(moved, groups, BLOCK))
    filters, seen, *kernel = call.shape(index)
    taps = math.prod(kernel)
    packed = call.memory.scratch(_in_blocks(filters, seen, groups) * taps)
    call.before.extend(
        c_call("pack_blocks", call.pointer(index), packed, filters, seen, taps, groups)
    )
    return packed


@record
class _Ends:
    """What is done with sums before they are written, as C: see `ends.with_ends`.

    Attributes:
        skip: what is added to them.
        limits: whether they are kept within two numbers, and these.
    """

    skip: str = "0"
    limits: tuple[str, ...] = ("0", "0", "0")


def _ends(call: KernelCall) -> _Ends:
    """Return what a step was joined with."""
    options = call.step.options
    if "lowest" not in options:
        return _Ends()
    lowest, highest = call.real("lowest"), call.real("highest")
    is_limited = any(math.isfinite(cast(float, options[name])) for name in ("lowest", "highest"))
    return _Ends(call.pointer(-1), (str(int(is_limited)), lowest, highest))


def takes_ends(step: KernelStep, adds: bool) -> bool:
    """Whether the form of a kernel does what follows it too, with another array if it `adds` one."""
    if step.kernel == "linear.forward":
        return True
    if step.kernel not in ("conv.forward", "pool.max_forward"):
        return False
    x, y = step.arguments[0], step.writes[0]
    if not (isinstance(x, Buffer) and isinstance(y, Buffer) and is_flat(x.shape, y.shape)):
        return False
    return not adds or step.kernel == "conv.forward"


def conv(call: KernelCall) -> list[str] | None:
    """Tiles of up to eight places by 16 filters; Winograd's algorithm; or a filter for each channel."""
    picture = picture_of(call, 0, 3, 1)
    if picture is None:
        return None
    if picture.is_depthwise:
        return _depthwise(call, picture)
    if winograd.wins(picture, double=call.double):
        return _winograd(call, picture, 0, 1, call.pointer(2), 3, _ends(call))
    packed = _packed(call, 1, picture.groups)
    if _is_linear(picture):
        ends = _ends(call)
        return c_call(
            "linear_rows", call.pointer(0), packed, call.pointer(2), ends.skip, call.pointer(3),
            call.rows(0, picture.x[2]), picture.x[2], picture.y[2], *ends.limits,
        )  # fmt: skip
    _, high, wide, made = (1, *picture.y)
    return _conv(
        call, call.pointer(0), packed, call.pointer(2), call.pointer(3), picture,
        (high * wide * made, wide * made, made), _ends(call),
    )  # fmt: skip


def _is_linear(picture: Picture) -> bool:
    """Whether a convolution is a linear layer at each place, of weights that threads should share."""
    (*_, channels), (*_, filters) = picture.x, picture.y
    return (
        picture.kernel == picture.stride == (1, 1)
        and picture.x[:2] == picture.y[:2]
        and picture.start == (0, 0)
        and picture.groups == 1
        and channels * filters >= SHARED
    )


def _depthwise(call: KernelCall, picture: Picture) -> list[str]:
    ends = _ends(call)
    return c_call(
        "depthwise_images", call.pointer(0), one_filter_each(call, 1), call.pointer(2), ends.skip,
        call.pointer(3), call.count, *picture.x, *picture.y[:2], *picture.kernel, *picture.stride,
        *picture.start, *picture.dilation, *ends.limits,
    )  # fmt: skip


def _winograd(
    call: KernelCall, picture: Picture, x: int, weight: int, bias: str, y: int, ends: _Ends,
    *, is_back: bool = False,
) -> list[str]:  # fmt: skip
    """Return a convolution of the arguments x and weight to y, or the way back through it."""
    known, (filters, channels) = call.values(weight), (picture.y[2], picture.x[2])
    if known is not None and not is_back:
        plain = call.memory.constant(call.name(weight), known)
        packed = call.memory.constant(
            f"{call.name(weight)}_transformed", winograd.transformed(known)
        )
    else:
        plain = call.pointer(weight)
        packed = call.memory.scratch(winograd.filters_size(filters, channels))
        call.before.extend(
            c_call("winograd_filters", plain, packed, filters, channels, int(is_back))
        )
    return c_call(
        "conv_winograd", call.pointer(x), packed, plain, bias, ends.skip, call.pointer(y),
        call.memory.work(winograd.work(picture)), "WORK", call.count, *picture.x, *picture.y,
        *picture.start, winograd.STRIP, int(is_back), *ends.limits,
    )  # fmt: skip


def _conv(
    call: KernelCall, x: str, packed: str, bias: str, y: str, picture: Picture,
    steps: tuple[int, int, int], ends: _Ends,
) -> list[str]:  # fmt: skip
    rows, part = picture.part
    return c_call(
        "conv_images", x, packed, bias, ends.skip, y, call.memory.work(part), "WORK", call.count,
        *picture.numbers, rows, *steps, *ends.limits,
    )  # fmt: skip


def conv_backward_input(call: KernelCall) -> list[str] | None:
    """A convolution of the gradient for each place that a stride has between two outputs."""
    picture = picture_of(call, 2, 0, 1)
    if picture is None or _sees_one(picture):
        return None
    if picture.stride != (1, 1) and picture.dilation != (1, 1):
        return None
    back = picture.back()
    if winograd.wins(back, double=call.double):
        return _winograd(call, back, 0, 1, "0", 2, _Ends(), is_back=True)
    if _is_gathered(picture):
        return _gathered(call, picture)
    lines = []
    for above in range(min(picture.stride[0], picture.x[0])):
        for before in range(min(picture.stride[1], picture.x[1])):
            lines += _phase(call, picture, above, before)
    return lines


def _sees_one(picture: Picture) -> bool:
    """Whether filters see one channel alone."""
    return picture.groups == picture.x[2] and picture.groups > 1


def _is_gathered(picture: Picture) -> bool:
    """Whether it is less work to multiply each gradient with all taps first.

    A convolution back computes with zeros around the gradients, and with vectors of which a few channels
    fill a part; half of what is made here is written and read once more.
    """
    if picture.groups > 1 or picture.stride != (1, 1) or picture.dilation != (1, 1):
        return False
    (height, width, channels), (high, wide, _) = picture.x, picture.y
    taps = math.prod(picture.kernel)
    columns = rounded(taps * channels, BLOCK)
    lanes = rounded(channels, BLOCK // 2)
    return (
        high * wide * columns <= GATHERED
        and 2 * high * wide * columns < height * width * taps * lanes
    )


def _gathered(call: KernelCall, picture: Picture) -> list[str]:
    (high, wide, filters), channels = picture.y, picture.x[2]
    columns = rounded(math.prod(picture.kernel) * channels, BLOCK)
    packed = call.memory.scratch(columns * filters)
    return [
        *c_call(
            "pack_taps_of_filters", call.pointer(1), packed, filters, channels,
            math.prod(picture.kernel),
        ),
        *c_call(
            "conv_images_backward_gathered", call.pointer(0), packed, call.pointer(2),
            call.memory.work(high * wide * columns + BLOCK), "WORK", call.count,
            *picture.x, *picture.y, *picture.kernel, *picture.start,
        ),
    ]  # fmt: skip


def _phase(call: KernelCall, picture: Picture, above: int, before: int) -> list[str]:
    """Return the gradients of the places that lie so far behind a multiple of the stride."""
    filters, seen, *_ = call.shape(1)
    groups, (height, width, channels) = picture.groups, picture.x
    first, taps, starts, sizes = [], [], [], []
    for axis, (phase, size) in enumerate(((above, height), (before, width))):
        step, kernel, dilation = picture.stride[axis], picture.kernel[axis], picture.dilation[axis]
        k0 = (phase + picture.start[axis]) % step
        count = max(-(-(kernel - k0) // step), 0)
        first.append(k0)
        taps.append(count)
        starts.append((count - 1) * dilation - (phase + picture.start[axis] - k0) // step)
        sizes.append(-(-(size - phase) // step))
    packed = call.memory.scratch(
        _in_blocks(groups * seen, filters // groups, groups) * math.prod(taps)
    )
    back = Picture(
        picture.y, (sizes[0], sizes[1], channels), (taps[0], taps[1]), (1, 1),
        (starts[0], starts[1]), picture.dilation, groups,
    )  # fmt: skip
    step_h, step_w = picture.stride
    target, offset = call.pointer(2), (above * width + before) * channels
    return [
        *c_call(
            "pack_blocks_back", call.pointer(1), packed, filters, seen, groups,
            *picture.kernel, *first, step_h, step_w,
        ),
        *_conv(
            call, call.pointer(0), packed, "0", f"{target} + {offset}" if offset else target, back,
            (height * width * channels, step_h * width * channels, step_w * channels), _Ends(),
        ),
    ]  # fmt: skip


def conv_backward_weight(call: KernelCall) -> list[str] | None:
    """Tiles of up to eight numbers that a window sees by 16 filters, over all places."""
    picture = picture_of(call, 0, 1, 2)
    if picture is None:
        return None
    if winograd.wins(picture, double=call.double):
        return _winograd_weight(call, picture)
    filters, seen, *kernel = call.shape(2)
    rows, part = picture.part
    columns, run = (1, kernel[-1] * seen) if picture.groups == 1 else (kernel[-1], seen)
    blocks = _in_blocks(filters, 1, picture.groups) // BLOCK
    tiles = blocks * picture.kernel[0] * columns * -(-run // 8)
    shares = max(1, min(4, 24 // tiles))
    sums = call.memory.scratch(
        shares * _in_blocks(filters, seen, picture.groups) * math.prod(kernel)
    )
    return c_call(
        "conv_images_backward_weight", *map(call.pointer, range(3)), sums,
        call.memory.work(part), "WORK", call.count, *picture.numbers, rows, shares,
    )  # fmt: skip


def _winograd_weight(call: KernelCall, picture: Picture) -> list[str]:
    shares = winograd.shares(picture)
    sums = call.memory.scratch(shares * winograd.filters_size(picture.y[2], picture.x[2]))
    return c_call(
        "conv_winograd_backward_weight", *map(call.pointer, range(3)), sums,
        call.memory.work(winograd.work_back(picture)), "WORK", call.count, *picture.x, *picture.y,
        *picture.start, winograd.STRIP_BACK, shares,
    )  # fmt: skip


def linear(call: KernelCall) -> list[str]:
    """Tiles of up to six rows by 16 outputs."""
    outputs, inputs = call.shape(1)
    ends = _ends(call)
    sizes: tuple[str | int, ...] = (call.rows(0, inputs), inputs, outputs, *ends.limits)
    if call.values(1) is None and ends.skip == "0":
        work = call.memory.work(_packed_columns(GROUP, outputs, inputs) + _rows_together(inputs))
        return c_call("linear_rows_of_new", *map(call.pointer, range(4)), work, "WORK", *sizes)
    return c_call(
        "linear_rows", call.pointer(0), _packed(call, 1, 1), call.pointer(2), ends.skip,
        call.pointer(3), *sizes,
    )  # fmt: skip


def _packed_columns(blocks: int, columns: int, terms: int) -> int:
    """Return how many numbers are the columns that a product over rows packs at a time."""
    return min(blocks * BLOCK, rounded(columns, BLOCK)) * min(PIECE, rounded(terms, BLOCK))


def _rows_together(terms: int) -> int:
    """Return how many numbers are the rows that it copies, if they have several pieces."""
    return ROWS * PIECE if terms > PIECE else BLOCK


def linear_backward_input(call: KernelCall) -> list[str]:
    """The same, with the weight as it is."""
    outputs, inputs = call.shape(1)
    return c_call(
        "linear_rows_backward_input", *map(call.pointer, range(3)),
        call.memory.work(_packed_columns(WIDE, inputs, outputs) + _rows_together(outputs)), "WORK",
        call.rows(0, outputs), inputs, outputs,
    )  # fmt: skip


def linear_backward_weight(call: KernelCall) -> list[str]:
    """Tiles of up to six outputs by 16 inputs, over all rows."""
    outputs, inputs = call.shape(2)
    return c_call(
        "linear_rows_backward_weight", *map(call.pointer, range(3)),
        call.memory.work(min(WIDE * BLOCK, rounded(inputs, BLOCK)) * SEEN), "WORK",
        call.rows(0, inputs), inputs, outputs, SEEN,
    )  # fmt: skip


def sum_of_rows(call: KernelCall) -> list[str]:
    """The gradient of a bias."""
    columns = call.size(1)
    sums = call.memory.scratch(SUMS * columns)
    return c_call(
        "sum_of_many_rows", call.pointer(0), call.pointer(1), sums, call.rows(0, columns), columns
    )


def batch_statistics(call: KernelCall) -> list[str]:
    """The mean and variance of a batch. The number of batches is not counted."""
    channels = call.shape(0)[-1]
    return c_call(
        "statistics_of_many", *map(call.pointer, (0, 2, 3, 4, 5, 7, 8, 9, 10)),
        call.memory.scratch(2 * SUMS * channels),
        call.rows(0, channels), channels, call.real("eps"), call.real("momentum"),
    )  # fmt: skip


def batch_norm_backward(call: KernelCall) -> list[str]:
    """The gradients of weight and bias, and the vectors that make that of x."""
    channels = call.shape(0)[-1]
    return c_call(
        "batch_norm_backward_of_many", *map(call.pointer, (0, 1, 3, 4, 5, 6, 7, 8, 9, 10)),
        call.memory.scratch(2 * (SUMS + 1) * channels), call.rows(0, channels), channels,
    )  # fmt: skip


def max_pool(call: KernelCall) -> list[str] | None:
    """All rows of all pictures; None for volumes."""
    pool = _pool(call)
    if pool is None:
        return None
    return c_call(
        "max_pool_of_many", call.pointer(0), call.pointer(1), call.count,
        *pool.x, *pool.y[:2], *pool.kernel, *pool.stride, *pool.start, *pool.dilation,
        *_ends(call).limits,
    )  # fmt: skip


def max_pool_backward(call: KernelCall) -> list[str] | None:
    """The same, where no place is in two windows."""
    pool = _pool(call)
    if pool is None or pool.start != (0, 0) or pool.dilation != (1, 1):
        return None
    axes = zip(pool.x[:2], pool.y[:2], pool.kernel, pool.stride, strict=True)
    if any(kernel > step or (y - 1) * step + kernel > x for x, y, kernel, step in axes):
        return None
    return c_call(
        "max_pool_apart_backward", *map(call.pointer, range(4)), call.count,
        *pool.x, *pool.y[:2], *pool.kernel, *pool.stride,
    )  # fmt: skip


def _pool(call: KernelCall) -> Picture | None:
    """Return a pool of pictures, as the convolution with the same window."""
    x, y, kernel = call.shape(0), call.shape(1), call.ints("kernel")
    if not is_flat(x, y):
        return None
    ((_, *of_x), (_, *of_y), (_, *window), (_, *stride), (_, *dilation)) = (
        volume(each, 1)
        for each in (x[:-1], y[:-1], kernel, call.ints("stride"), call.ints("dilation"))
    )
    _, *start = pads(call)[::2]
    return Picture(
        (*of_x, x[-1]), (*of_y, y[-1]), (window[0], window[1]), (stride[0], stride[1]),
        (start[0], start[1]), (dilation[0], dilation[1]), 1,
    )  # fmt: skip


# A form returns the lines of C; None if there are none for these sizes, and another form is taken.
ENGINE_FORMS: Mapping[str, Callable[[KernelCall], list[str] | None]] = {
    "batch_norm.batch_backward": batch_norm_backward,
    "batch_norm.batch_statistics": batch_statistics,
    "conv.backward_bias": sum_of_rows,
    "conv.backward_input": conv_backward_input,
    "conv.backward_weight": conv_backward_weight,
    "conv.forward": conv,
    "linear.backward_bias": sum_of_rows,
    "linear.backward_input": linear_backward_input,
    "linear.backward_weight": linear_backward_weight,
    "linear.forward": linear,
    "pool.max_backward": max_pool_backward,
    "pool.max_forward": max_pool,
}
