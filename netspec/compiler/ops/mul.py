"""Elementwise product, written `a * b`."""

import functools

from netspec.compiler.ir.contract import *


@register
class Mul(ElementwiseOp):
    """Elementwise product of values of equal shape, written `a * b`.

    y = a b c ..., and the derivative for one factor is the product of the others: dy/da = b c ...,
    so dL/da = g b c ... with g = dL/dy.
    """

    name = "mul"
    arity = None
    examples = (
        Example("mul", ((3, 4, 5), (3, 4, 5))),
        Example("mul", ((7,), (7,), (7,))),
    )
    unequal = Code.error("shape/mul-mismatch", "a product of values of different shapes")
    bad_examples = (BadExample("mul", ((3, 4, 4), (3, 4, 5)), unequal),)

    def value(self, *x: Expression) -> Expression:
        """a * b * ..."""
        return product(x)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """The product of the other factors. The shorter y / a would be undefined where a is 0."""
        return tuple(self.value(*x[:i], *x[i + 1 :]) for i in range(len(x)))

    def torch(self, *inputs: Shape) -> Torch:
        """`a * b`, nested from the left."""
        factors = [X(i) for i in range(len(inputs))]
        return functools.reduce(lambda a, b: Torch("torch.mul", (a, b)), factors)  # type: ignore
