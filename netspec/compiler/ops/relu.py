"""Rectified linear unit."""

from netspec.compiler.ir.contract import *


@register
class Relu(ElementwiseOp):
    """Rectified linear unit: y = max(x, 0), dy/dx = 1 where y > 0, else 0 (at 0 too).

    Source: Nair and Hinton 2010.
    """

    name = "relu"
    value_range = (0.0, float("inf"))
    torch_function = "F.relu"
    torch_module = "nn.ReLU"
    onnx_operator = "Relu"
    commutes_with_max = True
    aten = (AtenForm(("relu",)),)
    examples = (Example("relu", ((3, 4, 5),)), Example("relu", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """max(x, 0)."""
        return maximum(x[0], 0)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1 where y > 0."""
        return (where(y > 0, 1, 0),)
