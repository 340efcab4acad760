"""Addition, written `a + b`."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.arithmetic import ArithmeticOp


@register
class Add(ArithmeticOp):
    """Sum of values whose sizes are equal or 1, or of a value and a number, written `a + b`.

    y = a + b + ..., dy/da = dy/db = 1.
    """

    number: float | None = attribute(Real(), "a number in place of one of the values", None)

    name = "add"
    onnx_ends = ("Add", "Sum")
    arity = None
    is_commutative = True
    number_places = ("number", "number")
    aten = (
        AtenForm(
            ("add",),
            ("self", "other"),
            unless=lambda call: call.require(
                call.arguments.get("alpha", 1) == 1, "`alpha` is not 1"
            ),
        ),
    )
    examples = (
        Example("add", ((3, 4, 5), (3, 4, 5))),
        Example("add", ((7,), (7,), (7,))),
        Example("add", ((2, 2, 2), (2, 1, 1))),
        Example("add(0.5)", ((3,),)),
    )
    unequal = Code.error("shape/add-mismatch", "a sum of values of different shapes")
    bad_examples = (BadExample("add", ((3, 4, 4), (3, 4, 5)), unequal),)

    def combine(self, *x: Expression) -> Expression:
        """a + b + ..."""
        return total(x)

    def slopes(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """All 1."""
        return (Const(1.0),) * len(x)

    def torch(self, *inputs: Shape) -> Torch:
        """`a + b`, nested from the left."""
        return self.joined("torch.add", len(inputs))
