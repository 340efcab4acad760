"""Sigmoid linear unit."""

from netspec.compiler.ir.contract import *


@register
class Silu(ElementwiseOp):
    """Sigmoid linear unit, also called swish (Elfwing et al. 2017): y = x s with s = sigmoid(x).

    dy/dx = s (1 + x (1 - s)).
    """

    name = "silu"
    onnx_spellings = ("Mul(x, Sigmoid(x))",)
    torch_function = "F.silu"
    torch_module = "nn.SiLU"
    aten = (AtenForm(("silu",)),)
    examples = (Example("silu", ((3, 4, 5),)), Example("silu", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """x s."""
        return x[0] * sigmoid(x[0])

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """s (1 + x (1 - s))."""
        s = sigmoid(x[0])
        return (s * (1 + x[0] * (1 - s)),)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """A product with `Sigmoid`."""
        return to("Mul", to.x[0], to("Sigmoid", to.x[0]))
