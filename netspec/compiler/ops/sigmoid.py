"""Logistic sigmoid."""

from netspec.compiler.ir.contract import *


@register
class Sigmoid(ElementwiseOp):
    """Logistic sigmoid: y = 1 / (1 + exp(-x)), dy/dx = y (1 - y)."""

    name = "sigmoid"
    value_range = (0.0, 1.0)
    torch_function = "torch.sigmoid"
    torch_module = "nn.Sigmoid"
    onnx_operator = "Sigmoid"
    aten = (AtenForm(("sigmoid",)),)
    examples = (Example("sigmoid", ((3, 4, 5),)), Example("sigmoid", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """1 / (1 + exp(-x))."""
        return sigmoid(x[0])

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """y (1 - y)."""
        return (y * (1 - y),)
