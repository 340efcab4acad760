"""The base class of adaptive pools: PyTorch's rule for their windows, and when they equal a plain
pool.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from netspec.compiler.ir.attributes import spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import require_axes


@dataclass(frozen=True)
class AdaptivePoolOp(Op):
    """A pool whose windows are chosen so that the output has a given size.

    Attributes:
        onnx_pool: ONNX's operator for windows of equal size.
        onnx_reduction: ONNX's operator for one window.
    """

    size: Sizes = attribute(SizesOf(1), "height and width of the output")

    storage = Storage.CHANNELS_LAST

    onnx_pool: ClassVar[str]
    onnx_reduction: ClassVar[str]

    def cells(self, count: int) -> tuple[int, ...]:
        """Return the size of the output along each of `count` axes."""
        return spread(self.size, count)

    def shape(self, *inputs: Shape) -> Shape:
        """(C, size, size) for a picture."""
        (x,) = inputs
        require_axes(self, x)
        return (x[0], *self.cells(len(x) - 1))

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """Return the extent of the largest window, or None if one window covers the whole picture."""
        cells = self.cells(len(inputs[0]) - 1)
        if max(cells) == 1:
            return None
        return tuple(
            ((size + c - 1) // c + (1 if size % c else 0), (size + c - 1) // c)
            for size, c in zip(inputs[0][1:], cells, strict=True)
        )

    def windows(self, x: Shape) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Yield the index of each cell in a batch (N, C, ...), and that of what it reads: floor(i H
        / size) to ceil((i + 1) H / size).
        """
        count, every = len(x) - 1, (slice(None), slice(None))
        cells = self.cells(count)
        for at in itertools.product(*map(range, cells)):
            taps = (
                slice(i * pixels // c, -(-(i + 1) * pixels // c))
                for i, c, pixels in zip(at, cells, x[1:], strict=True)
            )
            yield (*every, *at), (*every, *taps)

    def plain_pool(self, x: Shape) -> dict[str, Any] | None:
        """Return the options of a plain pool that does the same in fewer passes; None if there may
        be none.
        """
        cells = self.cells(len(x) - 1)
        if any(size % c != 0 for size, c in zip(x[1:], cells, strict=True)):
            return None
        kernel = tuple(size // c for size, c in zip(x[1:], cells, strict=True))
        if math.prod(kernel) > math.prod(cells):
            return None
        return {"kernel": kernel, "stride": kernel, "pad": (0, 0) * len(kernel)}

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """The global pool, a plain one, or one reduction for each window along an axis."""
        (x,) = to.x_shapes
        cells = self.cells(len(x) - 1)
        if set(cells) == {1}:
            return to(f"Global{self.onnx_pool}", to.x[0])
        if all(
            isinstance(size, int) and size % c == 0 for size, c in zip(x[1:], cells, strict=True)
        ):
            kernel = tuple(size // c for size, c in zip(x[1:], cells, strict=True))
            return to(self.onnx_pool, to.x[0], kernel_shape=kernel, strides=kernel)
        value = to.x[0]
        for axis, (size, count) in enumerate(zip(x[1:], cells, strict=True), 2):
            parts = []
            for i in range(count):
                start, stop = i * size // count, ((i + 1) * size + count - 1) // count
                window = to.part(value, axis, start, stop)
                parts.append(to.reduced(self.onnx_reduction, window, (axis,)))
            value = to("Concat", *parts, axis=axis) if count > 1 else parts[0]
        return value
