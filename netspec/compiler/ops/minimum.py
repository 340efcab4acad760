"""The smaller of two."""

from netspec.compiler.ir.aten_form import both_compared
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.arithmetic import ArithmeticOp


@register
class Minimum(ArithmeticOp):
    """The smaller of two numbers, of values whose sizes are equal or 1, or of a value and a number.

    y = min(a, b); dy/da = 1 where a < b, 0 where a > b, and a half where they are equal, as in
    PyTorch. Compared with a number, the gradient is 1 where they are equal.
    """

    number: float | None = attribute(Real(), "a number in place of one of the values", None)

    name = "minimum"
    onnx_ends = ("Min",)
    arity = 2
    is_commutative = True
    number_places = ("number", "number")
    aten = (
        AtenForm(("minimum", "min.other"), ("self", "other")),
        AtenForm(("clamp_max",), ("self", "max")),
        AtenForm(
            ("logical_and", "bitwise_and", "__and__"),
            ("self", "other"),
            unless=both_compared,
            gives_condition=True,
            reads_conditions=True,
        ),
    )
    examples = (
        Example("minimum", ((1, 2), (3, 2))),
        Example("minimum(0.25)", ((5,),)),
    )
    unequal = Code.error("shape/minimum-mismatch", "the smaller of values whose shapes do not fit")
    bad_examples = (
        BadExample("minimum", ((3, 4, 4), (3, 4, 5)), unequal),
        BadExample("minimum", ((3, 4, 4),), codes.CALL_INPUTS),
    )

    def combine(self, *x: Expression) -> Expression:
        """The smaller."""
        a, b = x
        return minimum(a, b)

    def slopes(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """The derivatives by both operands. If two values are equal, each has a half."""
        a, b = x
        if self.number is not None:
            return where(a < b, 1, 0), where(a > b, 1, 0)
        return where(a < b, 1, where(a > b, 0, 0.5)), where(a < b, 0, where(a > b, 1, 0.5))

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.minimum`, or `torch.clamp` with a number."""
        if self.number is None:
            return Torch("torch.minimum", (X(0), X(1)))
        return Torch("torch.clamp", (X(0),), {"max": self.number})
