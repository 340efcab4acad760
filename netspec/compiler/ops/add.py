"""Addition, written `a + b`."""

import functools

from netspec.compiler.ir.contract import *


@register
class Add(ElementwiseOp):
    """Sum of values of equal shape, written `a + b`: y = a + b, dy/da = dy/db = 1."""

    name = "add"
    arity = None
    examples = (
        Example("add", ((3, 4, 5), (3, 4, 5))),
        Example("add", ((7,), (7,), (7,))),
    )
    unequal = Code.error("shape/add-mismatch", "a sum of values of different shapes")
    bad_examples = (BadExample("add", ((3, 4, 4), (3, 4, 5)), unequal),)

    def value(self, *x: Expression) -> Expression:
        """a + b + ..."""
        return total(x)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """All 1."""
        return (Const(1.0),) * len(x)

    def torch(self, *inputs: Shape) -> Torch:
        """`a + b`, nested from the left."""
        terms = [X(i) for i in range(len(inputs))]
        return functools.reduce(lambda a, b: Torch("torch.add", (a, b)), terms)  # type: ignore
