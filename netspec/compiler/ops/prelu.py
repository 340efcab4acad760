"""Rectified linear unit with learned slopes."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import is_by_channel


@register
class PRelu(ElementwiseOp):
    """Parametric rectified linear unit (He et al. 2015): y = x where x > 0, else w x.

    The slope w is one number, or one for each channel. dy/dx = 1 where x > 0, else w (at 0 too), and
    with g = dL/dy: dL/dw = sum of g min(x, 0) over all that a slope serves.
    """

    per_channel: bool = attribute(Bool(), "learn a slope for each channel, not one for all", False)
    start: float = attribute(Real(), "initial value of the slopes", 0.25)

    name = "prelu"
    onnx_ends = ("PRelu",)
    parameter_names = ("weight",)
    aten = (
        AtenForm(
            ("prelu",),
            parameters={"weight": "weight"},
            attributes={"per_channel": lambda call: call.tensor("weight").shape != (1,)},
            starts={"start": "weight"},
        ),
    )
    examples = (
        Example("prelu", ((3, 4, 5),)),
        Example("prelu(per_channel = true)", ((3, 4, 5),)),
        Example("prelu(true, 0.1)", ((7,),)),
        Example("prelu(per_channel = true)", ((3, 5),)),
        Example("prelu(per_channel = true, start = -0.5)", ((2, 3, 2, 4),)),
        Example("prelu(start = 1.5)", ((3, 5),)),
        Example("prelu(per_channel = true)", ((1, 2, 3),)),
    )
    bad_examples = (
        BadExample("prelu(start = true)", ((7,),), codes.CALL_VALUE),
        BadExample("prelu(3)", ((3, 4, 5),), codes.CALL_VALUE),
    )

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """`weight`, the slopes."""
        count = inputs[0][0] if self.per_channel else 1
        return (ParameterSpec("weight", (count,), Constant(self.start), "scale"),)

    def value(self, *x: Expression) -> Expression:
        """max(x, 0) + w min(x, 0)."""
        a, w = x
        return maximum(a, 0) + w * minimum(a, 0)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """The derivatives by x and by w."""
        a, w = x
        return where(a > 0, 1, w), minimum(a, 0)

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.PReLU`."""
        count = (inputs[0][0],) if self.per_channel else ()
        return Torch("nn.PReLU", count, {"init": self.start}, defaults={"init": 0.25})

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`PRelu` with a slope for each channel, or one for all."""
        slopes, x = read.array(read.given(1)), read.shape()
        if slopes is not None and x is not None:
            held = {"weight": read.held(read.given(1), slopes.reshape(-1))}
            if slopes.size == 1 or is_by_channel(slopes, x, x[0]):
                op = cls(per_channel=slopes.size > 1)
                yield read.layer(op, read.given(0), parameters=held)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`PRelu`, with slopes that broadcast from the last axis."""
        slopes = to.beside(to.parameters["weight"], len(to.shape) - 1)
        return to("PRelu", to.x[0], slopes)
