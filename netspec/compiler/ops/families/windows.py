"""The geometry of sliding windows, which convolutions and pools share.

What is behind the channels may have one axis, as in a signal, two, as in a picture, or three, as in
a volume.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from netspec.compiler.ir.attributes import MAX_SPATIAL_AXES, sides, spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import FileAttributes, is_by_channel, joined
from netspec.records import record

# What a value with so many axes behind the channels is called, these axes, and what they hold.
KINDS = {1: "signal", 2: "picture", 3: "volume"}
AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
PLACES = {1: ("place",), 2: ("row", "column"), 3: ("slice", "row", "column")}

# An extent that layers before leave rather than that anybody has.
_SMALL = 2

# Options of PyTorch's convolutions that are left out when they have these values.
TORCH_DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}


@record(slots=True)
class Axis:
    """A window that slides along one axis: the extent of the picture, and how the window moves."""

    extent: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int
    ceil: bool = False

    @property
    def reach(self) -> int:
        """The extent of the dilated kernel: d (k - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def output(self) -> int:
        """floor((H + p - d (k - 1) - 1) / s) + 1, or PyTorch's ceil rule."""
        room = self.extent + self.before + self.after - self.reach
        if not self.ceil:
            return room // self.stride + 1
        # PyTorch drops a window that would start in the padding behind the picture. Which of the
        # two counts is smaller does not depend on the extent, which may be open.
        if self.after - self.reach + self.stride >= 0:
            return (self.extent + self.before - 1) // self.stride + 1
        return (room + self.stride - 1) // self.stride + 1

    @property
    def unread(self) -> int:
        """The number of rows at the end of the picture (without its padding) that no window reads."""
        last_read = (self.output - 1) * self.stride + self.reach - 1 - self.before
        return max(0, self.extent - 1 - last_read)

    @property
    def formula(self) -> str:
        """Return the formula of the output size with the numbers put in."""
        if self.before == self.after:
            padded = f"{self.extent} + 2*{self.before}"
        else:
            padded = f"{self.extent} + {self.before} + {self.after}"
        rounding = "ceil" if self.ceil else "floor"
        return (
            f"{rounding}(({padded} - {self.dilation}*({self.kernel} - 1) - 1)/{self.stride}) + 1"
            f" = {self.output}"
        )

    def taps(self, at: int) -> slice:
        """Return the places inside the picture that the window at an output reads."""
        start = at * self.stride - self.before
        skipped = -(start // self.dilation) if start < 0 else 0
        end = min(start + self.reach, self.extent)
        return slice(start + skipped * self.dilation, end, self.dilation)


def is_unlikely(kernel: Sizes, stride: Sizes) -> bool:
    """Whether hardly any network has such a kernel and stride, as with 16 and 3, or 6 and 5.

    A kernel as large as its stride cuts the picture into patches, and is common.
    """
    size, step = spread(kernel, 1)[0], spread(stride, 1)[0]
    return size > step and (size >= 8 or step >= 3)


def axes(
    x: Shape,
    kernel: Sizes,
    stride: Sizes,
    pad: Padding,
    dilation: Sizes = 1,
    *,
    ceil: bool = False,
) -> tuple[Axis, ...]:
    """Return the axes of a window over a value (C, ...)."""
    extents = x[1:]
    count = len(extents)
    return tuple(
        Axis(size, taps, step, before, after, apart, ceil)
        for size, taps, step, (before, after), apart in zip(
            extents, spread(kernel, count), spread(stride, count), sides(pad, count),
            spread(dilation, count), strict=True,
        )
    )  # fmt: skip


def sees(window: Sequence[Axis]) -> tuple[tuple[int, float], ...]:
    """Return what one output of a window depends on, for `Op.sees`."""
    return tuple((axis.reach, axis.stride) for axis in window)


def same_padding(kernel: Sizes, dilation: Sizes, count: int) -> Padding:
    """Return the padding that keeps the size at stride 1.

    If it is odd, the extra row goes to the end.
    """
    missing = [
        d * (k - 1) for k, d in zip(spread(kernel, count), spread(dilation, count), strict=True)
    ]
    return tuple((each // 2, each - each // 2) for each in missing)


def torch_sides(pad: Padding, count: int) -> tuple[int, ...]:
    """Return the sides as `F.pad` takes them: the last axis first."""
    return tuple(number for pair in reversed(sides(pad, count)) for number in pair)


def onnx_sides(pads: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return the sides as ONNX's windows take them: all that are before, then all behind."""
    return (*(before for before, _ in pads), *(after for _, after in pads))


def onnx_padded(
    to: OnnxForm, x: OnnxValue, pads: Sequence[tuple[int, int]], value: float, mode: str = ""
) -> OnnxValue:
    """Return a picture with a frame around it, of one value unless there is another mode.

    A negative width cuts off. Widths may be formulas of open sizes.
    """
    befores, afters = zip(*pads, strict=True)
    widths = to.sizes((0, 0, *befores, 0, 0, *afters))
    if mode:
        return to("Pad", x, widths, mode=mode)
    return to("Pad", x, widths, to.float(value))


def onnx_read_window(
    given: FileAttributes, x: Shape, kernel: Sequence[int]
) -> dict[str, Any] | None:
    """Return the kernel, stride, pad and dilation of a window in a file; None for an unknown one."""
    count = len(x) - 1
    kernel = tuple(given.ints("kernel_shape") or kernel)
    strides = tuple(given.ints("strides") or (1,) * count)
    dilations = tuple(given.ints("dilations") or (1,) * count)
    numbers = tuple(given.ints("pads") or (0,) * 2 * count)
    if {len(kernel), len(strides), len(dilations), len(numbers) / 2} != {count}:
        return None
    pads = tuple(zip(numbers[:count], numbers[count:], strict=True))
    rule = given.text("auto_pad")
    if rule.startswith("SAME"):
        pads = tuple(
            _same_pads(size, k, s, d, upper=rule == "SAME_UPPER")
            for size, k, s, d in zip(x[1:], kernel, strides, dilations, strict=True)
        )
    elif rule == "VALID":
        pads = ((0, 0),) * count
    if any(not isinstance(side, int) or side < 0 for pair in pads for side in pair):
        return None
    even = len({side for pair in pads for side in pair}) == 1
    return {
        "kernel": joined(kernel), "stride": joined(strides),
        "pad": pads[0][0] if even else pads, "dilation": joined(dilations),
    }  # fmt: skip


def onnx_biased(
    read: OnnxReader, operator: str
) -> Iterable[tuple[OnnxReader, Found | None, Held | None]]:
    """Yield how a file may have a convolution: by itself, or with a summand for each channel behind
    it, which is its bias. Each is the reader of the convolution, what is found, and the bias.
    """
    if read.root.operator == operator:
        bias = read.given(2)
        yield read, None, None if bias is None else Held(bias)
        return
    found = read.pattern(f"Add({operator}(x, c_w), c_b)")
    shift = None if found is None else read.array(found.values["c_b"])
    if found is not None and shift is not None:
        inner, x = replace(read, root=found.covers[-1]), found.values["x"].shape
        if is_by_channel(shift, x, shift.size):
            yield inner, found, Held(found.values["c_b"], shift.reshape(-1))


def _same_pads(
    size: int, kernel: int, stride: int, dilation: int, *, upper: bool
) -> tuple[int, int]:
    """Return (before, after) with which there are ceil(size / stride) windows."""
    wanted = (size + stride - 1) // stride
    total = max((wanted - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def is_even(pad: Padding) -> bool:
    """Whether opposite sides are padded alike."""
    return not isinstance(pad, tuple) or all(before == after for before, after in pad)


def require_picture(op: str, shape: Shape) -> None:
    """Check that a shape is that of a picture (C, H, W).

    Raises:
        ShapeError: `shape/rank`.
    """
    if len(shape) != 3:
        raise ShapeError(
            codes.SHAPE_RANK, f"`{op}` needs a picture [N, channels, height, width],"
            f" not {_with_kind(shape)}",
        )  # fmt: skip


def require_axes(op: Op, x: Shape) -> None:
    """Check that a value has channels and one to three axes behind them, and that the attributes
    which are lists have an item for each of these axes.

    Raises:
        ShapeError: `shape/rank`.
    """
    count = len(x) - 1
    if not 1 <= count <= MAX_SPATIAL_AXES:
        raise ShapeError(
            codes.SHAPE_RANK,
            f"`{op.name}` needs a picture [N, channels, height, width], a signal or a volume,"
            f" not {show_shape(x)}",
        )
    for name in op.attributes():
        value: object = getattr(op, name)
        if not isinstance(value, tuple) or not isinstance(op.kind(name), (SizesOf, PaddingOf)):
            continue
        if len(value) != count:
            _refuse(op, name, value, x)


def _refuse(op: Op, name: str, value: tuple[Any, ...], x: Shape) -> None:
    count, kind = len(x) - 1, op.kind(name)
    fixes = []
    if len(set(value)) == 1:
        one = kind.show(value)
        fixes.append(Fix(name, one, f"the same for every axis: `{name} = {one}`"))
    elif isinstance(kind, PaddingOf) and count == 1 and len(value) == 2 and is_even(value):
        one = str([[before for before, _ in value]])
        fixes.append(Fix(name, one, f"before and after: `{name} = {one}`"))
    raise ShapeError(
        codes.SHAPE_RANK,
        f"`{name}` has {len(value)} {'item' if len(value) == 1 else 'items'}, as for a"
        f" {KINDS[len(value)]}, but {show_shape(x)} is a {KINDS[count]}",
        blame=name,
        notes=(f"behind its channels a {KINDS[count]} has {_listed(AXES[count])}",),
        fixes=fixes,
    )


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _with_kind(shape: Shape) -> str:
    """Show a shape, with the word for a value of so many axes where it has channels."""
    kind = KINDS.get(len(shape) - 1)
    return f"the {kind} {show_shape(shape)}" if kind in {"volume"} else show_shape(shape)


def by(sizes: Iterable[int]) -> str:
    """Show sizes as in 3x3."""
    return "x".join(str(size) for size in sizes)


def require_fit(op: str, window: Sequence[Axis], fixes: Iterable[Fix] = ()) -> None:
    """Check that a window is not larger than the padded picture.

    Raises:
        ShapeError: `shape/kernel-too-large`.
    """
    if all(axis.output >= 1 for axis in window):
        return
    size = by(axis.reach for axis in window)
    picture = by(axis.extent for axis in window)
    room = by(axis.before + axis.extent + axis.after for axis in window)
    padded = f" padded to {room}" if any(a.before or a.after for a in window) else ""
    dilated = any(axis.dilation > 1 for axis in window)
    count = len(window)
    notes = [
        f"{name}: {axis.formula}"
        for name, axis in zip(AXES[count], window, strict=True)
        if axis.output < 1
    ]
    if max(axis.extent for axis in window) <= _SMALL:
        notes.append("a size this small often means one pool or stride too many before")
    grow = max((axis.reach - axis.extent + 1) // 2 for axis in window)
    fit = min(axis.extent for axis in window)
    what = (
        f"{_with_article(picture)} {KINDS[count]}" if count > 1 else f"a signal of length {picture}"
    )
    raise ShapeError(
        codes.SHAPE_KERNEL_TOO_LARGE,
        f"{_with_article(size)} {'dilated ' if dilated else ''}kernel does not fit in {what}{padded}"
        if count > 1
        else f"a {'dilated ' if dilated else ''}kernel of {size} does not fit in {what}{padded}",
        blame="kernel",
        notes=notes,
        fixes=(
            *fixes,
            Fix("kernel", str(fit), f"the largest kernel that fits is {fit}: `kernel = {fit}`"),
            Fix("pad", str(grow), f"padding makes it fit: `pad = {grow}`"),
        ),
    )


def _with_article(size: str) -> str:
    """Return `a 3x3`, `an 8x8`: eight, eleven and eighteen begin with a vowel."""
    first = size.partition("x")[0]
    return f"an {size}" if first.startswith("8") or first in ("11", "18") else f"a {size}"


def unread_rows(node: Node, graph: Graph, window: Sequence[Axis]) -> Iterable[Finding]:
    """Yield a warning if a window never reads some rows or columns of the picture, although its
    kernel is as wide as its stride.
    """
    count = len(window)
    lost = [(axis, at) for at, axis in enumerate(window)
            if axis.kernel >= axis.stride and axis.unread]  # fmt: skip
    if not lost:
        return
    parts = []
    for axis, at in lost:
        first, last, what = axis.extent - axis.unread, axis.extent - 1, PLACES[count][at]
        parts.append(f"{what} {last}" if first == last else f"{what}s {first} to {last}")
    plural = len(lost) > 1 or lost[0][0].unread > 1
    picture = f"{by(axis.extent for axis in window)} {KINDS[count]}"
    if count == 1:
        picture = f"signal of length {window[0].extent}"
    yield Finding(
        codes.SHAPE_UNREAD_ROWS,
        f"{' and '.join(parts)} of the {picture} {'are' if plural else 'is'} never read",
        blame="stride" if any(axis.stride > 1 for axis, _ in lost) else "kernel",
        notes=tuple(dict.fromkeys(
            f"{AXES[count][at]}: {axis.formula}, and the division leaves a remainder of"
            f" {axis.unread}" for axis, at in lost
        )),
    )  # fmt: skip


# -- for the reference


def places(window: Sequence[Axis]) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Yield, for each output of a window, its index in a batch (N, C, ...), and the index of what
    it reads there.
    """
    every = (slice(None), slice(None))
    for at in itertools.product(*(range(axis.output) for axis in window)):
        taps = (axis.taps(i) for axis, i in zip(window, at, strict=True))
        yield (*every, *at), (*every, *taps)


def beside(numbers: Array, count: int) -> Array:
    """View (N, C) as (N, C, 1, ...) with `count` axes of size 1."""
    return numbers.reshape(*numbers.shape, *(1,) * count)


def spatial(x: Array) -> tuple[int, ...]:
    """Return the axes of a batch (N, C, ...) behind the channels."""
    return tuple(range(2, x.ndim))


def first_maximum(window: Array) -> Array:
    """Return where the first maximum of each channel of (N, C, ...) is, in row-major order."""
    flat = window.reshape(*window.shape[:2], -1)
    first: Array = np.arange(flat.shape[2]) == flat.argmax(axis=2)[:, :, None]
    return first.reshape(window.shape)
