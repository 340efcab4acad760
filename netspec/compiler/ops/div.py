"""Division, written `a / b`."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.idiom import Attributes
from netspec.compiler.ops.families.arithmetic import ArithmeticOp


def _number_by(row: tuple[Attributes, ...], _: tuple[int, ...]) -> Attributes | None:
    """`2 / x`, which PyTorch computes as the product of `1 / x` and the number."""
    quotient, product = row
    is_one = quotient.get("left") == 1
    return {"left": product["number"]} if is_one and "number" in product else None


@register
class Div(ArithmeticOp):
    """Quotient of values whose sizes are equal or 1, or of a value and a number, written `a / b`.

    y = a / b, dy/da = 1 / b, dy/db = -y / b.
    """

    left: float | None = attribute(Real(), "a number in place of the first value", None)
    right: float | None = attribute(Real(), "a number in place of the second value", None)

    name = "div"
    onnx_ends = ("Div",)
    arity = 2
    number_places = ("left", "right")
    aten = (
        AtenForm(
            ("div", "true_divide"),
            ("self", "other"),
            unless=lambda call: call.require(not call.has("rounding_mode"), "it rounds"),
        ),
        AtenForm(("reciprocal",), attributes={"left": Always(1)}),  # so PyTorch computes `1 / x`
    )
    idioms = (Idiom(("div", "mul"), _number_by),)
    examples = (
        Example("div", ((3, 1), (1, 2))),
        Example("div(right = 2)", ((3,),)),
        Example("div(left = 1)", ((3,),)),
    )
    unequal = Code.error("shape/div-mismatch", "a quotient of values whose shapes do not fit")
    bad_examples = (
        BadExample("div", ((3, 4, 4), (3, 4, 5)), unequal),
        BadExample("div", ((3, 4, 4),), codes.CALL_INPUTS),
    )

    def combine(self, *x: Expression) -> Expression:
        """a / b."""
        a, b = x
        return a / b

    def slopes(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1 / b and -y / b."""
        _, b = x
        return 1 / b, -(y / b)

    def torch(self, *inputs: Shape) -> Torch:
        """`a / b`."""
        return self.joined("torch.div", len(inputs))
