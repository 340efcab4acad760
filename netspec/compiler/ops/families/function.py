"""The base class of functions of one number."""

from netspec.compiler.ir.contract import *


class FunctionOp(ElementwiseOp):
    """A function that is applied to each number. Subclasses define `of` and `slope`."""

    def of(self, x: Expression) -> Expression:
        """Return the formula of the value."""
        raise NotImplementedError

    def slope(self, y: Expression, x: Expression) -> Expression:
        """Return the formula of dy/dx. If it is written in `y`, the input need not be kept."""
        raise NotImplementedError

    def value(self, *x: Expression) -> Expression:
        """Return the formula."""
        return self.of(x[0])

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """Return the single slope."""
        return (self.slope(y, x[0]),)
