"""Subtraction, written `a - b`."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.arithmetic import ArithmeticOp

# 1 where a condition does not hold, else 0.
_NOT = Then("where", {"then": Always(0), "otherwise": Always(1)})


@register
class Sub(ArithmeticOp):
    """Difference of values whose sizes are equal or 1, or of a value and a number, written `a - b`.

    y = a - b, dy/da = 1, dy/db = -1.
    """

    left: float | None = attribute(Real(), "a number in place of the first value", None)
    right: float | None = attribute(Real(), "a number in place of the second value", None)

    name = "sub"
    onnx_ends = ("Sub",)
    arity = 2
    number_places = ("left", "right")
    # Comparisons are differences that are above 0 where they hold.
    aten = (
        AtenForm(
            ("sub",),
            ("self", "other"),
            unless=lambda call: call.require(
                call.arguments.get("alpha", 1) == 1, "`alpha` is not 1"
            ),
        ),
        AtenForm(
            ("rsub",),
            ("other", "self"),
            unless=lambda call: call.require(
                call.arguments.get("alpha", 1) == 1, "`alpha` is not 1"
            ),
        ),
        AtenForm(
            ("gt",),
            ("self", "other"),
            does_nothing=lambda call: call["other"] == 0,
            gives_condition=True,
        ),
        AtenForm(("lt",), ("other", "self"), gives_condition=True),
        AtenForm(("ge",), ("other", "self"), then=(_NOT,), gives_condition=True),
        AtenForm(
            ("le",),
            ("self", "other"),
            then=(_NOT,),
            does_nothing=lambda call: call["other"] == 0,
            gives_condition=True,
        ),
        AtenForm(
            ("ne",),
            ("self", "other"),
            then=(Then("abs"),),
            does_nothing=lambda call: call["other"] == 0,
            gives_condition=True,
        ),
        AtenForm(
            ("eq",),
            ("self", "other"),
            then=(Then("abs"), _NOT),
            does_nothing=lambda call: call["other"] == 0,
            gives_condition=True,
        ),
    )
    examples = (
        Example("sub", ((5,), (5,))),
        Example("sub", ((1, 2, 2), (3, 2, 2))),
        Example("sub(right = 2)", ((3,),)),
    )
    unequal = Code.error("shape/sub-mismatch", "a difference of values whose shapes do not fit")
    bad_examples = (
        BadExample("sub", ((3, 4, 4), (3, 4, 5)), unequal),
        BadExample("sub", ((3, 4, 4),), codes.CALL_INPUTS),
    )

    def combine(self, *x: Expression) -> Expression:
        """a - b."""
        a, b = x
        return a - b

    def slopes(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1 and -1."""
        return Const(1.0), Const(-1.0)

    def torch(self, *inputs: Shape) -> Torch:
        """`a - b`."""
        return self.joined("torch.sub", len(inputs))
