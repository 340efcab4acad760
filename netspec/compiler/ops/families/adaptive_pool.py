"""The base class of adaptive pools: PyTorch's rule for their windows, and when they equal a plain
pool.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from netspec.compiler.ir.aten_form import AtenCall
from netspec.compiler.ir.attributes import spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import joined
from netspec.compiler.ir.sizes import is_known, typical
from netspec.compiler.ops.families.windows import require_axes
from netspec.records import record


def torch_pool(kind: str, cells: tuple[int, ...]) -> Torch:
    """PyTorch's adaptive pool to `cells`, one number an axis; `kind` is `avg` or `max`."""
    count = len(cells)
    module = f"nn.Adaptive{kind.capitalize()}Pool{count}d"
    return Torch(f"F.adaptive_{kind}_pool{count}d", (X(0), cells), pairs=True, as_module=module)


def of_whole_picture(kind: str) -> AtenForm:
    """Return the form of a plain pool, `avg` or `max`, whose window is the whole picture because the
    code computes it from the picture's size: it then is as large as any picture.
    """

    def unless(call: AtenCall) -> None:
        sizes = call.tensor("self").shape[1:]
        kernel = call.numbers("kernel_size")
        kernel = kernel * len(sizes) if len(kernel) == 1 else kernel
        is_whole = kernel == sizes and not any(call.numbers("padding"))
        others = call.arguments.get("divisor_override"), call.arguments.get("dilation")
        plain = others[0] is None and others[1] in (None, 1, (1,) * len(sizes))
        call.require(is_whole and plain, "its window is not the picture")

    return AtenForm(
        tuple(f"{kind}_pool{count}d" for count in (1, 2, 3)), attributes={"size": lambda _: 1},
        unless=unless, computes="kernel_size",
    )  # fmt: skip


@record
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
        if typical(math.prod(kernel)) > math.prod(cells):
            return None
        return {"kernel": kernel, "stride": kernel, "pad": (0, 0) * len(kernel)}

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """The pool over everything, or a plain one that could be an adaptive one."""
        x = read.root.inputs[0]
        if x is None or x.shape is None:
            return
        if read.root.operator.startswith("Global"):
            yield read.form(cls(1), x)
            return
        if read.root.operator == "Concat":
            yield from cls._from_windows(read)
            return
        kernel = read.attributes.ints("kernel_shape")
        if len(kernel) == len(x.shape) - 1 and is_known(x.shape):
            sides = list(zip(x.shape[1:], kernel, strict=True))
            # Other sizes would be an operator for each window, of which there may be very many.
            if all(0 < k <= size and size % k == 0 for size, k in sides):
                yield read.form(cls(joined([size // k for size, k in sides])), x)

    @classmethod
    def _from_windows(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """Yield the pool whose windows have been joined along each axis."""
        cells: list[int] = []
        at: FileValue | None = read.root.outputs[0]
        while at is not None and len(cells) < 3:
            joint = read.behind(at, "Concat")
            first = None if joint is None else read.behind(joint.inputs[0], cls.onnx_reduction)
            window = None if first is None else read.behind(first.inputs[0], "Slice")
            if joint is None or window is None:
                break
            cells.insert(0, len(joint.inputs))
            at = window.inputs[0]
        if at is not None and at.shape is not None and cells and len(cells) == len(at.shape) - 1:
            yield read.form(cls(joined(cells)), at)

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
