"""Error function."""

import math

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Erf(FunctionOp):
    """Error function: y = 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    dy/dx = 2 / sqrt(pi) exp(-x^2)
    """

    name = "erf"
    torch_function = "torch.erf"
    value_range = (-1.0, 1.0)
    aten = (AtenForm(("erf",)),)
    examples = (Example("erf", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """erf(x)."""
        return erf(x)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """2 / sqrt(pi) exp(-x^2)."""
        return 2 / math.sqrt(math.pi) * exp(-(x * x))
