"""Reciprocal square root."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Rsqrt(FunctionOp):
    """Reciprocal of the square root: y = 1 / sqrt(x), dy/dx = -y^3 / 2."""

    name = "rsqrt"
    onnx_spellings = (
        "Reciprocal(Sqrt(x))",
        "Div(1, Sqrt(x))",
    )
    torch_function = "torch.rsqrt"
    needs_positive = True
    value_range = (0.0, float("inf"))
    aten = (AtenForm(("rsqrt",)),)
    examples = (Example("rsqrt", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """1 / sqrt(x)."""
        return 1 / sqrt(x)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """-y^3 / 2."""
        return -0.5 * (y * y * y)
