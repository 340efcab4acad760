"""Average pooling."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.pool import PoolOp

UNEVEN_PADDING = Code.error(
    "shape/uneven-padding", "padding that the layer's other attributes do not allow"
)


@register
class AvgPool(PoolOp):
    """Mean of each window: y = sum over the window of x / size, dL/dx = sum over windows of g / size.

    y[n, c, i, j] = sum_{k, l} x[n, c, s i + k - p, s j + l - p] / size

    With g = dL/dy:
        dL/dx[n, c, h, w] = sum of g[n, c, i, j] / size over the windows (i, j) that hold the pixel (h, w)

    The size counts the padding unless `count_include_pad` is false, as in PyTorch. Source: LeCun et al.
    1998, whose subsampling also scales and shifts.
    """

    count_include_pad: bool = attribute(Bool(), "count padding in the size of a window", True)

    name = "avg_pool"
    examples = (
        Example("avg_pool(2)", ((3, 4, 6),)),
        Example("avg_pool(3, stride = 2, pad = 1)", ((2, 7, 8),)),
        Example("avg_pool(3, stride = 2, pad = 1, count_include_pad = false)", ((2, 7, 8),)),
        Example("avg_pool([2, 3], stride = [1, 2])", ((2, 5, 7),)),
        Example("avg_pool(3, stride = 2, pad = 1, ceil_mode = true)", ((2, 6, 6),)),
        Example("avg_pool(2, pad = [[1, 0], [0, 1]])", ((2, 5, 5),)),
    )
    bad_examples = (
        BadExample("avg_pool(5)", ((3, 4, 4),), codes.SHAPE_KERNEL_TOO_LARGE),
        BadExample("avg_pool(2, pad = 2)", ((3, 6, 6),), codes.SHAPE_POOL_PADDING),
        BadExample(
            "avg_pool(2, pad = [[1, 0], [0, 0]], ceil_mode = true)",
            ((3, 6, 6),),
            UNEVEN_PADDING,
        ),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of every pool. The size of a window is only defined for some paddings."""
        top, bottom, left, right = self.pad
        uneven = (top, left) != (bottom, right)
        if uneven and (self.ceil_mode or not self.count_include_pad):
            raise ShapeError(
                UNEVEN_PADDING,
                "`ceil_mode` and `count_include_pad = false` need the same padding on both sides",
                blame="pad",
            )
        return super().shape(*inputs)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Each output pixel from its window."""
        picture = x[0].shape[1:]
        y = np.empty((len(x[0]), *self.shape(picture)), x[0].dtype)
        for i, j, rows, columns in self.windows(picture):
            y[:, :, i, j] = x[0][:, :, rows, columns].sum(axis=(2, 3)) / self._size(picture, i, j)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each output pixel spreads its gradient evenly over its window."""
        picture = x[0].shape[1:]
        dx = np.zeros_like(x[0])
        for i, j, rows, columns in self.windows(picture):
            dx[:, :, rows, columns] += dy[:, :, i, j, None, None] / self._size(picture, i, j)
        return (dx,)

    def _size(self, picture: Shape, i: int, j: int) -> int:
        """The number of pixels by which the sum over a window is divided."""
        size = 1
        for axis, at in zip(self.window(picture), (i, j), strict=True):
            start = at * axis.stride - axis.before
            end = start + axis.kernel
            if self.count_include_pad:
                size *= min(end, axis.extent + axis.after) - start
            else:
                size *= min(end, axis.extent) - max(start, 0)
        return size

    def lower(self, to: Lowering) -> None:
        """One pass over the output for each tap of the window."""
        to.call(
            "pool.avg_forward", to.x[0], to.out,
            writes=[to.out], **self.options(), count_include_pad=self.count_include_pad,
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """One pass over the output for each tap of the window."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call(
                "pool.avg_backward", to.dy, dx, to.scratch, writes=[dx],
                scratch=to.needs("pool.avg_scratch_size", (to.out.shape,)),
                **self.options(), count_include_pad=self.count_include_pad,
            )  # fmt: skip
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.avg_pool2d`."""
        source, pad = self.torch_padding(0.0)
        options = {"stride": self.step, "padding": pad, "ceil_mode": self.ceil_mode}
        options["count_include_pad"] = self.count_include_pad
        defaults = {"stride": self.kernel, "padding": 0, "ceil_mode": False}
        defaults["count_include_pad"] = True
        return Torch(
            "F.avg_pool2d", (source, self.kernel), options,
            defaults=defaults, pairs=True, as_module="nn.AvgPool2d",
        )  # fmt: skip
