"""Scaled exponential linear unit."""

from netspec.compiler.ir.contract import *

# The fixed point of the paper's equations 3 and 4.
ALPHA = 1.6732632423543772
SCALE = 1.0507009873554805


@register
class Selu(ElementwiseOp):
    """Scaled exponential linear unit (Klambauer et al. 2017), which keeps mean 0 and variance 1.

    y = scale x where x > 0, else scale alpha (exp(x) - 1)
    dy/dx = scale where y > 0, else scale alpha exp(x) = y + scale alpha
    """

    name = "selu"
    torch_function = "F.selu"
    torch_module = "nn.SELU"
    onnx_operator = "Selu"
    aten = (AtenForm(("selu",)),)
    examples = (Example("selu", ((3, 4, 5),)), Example("selu", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """scale elu(x, alpha)."""
        return SCALE * elu(x[0], ALPHA)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """scale where y > 0, which is where x > 0, else y + scale alpha."""
        return (where(y > 0, SCALE, y + SCALE * ALPHA),)
