"""Soft shrinkage."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Softshrink(FunctionOp):
    """Soft thresholding (Donoho and Johnstone 1994): y = sign(x) max(|x| - threshold, 0).

    dy/dx = 1 where y != 0, else 0 (at both ends of the flat piece too).
    """

    threshold: float = attribute(Real(0), "how far numbers are moved towards 0", 0.5)

    name = "softshrink"
    commutes_with_max = True
    onnx_ends = ("Shrink",)
    torch_function = "F.softshrink"
    torch_module = "nn.Softshrink"
    aten = (AtenForm(("softshrink",), attributes={"threshold": "lambd"}),)
    examples = (
        Example("softshrink", ((3, 4, 5),)),
        Example("softshrink(0.2)", ((7,),)),
        Example("softshrink(threshold = 1.5)", ((2, 3, 2, 2),)),
        Example("softshrink(0)", ((7,),)),
    )
    bad_examples = (BadExample("softshrink(-0.1)", ((7,),), codes.CALL_VALUE),)

    def of(self, x: Expression) -> Expression:
        """x - min(max(x, -threshold), threshold), which needs no `where`."""
        return x - minimum(maximum(x, -self.threshold), self.threshold)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """1 where y != 0, which is where |x| > threshold."""
        return where(absolute(y) > 0, 1, 0)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Shrink`, if it moves numbers by the threshold."""
        threshold = read.attributes.real("lambd")
        if threshold >= 0 and read.attributes.real("bias") == threshold:
            yield read.layer(cls(threshold), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Shrink`."""
        return to("Shrink", to.x[0], lambd=self.threshold, bias=self.threshold)
