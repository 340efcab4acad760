"""Square root."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Sqrt(FunctionOp):
    """Square root of a value: y = sqrt(x), dy/dx = 1 / (2 y)."""

    name = "sqrt"
    torch_function = "torch.sqrt"
    needs_positive = True
    value_range = (0.0, float("inf"))
    aten = (AtenForm(("sqrt",)),)
    examples = (Example("sqrt", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """sqrt(x)."""
        return sqrt(x)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """1 / (2 y)."""
        return 0.5 / y
