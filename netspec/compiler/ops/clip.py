"""Clipping."""

from collections.abc import Iterable

from netspec.compiler.ir.aten_form import AtenCall
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


def _ends(call: AtenCall) -> tuple[object, object]:
    """Return the ends of the range of `clamp` or `hardtanh`."""
    given = call.arguments
    return given.get("min", given.get("min_val")), given.get("max", given.get("max_val"))


@register
class Clip(FunctionOp):
    """Numbers limited to a range: y = min(max(x, low), high), dy/dx = 1 in the range, else 0.

    At the ends of the range dy/dx is 0, as that of `relu` is; PyTorch has 1 there before version 2.14.
    """

    low: float | None = attribute(Real(), "the least number; by default there is none", None)
    high: float | None = attribute(Real(), "the largest number; by default there is none", None)

    name = "clip"
    onnx_ends = ("Clip",)
    aten = (
        AtenForm(
            ("clamp", "clip", "hardtanh"),
            attributes={"low": lambda call: _ends(call)[0], "high": lambda call: _ends(call)[1]},
            limits=_ends,
        ),
    )
    examples = (
        Example("clip(-0.5, 1)", ((7,),)),
        Example("clip(high = 0.25)", ((7,),)),
    )
    bad_examples = (
        BadExample("clip", ((7,),), codes.CALL_MISSING),
        BadExample("clip(1, -1)", ((7,),), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """Unchanged."""
        if self.low is None and self.high is None:
            raise ShapeError(
                codes.CALL_MISSING, "`clip` needs `low` or `high`, the ends of a range"
            )
        if self.low is not None and self.high is not None and self.low > self.high:
            message = f"`clip` from {self.low:g} to {self.high:g} leaves no number"
            raise ShapeError(codes.CALL_VALUE, message, blame="high")
        return inputs[0]

    def of(self, x: Expression) -> Expression:
        """min(max(x, low), high)."""
        raised = x if self.low is None else maximum(x, self.low)
        return raised if self.high is None else minimum(raised, self.high)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """1 in the range."""
        inside: Expression = Const(1.0)
        if self.high is not None:
            inside = where(x < self.high, inside, 0)
        return inside if self.low is None else where(x > self.low, inside, 0)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.clamp`."""
        ends = {"min": self.low, "max": self.high}
        return Torch("torch.clamp", (X(0),), {k: v for k, v in ends.items() if v is not None})

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Clip`; the largest numbers that there are mean no end."""
        ends = [read.number(read.given(1)), read.number(read.given(2))]
        low, high = (None if end is None or abs(end) > 1e38 else end for end in ends)
        if low is not None or high is not None:
            yield read.layer(cls(low, high), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Clip`."""
        ends = (None if end is None else to.float(end) for end in (self.low, self.high))
        return to("Clip", to.x[0], *ends)
