"""Mean."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.reduction import ReductionOp


@register
class Mean(ReductionOp):
    """Mean over axes: y = sum of x / n, where n numbers make one.

    dL/dx = g / n with g = dL/dy.
    """

    name = "mean"
    onnx_ends = ("ReduceMean",)
    onnx_operator = "ReduceMean"
    forward_kernel = "reductions.mean"
    backward_kernel = "reductions.mean_backward"
    aten = (
        AtenForm(
            ("mean.dim", "mean.dim_IntList"),
            attributes={"axes": lambda call: call.axes("dim"), "keep": "keepdim"},
        ),
    )
    examples = (
        Example("mean(1)", ((2, 3, 2),)),
        Example("mean([2, 3], keep = true)", ((2, 3, 2),)),
        Example("mean([1, -1])", ((2, 3, 2, 2),)),
        Example("mean(2)", ((2, 3, 2, 2),)),
    )
    bad_examples = (
        BadExample("mean(4)", ((3, 4, 4),), codes.SHAPE_AXIS),
        BadExample("mean([1, -3])", ((3, 4, 4),), codes.SHAPE_AXIS),
        BadExample("mean(1)", ((7,),), codes.SHAPE_AXIS),
        BadExample("mean(0)", ((7,),), codes.CALL_VALUE),
        BadExample("mean", ((7,),), codes.CALL_MISSING),
    )

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The mean."""
        y: Array = x[0].mean(axis=self._over(x[0]), keepdims=self.keep)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each number gets an equal share of the gradient."""
        share = dy.size / x[0].size
        return (np.broadcast_to(self._beside(x[0], dy) * share, x[0].shape),)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.mean`."""
        return self.reduced("torch.mean")
