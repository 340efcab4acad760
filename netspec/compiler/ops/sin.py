"""Sine."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Sin(FunctionOp):
    """Sine, x in radians: y = sin(x), dy/dx = cos(x)."""

    name = "sin"
    torch_function = "torch.sin"
    value_range = (-1.0, 1.0)
    aten = (AtenForm(("sin",)),)
    examples = (Example("sin", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """sin(x)."""
        return sin(x)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """cos(x)."""
        return cos(x)
