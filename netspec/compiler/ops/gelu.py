"""Gaussian error linear unit."""

import math

from netspec.compiler.ir.contract import *

# The inner polynomial of the tanh form: SLOPE (x + CUBIC x^3).
SLOPE = math.sqrt(2 / math.pi)
CUBIC = 0.044715


@register
class Gelu(ElementwiseOp):
    """Gaussian error linear unit (Hendrycks and Gimpel 2016): y = x P(x), P the normal distribution.

    approximate = none: P(x) = (1 + erf(x / sqrt(2))) / 2
        dy/dx = P(x) + x exp(-x^2 / 2) / sqrt(2 pi)
    approximate = tanh: P(x) = (1 + t) / 2 with t = tanh(sqrt(2 / pi) (x + 0.044715 x^3))
        dy/dx = P(x) + x (1 - t^2) / 2 * sqrt(2 / pi) (1 + 3 * 0.044715 x^2)
    """

    approximate: str | None = attribute(
        Choice(("tanh",)), "tanh: an approximation, none: the exact error function", None
    )

    name = "gelu"
    onnx_spellings = (
        "Mul(Mul(x, Add(Erf(Div(x, 1.4142135)), 1)), 0.5)",
        "Mul(x, Mul(Add(Erf(Div(x, 1.4142135)), 1), 0.5))",
        "Mul(Mul(x, 0.5), Add(Erf(Div(x, 1.4142135)), 1))",
        "Mul(Mul(x, Add(Erf(Mul(x, 0.70710678)), 1)), 0.5)",
        "Mul(x, Mul(Add(Erf(Mul(x, 0.70710678)), 1), 0.5))",
        "Mul(Mul(x, 0.5), Add(Erf(Mul(x, 0.70710678)), 1))",
    )
    aten = (
        AtenForm(
            ("gelu",),
            attributes={
                "approximate": lambda call: "tanh" if call["approximate"] == "tanh" else None
            },
        ),
    )
    examples = (
        Example("gelu", ((3, 4, 5),)),
        Example("gelu(approximate = tanh)", ((3, 4, 5),)),
        Example("gelu(approximate = none)", ((7,),)),
    )
    bad_examples = (BadExample("gelu(approximate = 1)", ((7,),), codes.CALL_VALUE),)

    def value(self, *x: Expression) -> Expression:
        """x P(x)."""
        return x[0] * self._distribution(x[0])

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """P(x) + x P'(x)."""
        (a,) = x
        if self.approximate == "tanh":
            t = self._tanh(a)
            density = (0.5 - 0.5 * t * t) * (SLOPE + 3 * SLOPE * CUBIC * (a * a))
        else:
            density = exp(a * a * -0.5) * (1 / math.sqrt(2 * math.pi))
        return (self._distribution(a) + a * density,)

    def _distribution(self, x: Expression) -> Expression:
        """P(x)."""
        inner = self._tanh(x) if self.approximate == "tanh" else erf(x * math.sqrt(0.5))
        return 0.5 + 0.5 * inner

    @staticmethod
    def _tanh(x: Expression) -> Expression:
        return tanh(x * (SLOPE + SLOPE * CUBIC * (x * x)))

    def torch(self, *inputs: Shape) -> Torch:
        """`F.gelu`."""
        return Torch(
            "F.gelu", (X(0),), {"approximate": self.approximate or "none"},
            defaults={"approximate": "none"}, as_module="nn.GELU",
        )  # fmt: skip

    @classmethod
    def onnx_forms(cls) -> tuple[Op, ...]:
        """Both functions."""
        return cls(), cls("tanh")

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Gelu`, or the formula."""
        if to.opset < 20:
            return super().onnx(to)
        return to("Gelu", to.x[0], approximate=self.approximate or "none")
