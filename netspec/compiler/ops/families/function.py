"""Functions of one number: what their files share."""

from netspec.compiler.ir.contract import *


class FunctionOp(ElementwiseOp):
    """A function of one number, applied to each. Subclasses say `of` and `slope`."""

    def of(self, x: Expression) -> Expression:
        """The formula of the value."""
        raise NotImplementedError

    def slope(self, y: Expression, x: Expression) -> Expression:
        """The formula of dy/dx; one in `y` spares keeping the input."""
        raise NotImplementedError

    def value(self, *x: Expression) -> Expression:
        """The formula."""
        return self.of(x[0])

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """The one slope."""
        return (self.slope(y, x[0]),)


def whole(number: float) -> float:
    """A number as PyTorch's source writes it: 2, not 2.0; one that knows where it is from stays."""
    return int(number) if type(number) is float and number.is_integer() else number
