"""Ops that act on every element by a formula: what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from netspec.compiler.ir.expression import (
    Apply,
    Const,
    Expression,
    Var,
    decisions,
    evaluate,
    variables,
    where,
)
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.op import Evaluation, Op, ShapeError
from netspec.compiler.ir.sizes import differ
from netspec.diagnostics import Code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.compiler.ir.plan import Lowering

    Array = NDArray[Any]


class ElementwiseOp(Op):
    """An op that acts on every element by a formula, given as data.

    Subclasses say `value` and `derivatives`; shape, reference and lowering follow from them. One of
    several inputs declares the code `unequal`.

    Attributes:
        unequal: the code of inputs of different shapes.
    """

    unequal: ClassVar[Code]

    def value(self, *x: Expression) -> Expression:
        """The formula of the value."""
        raise NotImplementedError

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """The formula of dy/dx for each input; a formula in `y` spares keeping the inputs."""
        raise NotImplementedError

    def shape(self, *inputs: Shape) -> Shape:
        """Equal shapes in, the same shape out."""
        first = inputs[0]
        if any(differ(other, first) for other in inputs[1:]):
            raise ShapeError(
                self.unequal,
                f"`{self.name}` needs equal shapes, not "
                + " and ".join(show_shape(shape) for shape in inputs),
            )
        return first

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The formula, one NumPy function at a time."""
        names = _names(len(x))
        return evaluate(self.value(*map(Var, names)), dict(zip(names, x, strict=True)))

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The chain rule: dx = dy * dy/dx."""
        names = _names(len(x))
        values = dict(zip(names, x, strict=True)) | {"y": self.forward(run, *x)}
        formulas = self.derivatives(Var("y"), *map(Var, names))
        return tuple(dy * evaluate(formula, values) for formula in formulas)

    def pattern(self, *x: Array) -> Array | None:
        """What the comparisons in the formula give, one after the other; None if it has none."""
        import numpy as np

        names = _names(len(x))
        values = dict(zip(names, x, strict=True))
        found = [evaluate(each, values) for each in decisions(self.value(*map(Var, names)))]
        return np.stack(found) if found else None

    def lower(self, to: Lowering) -> None:
        """One elementwise step."""
        names = _names(len(to.x))
        formula = self.value(*map(Var, names))
        to.elementwise(to.out, formula, **dict(zip(names, to.x, strict=True)))

    def lower_backward(self, to: Lowering) -> None:
        """One elementwise step an input, none where the gradient passes unchanged."""
        names = _names(len(to.x))
        operands = dict(zip(names, to.x, strict=True)) | {"y": to.out, "dy": to.dy}
        for i, formula in enumerate(self.derivatives(Var("y"), *map(Var, names))):
            if not to.wanted[i]:
                continue
            if formula == Const(1.0):
                to.gradient(i, to.dy)
                continue
            product = chain_rule(formula)
            dx = to.gradient_buffer(i)
            used = {name: operands[name] for name in variables(product)}
            to.elementwise(dx, product, **used)
            to.gradient(i, dx)


def chain_rule(derivative: Expression) -> Expression:
    """`dy * derivative`, with a derivative of `where(c, 1, 0)` written as `where(c, dy, 0)`."""
    dy = Var("dy")
    if isinstance(derivative, Apply) and derivative.function == "where":
        condition, then, otherwise = derivative.arguments
        if (then, otherwise) == (Const(1.0), Const(0.0)):
            return where(condition, dy, 0.0)
    return dy * derivative


def _names(count: int) -> tuple[str, ...]:
    return ("x",) if count == 1 else tuple(f"x{i}" for i in range(count))
