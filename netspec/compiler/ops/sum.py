"""Sum."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.reduction import ReductionOp


@register
class Sum(ReductionOp):
    """Sum over axes.

    y = sum of x: dL/dx = dL/dy at each of the places that were added.
    """

    name = "sum"
    onnx_ends = ("ReduceSum",)
    onnx_operator = "ReduceSum"
    forward_kernel = "reductions.total"
    backward_kernel = "reductions.total_backward"
    aten = (
        AtenForm(
            ("sum.dim", "sum.dim_IntList"),
            attributes={"axes": lambda call: call.axes("dim"), "keep": "keepdim"},
        ),
        AtenForm(
            ("linalg_vector_norm", "norm.ScalarOpt_dim"),
            attributes={"axes": lambda call: call.axes("dim"), "keep": "keepdim"},
            unless=lambda call: call.require(
                call.arguments.get("ord", call.arguments.get("p")) == 2, "it is not of the order 2"
            ),
            before={"self": (Then("square"),)},
            then=(Then("sqrt"),),
        ),
    )
    examples = (Example("sum(3)", ((2, 3, 2),)),)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The sum."""
        y: Array = x[0].sum(axis=self._over(x[0]), keepdims=self.keep)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The gradient, repeated along the reduced axes."""
        return (np.broadcast_to(self._beside(x[0], dy), x[0].shape),)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.sum`."""
        return self.reduced("torch.sum")
