"""Mish."""

from netspec.compiler.ir.contract import *


@register
class Mish(ElementwiseOp):
    """Mish (Misra 2019): y = x t with t = tanh(log(1 + exp(x))).

    dy/dx = t + x (1 - t^2) s with s = 1 / (1 + exp(-x)), the slope of log(1 + exp(x)).
    """

    name = "mish"
    onnx_spellings = ("Mul(x, Tanh(Softplus(x)))",)
    torch_function, torch_module = "F.mish", "nn.Mish"
    aten = (AtenForm(("mish",)),)
    examples = (Example("mish", ((3, 4, 5),)), Example("mish", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """x t."""
        return x[0] * tanh(log1p(exp(x[0])))

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """t + x (1 - t^2) s."""
        t = tanh(log1p(exp(x[0])))
        return (t + x[0] * (1 - t * t) * sigmoid(x[0]),)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Mish`, or the formula."""
        return to("Mish", to.x[0]) if to.opset >= 18 else super().onnx(to)
