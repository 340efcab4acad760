"""Negation."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Neg(FunctionOp):
    """Negation, written `-x`: y = -x, dy/dx = -1."""

    name = "neg"
    torch_function = "torch.neg"
    aten = (AtenForm(("neg",)),)
    examples = (Example("neg", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """-x."""
        return -x

    def slope(self, y: Expression, x: Expression) -> Expression:
        """-1."""
        return Const(-1.0)
