"""Average pooling."""

import math
from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.attributes import sides, spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.pool import PoolOp
from netspec.compiler.ops.families.windows import (
    beside,
    is_even,
    onnx_padded,
    onnx_sides,
    require_axes,
    spatial,
    torch_sides,
)

UNEVEN_PADDING = Code.error(
    "shape/uneven-padding", "padding that the layer's other attributes do not allow"
)

_POOLS = (
    "AveragePool(x)",
    "Div(AveragePool(Pad(x, c_pads, c_value)), shares)",
    "Mul(AveragePool(x), c_factor)",
    "Mul(AveragePool(Pad(x, c_pads, c_value)), c_factor)",
)


@register
class AvgPool(PoolOp):
    """Mean of each window: y = sum over the window of x / size, dL/dx = sum over windows of g / size.

    y[n, c, i, j] = sum_{k, l} x[n, c, s i + k - p, s j + l - p] / size

    With g = dL/dy:
        dL/dx[n, c, h, w] = sum of g[n, c, i, j] / size over the windows (i, j) that hold the pixel (h, w)

    The size counts the padding unless `count_include_pad` is false, as in PyTorch; a `divisor` takes
    its place. Source: LeCun et al.
    1998, whose subsampling also scales and shifts.
    """

    count_include_pad: bool = attribute(Bool(), "count padding in the size of a window", True)
    divisor: int | None = attribute(Int(1), "what to divide by in place of the size", None)

    name = "avg_pool"
    onnx_ends = ("AveragePool", "Mul", "Div")
    aten = (
        AtenForm(
            ("avg_pool1d", "avg_pool2d", "avg_pool3d"),
            attributes={
                "kernel": "kernel_size",
                "stride": lambda call: (
                    None if call["stride"] in ((), call["kernel_size"]) else call["stride"]
                ),
                "pad": "padding",
                "ceil_mode": "ceil_mode",
                "count_include_pad": "count_include_pad",
                "divisor": lambda call: call.arguments.get("divisor_override"),
            },
        ),
    )
    examples = (
        Example("avg_pool(2)", ((3, 4, 6),)),
        Example("avg_pool(3, stride = 2, pad = 1)", ((2, 7, 8),)),
        Example("avg_pool(3, stride = 2, pad = 1, count_include_pad = false)", ((2, 7, 8),)),
        Example("avg_pool([2, 3], stride = [1, 2])", ((2, 5, 7),)),
        Example("avg_pool(3, stride = 2, pad = 1, ceil_mode = true)", ((2, 6, 6),)),
        Example("avg_pool(2, pad = [[1, 0], [0, 1]])", ((2, 5, 5),)),
        Example("avg_pool(2, pad = [[1, 0], [0, 1]], count_include_pad = false)", ((2, 5, 5),)),
        Example("avg_pool(3, stride = 2, pad = 1, divisor = 4)", ((2, 5, 6),)),
        Example("avg_pool(2, pad = [[1, 0], [0, 1]], divisor = 3)", ((2, 5, 5),)),
        Example("avg_pool(3, stride = 2, pad = 1, ceil_mode = true)", ((2, 8),)),
        Example("avg_pool(2, pad = [[0, 1]], count_include_pad = false)", ((3, 5),)),
        Example("avg_pool(3, 2, pad = 1, count_include_pad = false)", ((2, 4, 3, 5),)),
        Example("avg_pool([2, 1, 3], divisor = 5)", ((2, 4, 2, 3),)),
    )
    bad_examples = (
        BadExample("avg_pool(5)", ((3, 4, 4),), codes.SHAPE_KERNEL_TOO_LARGE),
        BadExample("avg_pool(2, pad = 2)", ((3, 6, 6),), codes.SHAPE_POOL_PADDING),
        BadExample("avg_pool(2, pad = 2)", ((3, 6),), codes.SHAPE_POOL_PADDING),
        BadExample("avg_pool([2, 2, 2])", ((3, 6, 6),), codes.SHAPE_RANK),
        BadExample("avg_pool(2, divisor = 0)", ((3, 6, 6),), codes.CALL_VALUE),
        BadExample(
            "avg_pool(2, pad = [[1, 0], [0, 0]], ceil_mode = true)",
            ((3, 6, 6),),
            UNEVEN_PADDING,
        ),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of every pool, where no window reaches past uneven padding."""
        require_axes(self, inputs[0])
        if not is_even(self.pad) and self.ceil_mode:
            raise ShapeError(
                UNEVEN_PADDING,
                "`ceil_mode` needs the same padding on both sides",
                blame="pad",
            )
        return super().shape(*inputs)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Each output pixel from its window."""
        picture = x[0].shape[1:]
        y = np.empty((len(x[0]), *self.shape(picture)), x[0].dtype)
        for at, taps in self.windows(picture):
            y[at] = x[0][taps].sum(axis=spatial(x[0])) / self._size(picture, at[2:])
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each output pixel spreads its gradient evenly over its window."""
        picture = x[0].shape[1:]
        dx = np.zeros_like(x[0])
        for at, taps in self.windows(picture):
            dx[taps] += beside(dy[at], dy.ndim - 2) / self._size(picture, at[2:])
        return (dx,)

    def _size(self, picture: Shape, outputs: tuple[int, ...]) -> int:
        """The number of pixels by which the sum over a window is divided."""
        if self.divisor is not None:
            return self.divisor
        size = 1
        for axis, at in zip(self.window(picture), outputs, strict=True):
            start = at * axis.stride - axis.before
            end = start + axis.kernel
            if self.count_include_pad:
                size *= min(end, axis.extent + axis.after) - start
            else:
                size *= min(end, axis.extent) - max(start, 0)
        return size

    def options(self, to: Lowering) -> dict[str, Any]:
        """Those of every pool, and what the sums are divided by."""
        more: dict[str, Any] = {"count_include_pad": self.count_include_pad}
        if self.divisor is not None:
            more["divisor"] = self.divisor
        return super().options(to) | more

    def lower(self, to: Lowering) -> None:
        """One pass over the output for each tap of the window."""
        to.call("pool.avg_forward", to.x[0], to.out, writes=[to.out], **self.options(to))

    def lower_backward(self, to: Lowering) -> None:
        """One pass over the output for each tap of the window."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call(
                "pool.avg_backward", to.dy, dx, to.scratch, writes=[dx],
                scratch=to.needs("pool.avg_scratch_size", (to.out.shape,)), **self.options(to),
            )  # fmt: skip
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.avg_pool2d` for pictures.

        It counts what `F.pad` puts around the picture. Where that is not to be counted, the mean of
        the padded picture is divided by that of padded ones.
        """
        count = len(inputs[0]) - 1
        source, pad = self.torch_padding(count, 0.0)
        mean = self._mean(count, source, pad)
        if is_even(self.pad) or self.count_include_pad or self.divisor is not None:
            return mean
        ones = Torch("torch.ones_like", (X(0),))
        padded = Torch("F.pad", (ones, torch_sides(self.pad, count)))
        return Torch("torch.true_divide", (mean, self._mean(count, padded, pad)))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`AveragePool`, or one of the forms that `ceil_mode` and `divisor` have."""
        for text in _POOLS:
            found = read.pattern(text)
            if found is None:
                continue
            (pool, *_) = (op for op in found.covers if op.operator == "AveragePool")
            x, pads = found.values["x"], found.values.get("c_pads")
            window = cls.read_window(pool, x, None if pads is None else read.array(pads))
            if window is None or window.pop("dilation") != 1:
                continue
            if pool is not read.root:
                yield from cls._by_form(read, window, x, found.values.get("c_factor"))
                continue
            counted = bool(pool.attributes.whole("count_include_pad")) or window["pad"] == 0
            options = {
                "count_include_pad": counted,
                "ceil_mode": bool(pool.attributes.whole("ceil_mode")),
            }
            yield read.layer(cls(**window, **options), x)

    @classmethod
    def _by_form(
        cls, read: OnnxReader, window: dict[str, Any], x: FileValue, factor: FileValue | None
    ) -> Iterable[OnnxLayer | None]:
        size, number = math.prod(spread(window["kernel"], len(x.shape or (1,)) - 1)), 1.0
        if factor is not None:
            number = read.number(factor) or 0.0
        if number <= 0:
            return
        divisor = None if factor is None else max(round(size / number), 1)
        for counted in (True, False):
            for ceil in (True, False):
                op = cls(count_include_pad=counted, ceil_mode=ceil, divisor=divisor, **window)
                yield read.form(op, x)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`AveragePool`; where windows reach past the padding, that of the picture over that of ones."""
        count = len(to.shape) - 1
        options, pads = self.onnx_window(count), sides(self.pad, count)
        if not self.ceil_mode:
            counted = int(self.count_include_pad or self.divisor is not None)
            mean = to(
                "AveragePool", to.x[0], pads=onnx_sides(pads), count_include_pad=counted, **options
            )
            if self.divisor is None:
                return mean
        else:
            fit = self.onnx_pads(to.x_shapes[0])
            mean = to("AveragePool", onnx_padded(to, to.x[0], fit, 0.0), **options)
            if self.divisor is None:
                return to("Div", mean, self._onnx_shares(to, fit))
        return to("Mul", mean, to.float(math.prod(spread(self.kernel, count)) / self.divisor))

    def _onnx_shares(self, to: OnnxForm, fit: tuple[tuple[int, int], ...]) -> OnnxValue:
        """Return how much of each window counts, where the last ones reach past the padding."""
        count = len(to.shape) - 1
        pads = sides(self.pad, count)
        ones = to("Expand", to.float(1), to.sizes((1, 1, *to.x_shapes[0][1:])))
        framed = onnx_padded(to, ones, pads, float(self.count_include_pad))
        behind = tuple((0, f - p) for (_, f), (_, p) in zip(fit, pads, strict=True))
        shares = onnx_padded(to, framed, behind, 0.0)
        return to("AveragePool", shares, **self.onnx_window(count))

    def _mean(self, count: int, source: object, pad: tuple[int, ...]) -> Torch:
        kernel = spread(self.kernel, count)
        options = {
            "stride": spread(self.step, count), "padding": pad, "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad or not is_even(self.pad),
        }  # fmt: skip
        defaults = {
            "stride": kernel, "padding": 0, "ceil_mode": False, "count_include_pad": True,
        }  # fmt: skip
        if count == 1 and self.divisor is not None:
            # `F.avg_pool1d` takes no divisor: the size of the window takes its place.
            sums = Torch("F.avg_pool1d", (source, kernel), options | {"count_include_pad": True},
                         defaults=defaults, pairs=True)  # fmt: skip
            return Torch("torch.mul", (sums, kernel[0] / self.divisor))
        if self.divisor is not None:
            options["divisor_override"] = self.divisor
        return Torch(
            f"F.avg_pool{count}d", (source, kernel), options,
            defaults=defaults, pairs=True,
            as_module=f"nn.AvgPool{count}d",
        )  # fmt: skip
