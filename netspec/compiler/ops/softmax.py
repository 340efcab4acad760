"""Softmax."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.softmax import SoftmaxOp


@register
class Softmax(SoftmaxOp):
    """Softmax along an axis: y_i = exp(x_i) / sum_j exp(x_j), dL/dx = y (g - sum_j g_j y_j), g = dL/dy.

    It follows from dy_i/dx_j = y_i ([i = j] - y_j). Source: Bridle 1990.

    Not for training with softmax cross-entropy, which has it built in and takes the scores.
    """

    name = "softmax"
    onnx_ends = ("Softmax",)
    value_range = (0.0, 1.0)
    is_distribution = True
    of_one = 1
    forward_kernel = "softmax.forward"
    backward_kernel = "softmax.backward"
    aten = (AtenForm(("softmax",), attributes={"axis": lambda call: call.axis("dim")}),)
    examples = (
        Example("softmax", ((7,),)),
        Example("softmax", ((3, 4, 5),)),
        Example("softmax(axis = 2)", ((3, 4, 5),)),
        Example("softmax(-1)", ((3, 4, 5),)),
        Example("softmax(axis = 2)", ((4, 6),)),
        Example("softmax", ((4, 6),)),
    )
    bad_examples = (
        BadExample("softmax(axis = 2)", ((7,),), codes.SHAPE_AXIS),
        BadExample("softmax(axis = 0)", ((7,),), codes.CALL_VALUE),
    )

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The formula, after subtracting the largest number so that nothing overflows."""
        e = np.exp(x[0] - x[0].max(axis=self.axis, keepdims=True))
        y: Array = e / e.sum(axis=self.axis, keepdims=True)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The formula above."""
        y = self.forward(run, *x)
        return (y * (dy - (dy * y).sum(axis=self.axis, keepdims=True)),)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.softmax`."""
        return Torch("F.softmax", (X(0),), {"dim": self.axis})

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Softmax`."""
        return to("Softmax", to.x[0], axis=resolve_axis(self.name, self.axis, to.shape))
