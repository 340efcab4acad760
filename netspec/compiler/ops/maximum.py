"""The larger of two."""

from netspec.compiler.ir.aten_form import both_compared
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.arithmetic import ArithmeticOp


@register
class Maximum(ArithmeticOp):
    """The larger of two numbers, of values whose sizes are equal or 1, or of a value and a number.

    y = max(a, b); dy/da = 1 where a > b, 0 where a < b, and a half where they are equal, as in
    PyTorch. Compared with a number, it is 0 where they are equal, as that of `relu` is; PyTorch has
    1 there before version 2.14.
    """

    number: float | None = attribute(Real(), "a number in place of one of the values", None)

    name = "maximum"
    onnx_ends = ("Max",)
    arity = 2
    is_commutative = True
    number_places = ("number", "number")
    aten = (
        AtenForm(("maximum", "max.other"), ("self", "other")),
        AtenForm(("clamp_min",), ("self", "min")),
        AtenForm(
            ("logical_or", "bitwise_or", "__or__"),
            ("self", "other"),
            unless=both_compared,
            gives_condition=True,
            reads_conditions=True,
        ),
    )
    examples = (
        Example("maximum", ((5,), (5,))),
        Example("maximum", ((3, 1), (3, 2))),
        Example("maximum(0.25)", ((5,),)),
    )
    unequal = Code.error("shape/maximum-mismatch", "the larger of values whose shapes do not fit")
    bad_examples = (
        BadExample("maximum", ((3, 4, 4), (3, 4, 5)), unequal),
        BadExample("maximum", ((3, 4, 4),), codes.CALL_INPUTS),
    )

    def combine(self, *x: Expression) -> Expression:
        """The larger."""
        a, b = x
        return maximum(a, b)

    def slopes(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """The derivatives by both operands. If two values are equal, each has a half."""
        a, b = x
        if self.number is not None:
            return where(a > b, 1, 0), where(a < b, 1, 0)
        return where(a > b, 1, where(a < b, 0, 0.5)), where(a > b, 0, where(a < b, 1, 0.5))

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.maximum`, or `torch.clamp` with a number."""
        if self.number is None:
            return Torch("torch.maximum", (X(0), X(1)))
        return Torch("torch.clamp", (X(0),), {"min": self.number})
