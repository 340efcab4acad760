"""Maximum pooling to a given size."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.adaptive_pool import AdaptivePoolOp, of_whole_picture, torch_pool
from netspec.compiler.ops.families.windows import beside, first_maximum, spatial


@register
class AdaptiveMaxPool(AdaptivePoolOp):
    """Maximum of each of `size` windows, which are as even as whole pixels allow.

    y[n, c, i, j] = max of x[n, c, h, w] over window (i, j); window i of P over H pixels holds the pixels
    floor(i H / P) to ceil((i + 1) H / P), exclusive.

    With g = dL/dy:
        dL/dx[n, c, h, w] = sum of g[n, c, i, j] over the windows (i, j) whose first maximum, row by row,
        is the pixel (h, w)
    """

    name = "adaptive_max_pool"
    onnx_ends = ("GlobalMaxPool", "MaxPool", "Concat")
    onnx_pool = "MaxPool"
    onnx_reduction = "ReduceMax"
    aten = (
        AtenForm(
            ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
            attributes={"size": "output_size"},
        ),
        of_whole_picture("max"),
    )
    examples = (
        Example("adaptive_max_pool(2)", ((3, 4, 6),)),
        Example("adaptive_max_pool([3, 2])", ((2, 7, 5),)),
        Example("adaptive_max_pool(1)", ((3, 5, 4),)),
        Example("adaptive_max_pool(4)", ((2, 3, 4),)),
        Example("adaptive_max_pool(size = [3, 4])", ((2, 3, 4),)),
        Example("adaptive_max_pool(3)", ((2, 7),)),
        Example("adaptive_max_pool(2)", ((2, 4, 2, 5),)),
        Example("adaptive_max_pool([1, 2, 3])", ((2, 2, 3, 3),)),
    )
    bad_examples = (
        BadExample("adaptive_max_pool([2, 2])", ((3, 8),), codes.SHAPE_RANK),
        BadExample("adaptive_max_pool(2)", ((10,),), codes.SHAPE_RANK),
        BadExample("adaptive_max_pool(2.5)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("adaptive_max_pool", ((3, 4, 4),), codes.CALL_MISSING),
    )

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Each cell from its window."""
        y = np.empty((*x[0].shape[:2], *self.cells(x[0].ndim - 2)), x[0].dtype)
        for at, taps in self.windows(x[0].shape[1:]):
            y[at] = x[0][taps].max(axis=spatial(x[0]))
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each cell sends its gradient to the first maximum of its window."""
        dx = np.zeros_like(x[0])
        for at, taps in self.windows(x[0].shape[1:]):
            dx[taps] += first_maximum(x[0][taps]) * beside(dy[at], dy.ndim - 2)
        return (dx,)

    def pattern(self, *x: Array) -> Array | None:
        """The index of the pixel of each window that is its first maximum."""
        first = np.empty((*x[0].shape[:2], *self.cells(x[0].ndim - 2)), np.int32)
        for at, taps in self.windows(x[0].shape[1:]):
            window = x[0][taps]
            first[at] = window.reshape(*window.shape[:2], -1).argmax(axis=2)
        return first

    def lower(self, to: Lowering) -> None:
        """A plain pool if the windows are equal and small, else cell by cell."""
        pool = self.plain_pool(to.x_shapes[0])
        if to.out.shape == to.x[0].shape:
            to.view(to.out, to.x[0])
        elif pool is not None:
            to.call(
                "pool.max_forward", to.x[0], to.out, to.scratch,
                writes=[to.out], **pool, dilation=(1,) * len(pool["kernel"]),
                scratch=to.needs("pool.max_scratch_size", (to.x[0].shape, to.out.shape)),
            )  # fmt: skip
        else:
            to.call("adaptive.max_forward", to.x[0], to.out, writes=[to.out])

    def lower_backward(self, to: Lowering) -> None:
        """The kernel searches for the maxima again."""
        if not to.wanted[0]:
            return
        if to.out.shape == to.x[0].shape:
            to.gradient(0, to.dy)
            return
        dx, pool = to.gradient_buffer(0), self.plain_pool(to.x_shapes[0])
        if pool is not None:
            to.call(
                "pool.max_backward", to.x[0], to.out, to.dy, dx, to.scratch,
                writes=[dx], **pool, dilation=(1,) * len(pool["kernel"]),
                scratch=to.needs("pool.scratch_size", (to.out.shape,), kernel=pool["kernel"]),
            )  # fmt: skip
        else:
            to.call("adaptive.max_backward", to.x[0], to.dy, dx, writes=[dx])
        to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.adaptive_max_pool2d` for pictures."""
        return torch_pool("max", self.cells(len(inputs[0]) - 1))
