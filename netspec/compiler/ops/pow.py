"""Powers, written `a ** b`."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.arithmetic import ArithmeticOp


@register
class Pow(ArithmeticOp):
    """Power of values whose sizes are equal or 1, or of a value and a number, written `a ** b`.

    y = a^b, dy/da = b a^(b - 1), dy/db = y log(a). Where b has a fraction, a may not be negative.
    """

    base: float | None = attribute(Real(), "a number in place of the first value", None)
    exponent: float | None = attribute(Real(), "a number in place of the second value", None)

    name = "pow"
    onnx_ends = ("Pow",)
    arity = 2
    number_places = ("base", "exponent")
    needs_positive = True
    aten = (AtenForm(("pow",), ("self", "exponent")),)
    examples = (
        Example("pow(exponent = 3)", ((3,),)),
        Example("pow(exponent = -0.5)", ((3,),)),
        Example("pow(exponent = 1.7)", ((3,),)),
        Example("pow(base = 2)", ((3,),)),
        Example("pow", ((3, 1), (1, 2))),
    )
    unequal = Code.error("shape/pow-mismatch", "a power of values whose shapes do not fit")
    bad_examples = (
        BadExample("pow", ((3, 4), (3, 5)), unequal),
        BadExample("pow", ((7,),), codes.CALL_INPUTS),
        BadExample("pow(base = -2)", ((7,),), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """The larger size on each axis."""
        if self.base is not None and self.base <= 0:
            message = f"a number to the power of a value must be positive, not {self.base:g}"
            raise ShapeError(codes.CALL_VALUE, message, blame="base")
        return super().shape(*inputs)

    def combine(self, *x: Expression) -> Expression:
        """a^b, by products and roots where these are exact: a general power takes far longer."""
        a, b = x
        return _power(a, b.value) if isinstance(b, Const) else a**b

    def slopes(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """b a^(b - 1) and y log(a), which is 0 where a is."""
        a, b = x
        by_exponent = where(a * a > 0, y * log(a), 0)
        if not isinstance(b, Const):
            return b * a ** (b - 1), by_exponent
        constant = b.value in (0, 1)
        return b if constant else b * _power(a, b.value - 1), by_exponent

    def torch(self, *inputs: Shape) -> Torch:
        """`a ** b`."""
        return self.joined("torch.pow", len(inputs))


def _power(x: Expression, exponent: float) -> Expression:
    """x^n as a formula."""
    if exponent < 0:
        return 1 / _power(x, -exponent)
    if exponent == 0:
        return x * 0 + 1
    if exponent in (0.5, 1, 1.5, 2, 3, 4):
        roots = [sqrt(x)] if exponent % 1 else []
        return product([*roots, *[x] * int(exponent)])
    return x**exponent
