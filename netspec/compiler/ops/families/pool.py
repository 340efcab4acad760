"""The base class of pools: their attributes, their shape rule and the loop over windows."""

from collections.abc import Iterable, Iterator
from typing import Any

from netspec.compiler.ir.attributes import flat, sides, spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import FileOperator
from netspec.compiler.ops.families.windows import (
    AXES,
    Axis,
    axes,
    by,
    is_even,
    onnx_read_window,
    places,
    require_axes,
    require_fit,
    sees,
    torch_sides,
    unread_rows,
)
from netspec.records import record


@record
class PoolOp(Op):
    """A window that slides over each channel separately."""

    kernel: Sizes = attribute(SizesOf(1), "size of the window")
    stride: Sizes | None = attribute(SizesOf(1), "step of the window; by default its size", None)
    pad: Padding = attribute(PaddingOf(same=False), "padding around the picture", 0)
    ceil_mode: bool = attribute(Bool(), "allow a last window that extends past the picture", False)

    storage = Storage.CHANNELS_LAST

    @property
    def step(self) -> Sizes:
        """The stride as numbers."""
        return self.kernel if self.stride is None else self.stride

    def resolved(self, *inputs: Shape) -> dict[str, object]:
        """A stride that is not given is the size of the window."""
        return {**super().resolved(*inputs), "stride": spread(self.step, len(inputs[0]) - 1)}

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """Return the window over a value (C, ...), by axis."""
        return axes(x, self.kernel, self.step, self.pad, ceil=self.ceil_mode)

    @classmethod
    def read_window(
        cls, pool: FileOperator, x: FileValue, pads: Array | None = None
    ) -> dict[str, Any] | None:
        """Return the attributes of a pool of a file, without `ceil_mode`; None if it is unlike any.

        Args:
            pool: the operator.
            x: what it reads, or what the frame is around that it reads.
            pads: the widths of that frame.
        """
        kernel = pool.attributes.ints("kernel_shape")
        if x.shape is None or not kernel or any(v.name for v in pool.outputs[1:]):
            return None
        window = onnx_read_window(pool.attributes, x.shape, kernel)
        if window is None:
            return None
        if window["stride"] == window["kernel"]:
            window["stride"] = None
        if pads is not None:
            before = pads.reshape(-1)[2 : len(x.shape) + 1].tolist()
            window["pad"] = before[0] if len(set(before)) == 1 else tuple((b, b) for b in before)
        return window

    def shape(self, *inputs: Shape) -> Shape:
        """(C, H', W') for a picture, with H' = floor or ceil((H + 2p - d (k - 1) - 1) / s) + 1."""
        (x,) = inputs
        require_axes(self, x)
        self._require_half(len(x) - 1)
        window = self.window(x)
        require_fit(self.name, window)
        return (x[0], *(axis.output for axis in window))

    def _require_half(self, count: int) -> None:
        """Check that no window can lie entirely in the padding."""
        kernel = spread(self.kernel, count)
        half = [size // 2 for size in kernel]
        if all(max(pair) <= h for pair, h in zip(sides(self.pad, count), half, strict=True)):
            return
        where = {1: ("before and behind",), 2: ("above and below", "left and right")}
        names = where.get(count, tuple(f"along the {name}" for name in AXES[count]))
        shares = ", ".join(f"{h} {name}" for h, name in zip(half, names, strict=True))
        raise ShapeError(
            codes.SHAPE_POOL_PADDING,
            f"a {by(kernel)} window may be padded by at most half its size: {shares}"
            if count > 1
            else f"a window of {kernel[0]} may be padded by at most half its size: {shares}",
            blame="pad",
            notes=("with more, some windows would lie entirely in the padding",),
            fixes=(Fix("pad", str(min(half)), f"pad by half the window: `pad = {min(half)}`"),),
        )

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """Return the extent and step of the window."""
        return sees(self.window(inputs[0]))

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """Return warnings about rows and columns that are never read."""
        (x,) = graph.shapes_into(node)
        return unread_rows(node, graph, self.window(x))

    def windows(self, x: Shape) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Yield for each output its index in a batch (N, C, ...), and that of what its window reads."""
        return places(self.window(x))

    def options(self, to: Lowering) -> dict[str, Any]:
        """Return the options that the kernels of pools take."""
        count = len(to.node.shape) - 1
        return {
            "kernel": spread(self.kernel, count),
            "stride": spread(self.step, count),
            "pad": flat(self.pad, count),
        }

    def torch_padding(self, count: int, value: float) -> tuple[Any, tuple[int, ...]]:
        """Return the input for the PyTorch module, and the padding that the module does itself.

        The input goes through `F.pad` if opposite sides are padded differently.
        """
        if is_even(self.pad):
            return X(0), flat(self.pad, count)[::2]
        padded = Torch(
            "F.pad", (X(0), torch_sides(self.pad, count)), {"value": value}, defaults={"value": 0.0}
        )
        return padded, (0,) * count

    @staticmethod
    def even_pad(window: dict[str, Any]) -> dict[str, Any] | None:
        """Return a window with the padding that is before on both sides; None if it has that."""
        pad = window["pad"]
        if not isinstance(pad, tuple):
            return None
        before = {side for side, _ in pad}
        even = tuple((side, side) for side, _ in pad)
        return {**window, "pad": before.pop() if len(before) == 1 else even}

    def onnx_pads(self, x: Shape) -> tuple[tuple[int, int], ...]:
        """Return (before, after) for each axis with which the last window fits, as `ceil_mode` needs.

        ONNX's own `ceil_mode` has another rule. What is behind the padding may be negative: rows
        that no window reads are cut off.
        """
        if not self.ceil_mode:
            return sides(self.pad, len(x) - 1)
        return tuple(
            (a.before, (a.output - 1) * a.stride + a.reach - a.extent - a.before)
            for a in self.window(x)
        )

    def onnx_window(self, count: int) -> dict[str, tuple[int, ...]]:
        """Return the kernel and the strides as ONNX's pools take them."""
        return {
            "kernel_shape": spread(self.kernel, count), "strides": spread(self.step, count)
        }  # fmt: skip
