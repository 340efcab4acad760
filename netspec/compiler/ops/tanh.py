"""Hyperbolic tangent."""

from netspec.compiler.ir.contract import *


@register
class Tanh(ElementwiseOp):
    """Hyperbolic tangent: y = tanh(x), dy/dx = 1 - y^2."""

    name = "tanh"
    value_range = (-1.0, 1.0)
    torch_function = "torch.tanh"
    torch_module = "nn.Tanh"
    aten = (AtenForm(("tanh",)),)
    examples = (Example("tanh", ((3, 4, 5),)), Example("tanh", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """tanh(x)."""
        return tanh(x[0])

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1 - y^2."""
        return (1 - y * y,)
