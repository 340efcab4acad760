"""Global average pooling."""

import math

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.idiom import flat_sizes
from netspec.compiler.ops.families.global_pool import GlobalPoolOp
from netspec.compiler.ops.families.windows import beside, spatial


@register
class GlobalAvgPool(GlobalPoolOp):
    """Mean over each channel's picture (Lin et al. 2013): (C, H, W) becomes (C,).

    y[n, c] = sum_{i, j} x[n, c, i, j] / (H W), and dL/dx[n, c, i, j] = g[n, c] / (H W).
    """

    name = "global_avg_pool"
    onnx_ends = ("Flatten", "Reshape", "Squeeze")
    onnx_reduction = "ReduceMean"
    onnx_operator = "GlobalAveragePool"
    adaptive = "avg"
    idioms = (
        Idiom(
            ("adaptive_avg_pool", "flatten"),
            lambda given, _: {} if set(flat_sizes(given[0]["size"])) == {1} else None,
        ),
        Idiom(
            ("mean",),
            lambda given, x: (
                {}
                if len(x) > 1
                and tuple(flat_sizes(given[0]["axes"])) == tuple(range(2, len(x) + 1))
                and not given[0].get("keep")
                else None
            ),
        ),
    )
    examples = (
        Example("global_avg_pool", ((3, 4, 5),)),
        Example("global_avg_pool", ((2, 1, 1),)),
        Example("global_avg_pool", ((3, 5),)),
        Example("global_avg_pool", ((2, 3, 2, 4),)),
    )
    bad_examples = (BadExample("global_avg_pool", ((10,),), codes.SHAPE_RANK),)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The mean over height and width."""
        y: Array = x[0].mean(axis=spatial(x[0]))
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Every pixel gets an equal share."""
        share = beside(dy, x[0].ndim - 2) / math.prod(x[0].shape[2:])
        return (np.broadcast_to(share, x[0].shape),)

    def lower(self, to: Lowering) -> None:
        """One reduction."""
        to.call(
            "pool.global_avg_forward", to.x[0], to.out, to.scratch, writes=[to.out],
            scratch=to.needs("pool.global_scratch_size", (to.x[0].shape,)),
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """One broadcast."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call("pool.global_avg_backward", to.dy, dx, writes=[dx])
            to.gradient(0, dx)
