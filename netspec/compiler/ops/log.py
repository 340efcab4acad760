"""Logarithm."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Log(FunctionOp):
    """Natural logarithm: y = log(x), dy/dx = 1 / x."""

    name = "log"
    torch_function = "torch.log"
    needs_positive = True
    aten = (AtenForm(("log",)),)
    examples = (Example("log", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """log(x)."""
        return log(x)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """1 / x."""
        return 1 / x
