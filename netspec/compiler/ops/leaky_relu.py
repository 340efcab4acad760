"""Leaky rectified linear unit."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *


@register
class LeakyRelu(ElementwiseOp):
    """Leaky rectified linear unit (Maas et al. 2013): y = x where x > 0, else slope x.

    dy/dx = 1 where y > 0, else slope (at 0 too).
    """

    slope: float = attribute(Real(0), "slope of the negative side", 0.01)

    name = "leaky_relu"
    onnx_ends = ("LeakyRelu",)
    torch_function = "F.leaky_relu"
    torch_module = "nn.LeakyReLU"
    aten = (AtenForm(("leaky_relu",), attributes={"slope": "negative_slope"}),)
    examples = (
        Example("leaky_relu", ((3, 4, 5),)),
        Example("leaky_relu(0.2)", ((7,),)),
        Example("leaky_relu(slope = 1.5)", ((7,),)),
        Example("leaky_relu(0)", ((7,),)),
    )
    bad_examples = (BadExample("leaky_relu(slope = -0.1)", ((7,),), codes.CALL_VALUE),)

    def value(self, *x: Expression) -> Expression:
        """max(x, slope x), or min(x, slope x) if the slope is greater than 1.

        This needs no `where`.
        """
        choose = maximum if self.slope <= 1 else minimum
        return choose(x[0], x[0] * self.slope)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1 where y > 0, which is where x > 0."""
        return (where(y > 0, 1, self.slope),)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`LeakyRelu`."""
        yield read.layer(cls(read.attributes.real("alpha")), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`LeakyRelu`."""
        return to("LeakyRelu", to.x[0], alpha=self.slope)
