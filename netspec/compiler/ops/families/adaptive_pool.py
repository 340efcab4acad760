"""The base class of adaptive pools: PyTorch's rule for their windows, and when they equal a plain
pool.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import require_picture


@dataclass(frozen=True)
class AdaptivePoolOp(Op):
    """A pool whose windows are chosen so that the output has a given size."""

    size: Pair = attribute(PairOf(1), "height and width of the output")

    def shape(self, *inputs: Shape) -> Shape:
        """(C, size, size)."""
        (x,) = inputs
        require_picture(self.name, x)
        return (x[0], *self.size)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], tuple[int, float]] | None:
        """Return the extent of the largest window, or None if one window covers the whole picture."""
        if self.size == (1, 1):
            return None
        tall, wide = (
            ((size + cells - 1) // cells + (1 if size % cells else 0), (size + cells - 1) // cells)
            for size, cells in zip(inputs[0][1:], self.size, strict=True)
        )
        return tall, wide

    def windows(self, x: Shape) -> Iterator[tuple[int, int, slice, slice]]:
        """Yield each cell (i, j) with its pixels: floor(i H / size) to ceil((i + 1) H / size)."""

        def window(i: int, cells: int, pixels: int) -> slice:
            return slice(i * pixels // cells, -(-(i + 1) * pixels // cells))

        for i in range(self.size[0]):
            for j in range(self.size[1]):
                yield i, j, window(i, self.size[0], x[1]), window(j, self.size[1], x[2])

    def plain_pool(self, x: Shape) -> dict[str, Any] | None:
        """Return the options of a plain pool that does the same in fewer passes; None if there may
        be none.
        """
        (_, height, width), (high, wide) = x, self.size
        if height % high != 0 or width % wide != 0:
            return None
        kernel = (height // high, width // wide)
        if kernel[0] * kernel[1] > high * wide:
            return None
        return {"kernel": kernel, "stride": kernel, "pad": (0, 0, 0, 0)}
