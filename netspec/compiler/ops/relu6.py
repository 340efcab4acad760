"""Rectified linear unit, capped at 6."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.idiom import Attributes, Idiom


def _up_to_6(given: tuple[Attributes, ...], _: tuple[int, ...]) -> Attributes | None:
    """Return no attributes for a `clip` from 0 to 6."""
    (clip,) = given
    return {} if (clip.get("low"), clip.get("high")) == (0, 6) else None


@register
class Relu6(ElementwiseOp):
    """Rectified linear unit capped at 6 (Krizhevsky 2010): y = min(max(x, 0), 6).

    dy/dx = 1 where 0 < y < 6, else 0 (at both ends too).
    """

    name = "relu6"
    value_range = (0.0, 6.0)
    torch_function = "F.relu6"
    torch_module = "nn.ReLU6"
    commutes_with_max = True
    aten = (AtenForm(("relu6",)),)
    idioms = (Idiom(("clip",), _up_to_6),)
    examples = (Example("relu6", ((3, 4, 5),)), Example("relu6", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """min(max(x, 0), 6)."""
        return minimum(maximum(x[0], 0), 6)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1 where 0 < y < 6."""
        return (where(logical_and(y > 0, y < 6), 1, 0),)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Clip`."""
        return to("Clip", to.x[0], to.float(0), to.float(6))
