"""Maximum pooling."""

import math
from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.attributes import flat, spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.pool import PoolOp
from netspec.compiler.ops.families.windows import (
    Axis,
    axes,
    beside,
    first_maximum,
    onnx_padded,
    onnx_sides,
    spatial,
)


@register
class MaxPool(PoolOp):
    """Maximum of each window; padding never wins.

    y[n, c, i, j] = max_{k, l} x[n, c, s i + d k - p, s j + d l - p], where padding counts as -inf.

    With g = dL/dy:
        dL/dx[n, c, h, w] = sum of g[n, c, i, j] over the windows (i, j) whose first maximum, row by row,
        is the pixel (h, w)

    Windows may overlap, so a pixel may be the maximum of several: their gradients add up.
    """

    dilation: Sizes = attribute(SizesOf(1), "distance between the taps of a window", 1)

    name = "max_pool"
    onnx_ends = ("MaxPool",)
    takes_max = True
    aten = (
        AtenForm(
            ("max_pool1d", "max_pool2d", "max_pool3d"),
            attributes={
                "kernel": "kernel_size",
                "stride": lambda call: (
                    None if call["stride"] in ((), call["kernel_size"]) else call["stride"]
                ),
                "pad": "padding",
                "ceil_mode": "ceil_mode",
                "dilation": "dilation",
            },
        ),
    )
    examples = (
        Example("max_pool(2)", ((3, 4, 6),)),
        Example("max_pool(3, stride = 2, pad = 1)", ((2, 7, 8),)),
        Example("max_pool(3, stride = 2)", ((2, 7, 8),)),
        Example("max_pool([2, 3], stride = [1, 2])", ((2, 5, 7),)),
        Example("max_pool(3, stride = 2, ceil_mode = true)", ((2, 6, 6),)),
        Example("max_pool(2, stride = 1, dilation = 2)", ((2, 5, 5),)),
        Example("max_pool(2, pad = [[1, 0], [0, 1]])", ((2, 5, 5),)),
        Example("max_pool(3, stride = 2, pad = 1)", ((2, 7),)),
        Example("max_pool(2, stride = 3, dilation = 2, pad = [[1, 0]])", ((3, 8),)),
        Example("max_pool(2)", ((2, 4, 2, 6),)),
        Example("max_pool([2, 3, 1], stride = [1, 2, 2], pad = [1, 1, 0])", ((2, 3, 4, 3),)),
    )
    bad_examples = (
        BadExample("max_pool(2)", ((3, 1, 1),), codes.SHAPE_KERNEL_TOO_LARGE),
        BadExample("max_pool(2)", ((10,),), codes.SHAPE_RANK),
        BadExample("max_pool([2, 2])", ((3, 10),), codes.SHAPE_RANK),
        BadExample("max_pool(2, pad = 2)", ((3, 6, 6),), codes.SHAPE_POOL_PADDING),
        BadExample("max_pool(0)", ((3, 6, 6),), codes.CALL_VALUE),
    )

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The window with its dilation."""
        return axes(x, self.kernel, self.step, self.pad, self.dilation, ceil=self.ceil_mode)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Each output pixel from its window."""
        y = np.empty((len(x[0]), *self.shape(x[0].shape[1:])), x[0].dtype)
        for at, taps in self.windows(x[0].shape[1:]):
            y[at] = x[0][taps].max(axis=spatial(x[0]))
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each output pixel sends its gradient to the first maximum of its window."""
        dx = np.zeros_like(x[0])
        for at, taps in self.windows(x[0].shape[1:]):
            dx[taps] += first_maximum(x[0][taps]) * beside(dy[at], dy.ndim - 2)
        return (dx,)

    def pattern(self, *x: Array) -> Array | None:
        """The index of the tap of each window that is its first maximum."""
        from netspec.kernels.windows import Window, taps_of

        count = x[0].ndim - 2
        outputs = self.shape(x[0].shape[1:])[1:]
        best = np.full((*x[0].shape[:2], *outputs), -np.inf)
        first = np.zeros(best.shape, np.int32)
        window = Window(
            spread(self.kernel, count), spread(self.step, count), flat(self.pad, count),
            spread(self.dilation, count),
        )  # fmt: skip
        every = slice(None)
        for number, (reached, read) in enumerate(taps_of(window, outputs, x[0].shape[2:])):
            place, seen = (every, *reached), x[0][(every, *read)]
            first[place][seen > best[place]] = number
            np.maximum(best[place], seen, out=best[place])
        return first

    def lower(self, to: Lowering) -> None:
        """One pass over the output for each tap of the window."""
        to.call(
            "pool.max_forward", to.x[0], to.out, to.scratch,
            writes=[to.out], **self.options(to), dilation=spread(self.dilation, len(to.node.shape) - 1),
            scratch=to.needs("pool.max_scratch_size", (to.x[0].shape, to.out.shape)),
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """The kernel searches for the maxima again, which is cheaper than saving their positions."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call(
                "pool.max_backward", to.x[0], to.out, to.dy, dx, to.scratch,
                writes=[dx], **self.options(to), dilation=spread(self.dilation, len(to.node.shape) - 1),
                scratch=to.needs(
                    "pool.scratch_size", (to.out.shape,),
                    kernel=spread(self.kernel, len(to.node.shape) - 1),
                ),
            )  # fmt: skip
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.max_pool2d` for pictures."""
        count = len(inputs[0]) - 1
        source, pad = self.torch_padding(count, float("-inf"))
        kernel = spread(self.kernel, count)
        options: dict[str, Any] = {"stride": spread(self.step, count), "padding": pad}
        options |= {"dilation": spread(self.dilation, count), "ceil_mode": self.ceil_mode}
        defaults = {"stride": kernel, "padding": 0, "dilation": 1, "ceil_mode": False}
        return Torch(
            f"F.max_pool{count}d", (source, kernel), options,
            defaults=defaults, pairs=True, as_module=f"nn.MaxPool{count}d",
        )  # fmt: skip

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`MaxPool`; rows behind the padding may be those of `ceil_mode`."""
        x = read.root.inputs[0]
        window = None if x is None else cls.read_window(read.root, x)
        if x is not None and window is not None:
            ceil = bool(read.attributes.whole("ceil_mode"))
            yield read.layer(cls(ceil_mode=ceil, **window), x)
            even = cls.even_pad(window)
            if even is not None:
                yield read.form(cls(ceil_mode=True, **even), x)
        framed = read.pattern("MaxPool(Pad(x, c_pads, c_value))")
        if framed is not None:
            x, pads = framed.values["x"], read.array(framed.values["c_pads"])
            window = cls.read_window(read.root, x, pads)
            if window is not None:
                yield read.form(cls(ceil_mode=True, **window), x)
                yield read.form(cls(**window), x)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`MaxPool`, behind a frame of -inf where the pool's own padding cannot be as wide."""
        count = len(to.shape) - 1
        options = {**self.onnx_window(count), "dilations": spread(self.dilation, count)}
        pads = self.onnx_pads(to.x_shapes[0])
        kernel = spread(self.kernel, count)
        own = all(
            isinstance(after, int) and 0 <= after < size and before < size
            for (before, after), size in zip(pads, kernel, strict=True)
        )
        if own:
            return to("MaxPool", to.x[0], pads=onnx_sides(pads), **options)
        return to("MaxPool", onnx_padded(to, to.x[0], pads, -math.inf), **options)
