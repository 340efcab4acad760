"""Powers."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp, whole


@register
class Pow(FunctionOp):
    """Power with a number as exponent, written `x ** n`: y = x^n, dy/dx = n x^(n - 1).

    Where n has a fraction, x may not be negative.
    """

    exponent: float = attribute(Real(), "the exponent")

    name = "pow"
    needs_positive = True
    examples = (
        Example("pow(3)", ((3,),)),
        Example("pow(-0.5)", ((3,),)),
        Example("pow(1.7)", ((3,),)),
    )
    bad_examples = (BadExample("pow", ((7,),), codes.CALL_MISSING),)

    def of(self, x: Expression) -> Expression:
        """x^n, by products and roots where these are exact, because a general power takes far
        longer.
        """
        return _power(x, self.exponent)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """n x^(n - 1)."""
        if self.exponent in (0, 1):
            return Const(self.exponent)
        return self.exponent * _power(x, self.exponent - 1)

    def torch(self, *inputs: Shape) -> Torch:
        """`x ** n`."""
        return Torch("torch.pow", (X(0), whole(self.exponent)))


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
