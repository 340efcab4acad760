"""Cosine."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Cos(FunctionOp):
    """Cosine, x in radians: y = cos(x), dy/dx = -sin(x)."""

    name = "cos"
    torch_function = "torch.cos"
    value_range = (-1.0, 1.0)
    aten = (AtenForm(("cos",)),)
    examples = (Example("cos", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """cos(x)."""
        return cos(x)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """-sin(x)."""
        return -sin(x)
