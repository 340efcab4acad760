"""Piecewise linear sigmoid."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.idiom import Attributes, Idiom


def _in_steps(given: tuple[Attributes, ...], _: tuple[int, ...]) -> Attributes | None:
    """Return no attributes for relu6(x + 3) / 6."""
    added, divided = given[0], given[2]
    is_one = added.get("number") == 3 and divided.get("right") == 6
    return {} if is_one and divided.get("left") is None else None


@register
class HardSigmoid(ElementwiseOp):
    """Piecewise linear sigmoid: y = min(max(x + 3, 0), 6) / 6.

    dy/dx = 1/6 where 0 < y < 1, else 0 (at both ends too).
    """

    name = "hardsigmoid"
    onnx_spellings = (
        "HardSigmoid(x, alpha=0.16666667, beta=0.5)",
        "Div(Clip(Add(x, 3), 0, 6), 6)",
        "Mul(Clip(Add(x, 3), 0, 6), 0.16666667)",
    )
    value_range = (0.0, 1.0)
    aten = (AtenForm(("hardsigmoid",)),)
    idioms = (Idiom(("add", "relu6", "div"), _in_steps),)
    examples = (Example("hardsigmoid", ((3, 4, 5),)), Example("hardsigmoid", ((40,),)))

    def value(self, *x: Expression) -> Expression:
        """min(max(x + 3, 0), 6) / 6."""
        return minimum(maximum(x[0] + 3, 0), 6) / 6

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1/6 where 0 < y < 1."""
        return (where(logical_and(y > 0, y < 1), 1 / 6, 0),)

    def torch(self, *inputs: Shape) -> Torch:
        """The formula, because the derivative of `F.hardsigmoid` uses 1/6 only in single precision."""
        shifted = Torch("torch.add", (X(0), 3))
        return Torch("torch.div", (Torch("F.relu6", (shifted,)), 6))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`HardSigmoid`, whose default slope is another one."""
        return to("HardSigmoid", to.x[0], alpha=1 / 6, beta=0.5)
