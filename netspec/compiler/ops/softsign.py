"""Softsign."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Softsign(FunctionOp):
    """Softsign (Bergstra et al. 2009): y = x / (1 + |x|), dy/dx = 1 / (1 + |x|)^2."""

    name = "softsign"
    torch_function = "F.softsign"
    torch_module = "nn.Softsign"
    onnx_operator = "Softsign"
    value_range = (-1.0, 1.0)
    aten = (AtenForm(("softsign",)),)
    examples = (Example("softsign", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """x / (1 + |x|)."""
        return x / (1 + absolute(x))

    def slope(self, y: Expression, x: Expression) -> Expression:
        """1 / (1 + |x|)^2."""
        return 1 / ((1 + absolute(x)) * (1 + absolute(x)))
