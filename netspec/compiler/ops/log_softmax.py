"""Logarithm of softmax."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.softmax import SoftmaxOp


@register
class LogSoftmax(SoftmaxOp):
    """Logarithm of softmax along an axis: y_i = x_i - log(sum_j exp(x_j)).

    dy_i/dx_j = [i = j] - exp(y_j), so with g = dL/dy: dL/dx = g - exp(y) sum_j g_j.
    """

    name = "log_softmax"
    onnx_ends = ("LogSoftmax",)
    of_one = 0
    forward_kernel = "softmax.log_forward"
    backward_kernel = "softmax.log_backward"
    aten = (AtenForm(("log_softmax",), attributes={"axis": lambda call: call.axis("dim")}),)
    examples = (
        Example("log_softmax", ((7,),)),
        Example("log_softmax", ((3, 4, 5),)),
        Example("log_softmax(axis = 2)", ((3, 4, 5),)),
        Example("log_softmax(-1)", ((3, 4, 5),)),
        Example("log_softmax(axis = 2)", ((4, 6),)),
        Example("log_softmax", ((4, 6),)),
    )
    bad_examples = (
        BadExample("log_softmax(axis = 2)", ((7,),), codes.SHAPE_AXIS),
        BadExample("log_softmax(axis = 0)", ((7,),), codes.CALL_VALUE),
    )

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The formula, after subtracting the largest number so that nothing overflows."""
        shifted = x[0] - x[0].max(axis=self.axis, keepdims=True)
        y: Array = shifted - np.log(np.exp(shifted).sum(axis=self.axis, keepdims=True))
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The formula above."""
        y = self.forward(run, *x)
        return (dy - np.exp(y) * dy.sum(axis=self.axis, keepdims=True),)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.log_softmax`."""
        return Torch("F.log_softmax", (X(0),), {"dim": self.axis})

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`LogSoftmax`."""
        axis = resolve_axis(self.name, self.axis, to.shape)
        return to("LogSoftmax", to.x[0], axis=axis)
