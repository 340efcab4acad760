"""The base class of pools: their attributes, their shape rule and the loop over windows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import (
    Axis,
    axes,
    require_fit,
    require_picture,
    sees,
    unread_rows,
)


@dataclass(frozen=True)
class PoolOp(Op):
    """A window that slides over each channel separately."""

    kernel: Pair = attribute(PairOf(1), "size of the window")
    stride: Pair | None = attribute(PairOf(1), "step of the window; by default its size", None)
    pad: Padding = attribute(PaddingOf(same=False), "padding around the picture", 0)
    ceil_mode: bool = attribute(Bool(), "allow a last window that extends past the picture", False)

    @property
    def step(self) -> Pair:
        """The stride as numbers."""
        return self.stride or self.kernel

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """Return the window over a picture (C, H, W), by axis."""
        return axes(x, self.kernel, self.step, self.pad, (1, 1), ceil=self.ceil_mode)

    def shape(self, *inputs: Shape) -> Shape:
        """(C, H', W') with H' = floor or ceil((H + 2p - d (k - 1) - 1) / s) + 1."""
        (x,) = inputs
        require_picture(self.name, x)
        half = (self.kernel[0] // 2, self.kernel[1] // 2)
        most = (half[0], half[0], half[1], half[1])
        if any(p > m for p, m in zip(self.pad, most, strict=True)):
            raise ShapeError(
                codes.SHAPE_POOL_PADDING,
                f"a {self.kernel[0]}x{self.kernel[1]} window may be padded by at most half its"
                f" size: {half[0]} above and below, {half[1]} left and right",
                blame="pad",
                notes=("with more, some windows would lie entirely in the padding",),
                fixes=(Fix("pad", str(min(half)), f"pad by half the window: `pad = {min(half)}`"),),
            )
        window = self.window(x)
        require_fit(self.name, window)
        return (x[0], window[0].output, window[1].output)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], tuple[int, float]] | None:
        """Return the extent and step of the window."""
        return sees(self.window(inputs[0]))

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """Return warnings about rows and columns that are never read."""
        (x,) = graph.shapes_into(node)
        return unread_rows(node, graph, self.window(x))

    def windows(self, x: Shape) -> Iterator[tuple[int, int, slice, slice]]:
        """Yield each output pixel (i, j) with the rows and columns of the picture that its window
        reads.
        """
        across = self.window(x)

        def taps(axis: Axis, i: int) -> slice:
            start = i * axis.stride - axis.before
            skipped = -(start // axis.dilation) if start < 0 else 0
            end = min(start + axis.reach, axis.extent)
            return slice(start + skipped * axis.dilation, end, axis.dilation)

        for i in range(across[0].output):
            for j in range(across[1].output):
                yield i, j, taps(across[0], i), taps(across[1], j)

    def options(self) -> dict[str, Any]:
        """Return the options that the kernels of pools take."""
        return {"kernel": self.kernel, "stride": self.step, "pad": self.pad}

    def torch_padding(self, value: float) -> tuple[Any, tuple[int, int]]:
        """Return the input for the PyTorch module, and the padding that the module does itself.

        The input goes through `F.pad` if opposite sides are padded differently.
        """
        top, bottom, left, right = self.pad
        if (top, left) == (bottom, right):
            return X(0), (top, left)
        sides = (left, right, top, bottom)
        padded = Torch("F.pad", (X(0), sides), {"value": value}, defaults={"value": 0.0})
        return padded, (0, 0)
