"""Average pooling to a given size."""

import math

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.adaptive_pool import AdaptivePoolOp, of_whole_picture, torch_pool
from netspec.compiler.ops.families.windows import beside, spatial


@register
class AdaptiveAvgPool(AdaptivePoolOp):
    """Mean of each of `size` windows, which are as even as whole pixels allow.

    y[n, c, i, j] = sum of x[n, c, h, w] over window (i, j) / its pixels; window i of P over H pixels
    holds the pixels floor(i H / P) to ceil((i + 1) H / P), exclusive.

    With g = dL/dy:
        dL/dx[n, c, h, w] = sum of g[n, c, i, j] / its pixels over the windows (i, j) that hold (h, w)
    """

    name = "adaptive_avg_pool"
    onnx_ends = ("GlobalAveragePool", "AveragePool", "Concat")
    onnx_pool = "AveragePool"
    onnx_reduction = "ReduceMean"
    aten = (
        AtenForm(
            ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
            attributes={"size": "output_size"},
        ),
        of_whole_picture("avg"),
    )
    examples = (
        Example("adaptive_avg_pool(2)", ((3, 4, 6),)),
        Example("adaptive_avg_pool([3, 2])", ((2, 7, 5),)),
        Example("adaptive_avg_pool(1)", ((3, 5, 4),)),
        Example("adaptive_avg_pool(4)", ((2, 3, 4),)),
        Example("adaptive_avg_pool(size = [3, 4])", ((2, 3, 4),)),
        Example("adaptive_avg_pool(3)", ((2, 6, 3),)),
        Example("adaptive_avg_pool(3)", ((2, 7),)),
        Example("adaptive_avg_pool(2)", ((2, 4, 2, 5),)),
        Example("adaptive_avg_pool([1, 2, 3])", ((2, 2, 3, 3),)),
    )
    bad_examples = (
        BadExample("adaptive_avg_pool([2, 2])", ((3, 8),), codes.SHAPE_RANK),
        BadExample("adaptive_avg_pool(2)", ((10,),), codes.SHAPE_RANK),
        BadExample("adaptive_avg_pool(0)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("adaptive_avg_pool", ((3, 4, 4),), codes.CALL_MISSING),
    )

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Each cell from its window."""
        y = np.empty((*x[0].shape[:2], *self.cells(x[0].ndim - 2)), x[0].dtype)
        for at, taps in self.windows(x[0].shape[1:]):
            y[at] = x[0][taps].mean(axis=spatial(x[0]))
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each cell spreads its gradient evenly over its window."""
        dx = np.zeros_like(x[0])
        for at, taps in self.windows(x[0].shape[1:]):
            dx[taps] += beside(dy[at], dy.ndim - 2) / math.prod(dx[taps].shape[2:])
        return (dx,)

    def lower(self, to: Lowering) -> None:
        """A plain pool if the windows are equal and small, else cell by cell."""
        pool = self.plain_pool(to.x_shapes[0])
        if to.out.shape == to.x[0].shape:
            to.view(to.out, to.x[0])
        elif pool is not None:
            to.call(
                "pool.avg_forward", to.x[0], to.out,
                writes=[to.out], **pool, count_include_pad=True,
            )  # fmt: skip
        else:
            to.call("adaptive.avg_forward", to.x[0], to.out, writes=[to.out])

    def lower_backward(self, to: Lowering) -> None:
        """The same cases as in `lower`."""
        if not to.wanted[0]:
            return
        if to.out.shape == to.x[0].shape:
            to.gradient(0, to.dy)
            return
        dx, pool = to.gradient_buffer(0), self.plain_pool(to.x_shapes[0])
        if pool is not None:
            to.call(
                "pool.avg_backward", to.dy, dx, to.scratch, writes=[dx],
                scratch=to.needs("pool.avg_scratch_size", (to.out.shape,)),
                **pool, count_include_pad=True,
            )  # fmt: skip
        else:
            to.call("adaptive.avg_backward", to.dy, dx, writes=[dx])
        to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.adaptive_avg_pool2d` for pictures."""
        return torch_pool("avg", self.cells(len(inputs[0]) - 1))
