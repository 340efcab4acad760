"""Exponential linear unit."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *


@register
class Elu(ElementwiseOp):
    """Exponential linear unit (Clevert et al. 2015): y = x where x > 0, else alpha (exp(x) - 1).

    dy/dx = 1 where y > 0, else alpha exp(x) = y + alpha.
    """

    alpha: float = attribute(Real(0), "scale of the negative side", 1.0)

    name = "elu"
    onnx_ends = ("Elu",)
    torch_function = "F.elu"
    torch_module = "nn.ELU"
    aten = (
        AtenForm(
            ("elu",),
            attributes={"alpha": "alpha"},
            unless=lambda call: call.require(
                call["scale"] == 1 and call["input_scale"] == 1, "it is scaled"
            ),
        ),
    )
    examples = (
        Example("elu", ((3, 4, 5),)),
        Example("elu(alpha = 0.3)", ((7,),)),
        Example("elu(0)", ((7,),)),
    )
    bad_examples = (BadExample("elu(-1)", ((7,),), codes.CALL_VALUE),)

    def value(self, *x: Expression) -> Expression:
        """x, or alpha (exp(x) - 1)."""
        return elu(x[0], self.alpha)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1 where y > 0, which is where x > 0, else y + alpha."""
        return (where(y > 0, 1, y + self.alpha),)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Elu`."""
        yield read.layer(cls(read.attributes.real("alpha")), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Elu`."""
        return to("Elu", to.x[0], alpha=self.alpha)
