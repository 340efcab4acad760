"""An op of one's own: `netspec test-op docs/my_ops.py` tests it."""

from netspec.compiler.ir.contract import *


@register
class Swoosh(ElementwiseOp):
    """Swish with a slope: y = x s with s = sigmoid(b x).

    dy/dx = s (1 + b x (1 - s)).
    """

    slope: float = attribute(Real(0.1, 10), "the slope b", 1.0)

    name = "swoosh"
    examples = (Example("swoosh", ((3, 4, 5),)), Example("swoosh(slope = 2)", ((7,),)))
    bad_examples = (BadExample("swoosh(0)", ((7,),), codes.CALL_VALUE),)

    def value(self, *x: Expression) -> Expression:
        """x s."""
        return x[0] * sigmoid(self.slope * x[0])

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """s (1 + b x (1 - s))."""
        s = sigmoid(self.slope * x[0])
        return (s * (1 + self.slope * x[0] * (1 - s)),)

    def torch(self, *inputs: Shape) -> Torch:
        """x sigmoid(b x)."""
        gate = Torch("torch.sigmoid", (Torch("torch.mul", (X(0), self.slope)),))
        return Torch("torch.mul", (X(0), gate))
