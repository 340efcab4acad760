"""Exponential."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Exp(FunctionOp):
    """Exponential: y = exp(x), dy/dx = y."""

    name = "exp"
    torch_function = "torch.exp"
    value_range = (0.0, float("inf"))
    aten = (AtenForm(("exp",)),)
    examples = (Example("exp", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """exp(x)."""
        return exp(x)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """y."""
        return y
