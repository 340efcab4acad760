"""Square."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Square(FunctionOp):
    """Square of each number: y = x^2, dy/dx = 2 x."""

    name = "square"
    torch_function = "torch.square"
    value_range = (0.0, float("inf"))
    aten = (AtenForm(("square",)),)
    examples = (Example("square", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """x^2."""
        return x * x

    def slope(self, y: Expression, x: Expression) -> Expression:
        """2 x."""
        return 2 * x
