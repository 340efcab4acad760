"""The geometry of sliding windows, which convolutions and pools share."""

from collections.abc import Iterable
from dataclasses import dataclass

from netspec.compiler.ir.contract import *

AXES = ("height", "width")

# Options of PyTorch's convolutions that are left out when they have these values.
TORCH_DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}


@dataclass(frozen=True, slots=True)
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


def is_unlikely(kernel: Pair, stride: Pair) -> bool:
    """Whether hardly any network has such a kernel and stride, as with 16 and 3, or 6 and 5.

    A kernel as large as its stride cuts the picture into patches, and is common.
    """
    (size, _), (step, _) = kernel, stride
    return size > step and (size >= 8 or step >= 3)


def axes(
    picture: Shape,
    kernel: Pair,
    stride: Pair,
    pad: Padding,
    dilation: Pair,
    *,
    ceil: bool = False,
) -> tuple[Axis, Axis]:
    """Return the two axes of a window over a picture (C, H, W)."""
    _, height, width = picture
    top, bottom, left, right = pad
    return (
        Axis(height, kernel[0], stride[0], top, bottom, dilation[0], ceil),
        Axis(width, kernel[1], stride[1], left, right, dilation[1], ceil),
    )


def sees(window: tuple[Axis, Axis]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what one output of a window depends on, for `Op.sees`."""
    height, width = window
    return (height.reach, height.stride), (width.reach, width.stride)


def same_padding(kernel: Pair, dilation: Pair) -> Padding:
    """Return the padding that keeps the size at stride 1.

    If it is odd, the extra row goes to the end.
    """
    (top, height), (left, width) = (
        ((d * (k - 1)) // 2, d * (k - 1)) for k, d in zip(kernel, dilation, strict=True)
    )
    return top, height - top, left, width - left


def require_picture(op: str, shape: Shape) -> None:
    """Check that a shape is that of a picture (C, H, W).

    Raises:
        ShapeError: `shape/rank`.
    """
    if len(shape) != 3:
        raise ShapeError(
            codes.SHAPE_RANK, f"`{op}` needs a picture [N, channels, height, width],"
            f" not {show_shape(shape)}",
        )  # fmt: skip


def require_fit(op: str, window: tuple[Axis, Axis], fixes: Iterable[Fix] = ()) -> None:
    """Check that a window is not larger than the padded picture.

    Raises:
        ShapeError: `shape/kernel-too-large`.
    """
    if all(axis.output >= 1 for axis in window):
        return
    size = f"{window[0].reach}x{window[1].reach}"
    picture = f"{window[0].extent}x{window[1].extent}"
    room = [axis.before + axis.extent + axis.after for axis in window]
    padded = f" padded to {room[0]}x{room[1]}" if any(a.before or a.after for a in window) else ""
    dilated = any(axis.dilation > 1 for axis in window)
    notes = [
        f"{name}: {axis.formula}"
        for name, axis in zip(AXES, window, strict=True)
        if axis.output < 1
    ]
    grow = max((axis.reach - axis.extent + 1) // 2 for axis in window)
    fit = min(axis.extent for axis in window)
    raise ShapeError(
        codes.SHAPE_KERNEL_TOO_LARGE,
        f"a {size} {'dilated ' if dilated else ''}kernel does not fit in a {picture} picture{padded}",
        blame="kernel",
        notes=notes,
        fixes=(
            *fixes,
            Fix("kernel", str(fit), f"the largest kernel that fits is {fit}: `kernel = {fit}`"),
            Fix("pad", str(grow), f"padding makes it fit: `pad = {grow}`"),
        ),
    )


def unread_rows(node: Node, graph: Graph, window: tuple[Axis, Axis]) -> Iterable[Finding]:
    """Yield a warning if a window never reads some rows or columns of the picture, although its
    kernel is as wide as its stride.
    """
    lost = [(axis, w) for axis, w in zip(window, ("row", "column"), strict=True)
            if axis.kernel >= axis.stride and axis.unread]  # fmt: skip
    if not lost:
        return
    parts = []
    for axis, what in lost:
        first, last = axis.extent - axis.unread, axis.extent - 1
        parts.append(f"{what} {last}" if first == last else f"{what}s {first} to {last}")
    plural = len(lost) > 1 or lost[0][0].unread > 1
    picture = f"{window[0].extent}x{window[1].extent}"
    yield Finding(
        codes.SHAPE_UNREAD_ROWS,
        f"{' and '.join(parts)} of the {picture} picture {'are' if plural else 'is'} never read",
        blame="stride" if any(axis.stride > 1 for axis, _ in lost) else "kernel",
        notes=tuple(dict.fromkeys(
            f"{AXES[what == 'column']}: {axis.formula}, and the division leaves a remainder of"
            f" {axis.unread}" for axis, what in lost
        )),
    )  # fmt: skip


def first_maximum(window: Array) -> Array:
    """Return where the first maximum of each picture of (N, C, H, W) is, row by row."""
    flat = window.reshape(*window.shape[:2], -1)
    first: Array = np.arange(flat.shape[2]) == flat.argmax(axis=2)[:, :, None]
    return first.reshape(window.shape)
