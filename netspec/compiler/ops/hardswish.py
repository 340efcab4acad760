"""Piecewise quadratic swish."""

from netspec.compiler.ir.contract import *


@register
class HardSwish(ElementwiseOp):
    """Piecewise quadratic swish (Howard et al. 2019): y = x min(max(x + 3, 0), 6) / 6.

    dy/dx = 0 where x <= -3, 1 where x >= 3, else (2 x + 3) / 6.
    """

    name = "hardswish"
    onnx_spellings = (
        "HardSwish(x)",
        "Mul(x, HardSigmoid(x, alpha=0.16666667, beta=0.5))",
        "Div(Mul(x, Clip(Add(x, 3), 0, 6)), 6)",
        "Mul(x, Div(Clip(Add(x, 3), 0, 6), 6))",
        "Mul(Mul(x, Clip(Add(x, 3), 0, 6)), 0.16666667)",
        "Mul(x, Mul(Clip(Add(x, 3), 0, 6), 0.16666667))",
    )
    torch_function = "F.hardswish"
    torch_module = "nn.Hardswish"
    onnx_operator = "HardSwish"
    aten = (AtenForm(("hardswish",)),)
    examples = (Example("hardswish", ((3, 4, 5),)), Example("hardswish", ((40,),)))

    def value(self, *x: Expression) -> Expression:
        """x min(max(x + 3, 0), 6) / 6."""
        return x[0] * (minimum(maximum(x[0] + 3, 0), 6) / 6)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """0, then (2 x + 3) / 6, then 1."""
        return (where(x[0] > -3, where(x[0] < 3, x[0] / 3 + 0.5, 1), 0),)
