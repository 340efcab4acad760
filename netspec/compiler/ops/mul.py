"""Elementwise product, written `a * b`."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.arithmetic import ArithmeticOp


@register
class Mul(ArithmeticOp):
    """Product of values whose sizes are equal or 1, or of a value and a number, written `a * b`.

    y = a b c ..., and the derivative for one factor is the product of the others: dy/da = b c ...,
    so dL/da = g b c ... with g = dL/dy.
    """

    number: float | None = attribute(Real(), "a number in place of one of the values", None)

    name = "mul"
    onnx_ends = ("Mul",)
    arity = None
    is_commutative = True
    number_places = ("number", "number")
    aten = (AtenForm(("mul",), ("self", "other"), does_nothing=lambda call: call["other"] == 1),)
    examples = (
        Example("mul", ((3, 4, 5), (3, 4, 5))),
        Example("mul", ((7,), (7,), (7,))),
        Example("mul", ((2, 2, 2), (2, 1, 1))),
        Example("mul(0.5)", ((3,),)),
    )
    unequal = Code.error("shape/mul-mismatch", "a product of values of different shapes")
    bad_examples = (BadExample("mul", ((3, 4, 4), (3, 4, 5)), unequal),)

    def combine(self, *x: Expression) -> Expression:
        """a * b * ..."""
        return product(x)

    def slopes(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """The product of the other factors. The shorter y / a would be undefined where a is 0."""
        return tuple(self.combine(*x[:i], *x[i + 1 :]) for i in range(len(x)))

    def torch(self, *inputs: Shape) -> Torch:
        """`a * b`, nested from the left."""
        return self.joined("torch.mul", len(inputs))
