"""Evaluates expressions as what a context needs: a constant, a value of the net, a condition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.elaborate.values import (
    UNKNOWN,
    Evaluate,
    Input,
    SharedLayer,
    Tensor,
    Tensors,
    Unknown,
    Value,
)
from netspec.compiler.ir import constants
from netspec.compiler.ir.constants import Constant, ConstantError
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Hint, Span

if TYPE_CHECKING:
    from netspec.compiler.elaborate.reporter import Reports


class Evaluator:
    """Evaluates expressions that must be of a certain kind, and reports any other.

    `evaluate` leads from a call back to the expressions that it is made of. It is set when the body
    is complete, and is the only such cycle between a body's parts.
    """

    evaluate: Evaluate

    def __init__(self, reporter: Reports) -> None:
        self.reporter = reporter

    def constant(self, expr: syntax.Expr, what: str, help: str = "") -> Constant | Unknown:
        """Return a compile-time constant, or UNKNOWN after reporting an error."""
        return self.as_constant(self.evaluate(expr), expr, what, help)

    def as_constant(
        self, value: Value, expr: syntax.Expr, what: str, help: str = ""
    ) -> Constant | Unknown:
        """Return a value as a compile-time constant. Report any other value, and return UNKNOWN.

        `help` says what is written in place of a value.
        """
        if isinstance(value, (Tensor, Tensors, SharedLayer)):
            self.reporter.report(
                codes.VALUE_NOT_A_CONSTANT,
                f"{what} must be a constant, not a value of the net",
                expr.span,
                label=show_shape(value.shape) if isinstance(value, Tensor) else "",
                hints=(Hint(help),) if help else (),
            )
            return UNKNOWN
        return value

    def constants(
        self, exprs: Iterable[syntax.Expr], what: str, help: str = ""
    ) -> list[Constant] | None:
        """Return several constants, or None if one of them is UNKNOWN."""
        values = [self.constant(expr, what, help) for expr in exprs]
        known = [value for value in values if not isinstance(value, Unknown)]
        return known if len(known) == len(values) else None

    def tensor(self, expr: syntax.Expr, what: str) -> Input:
        """Return a value of the net, or UNKNOWN after reporting an error."""
        return self.as_tensor(self.evaluate(expr), expr, what)

    def as_tensor(self, value: Value, expr: syntax.Expr, what: str) -> Input:
        """Check that the result of an expression is a single value of the net."""
        if isinstance(value, (Tensor, Unknown)):
            return value
        if isinstance(value, Tensors):
            return self.one_value(value, expr.span, what)
        if isinstance(value, SharedLayer):
            self.reporter.report(
                codes.VALUE_NOT_A_TENSOR, f"{what} must be a value of the net, not a layer", expr.span,
                hints=(Hint(f"call it: `x -> {expr.span.text}`"),),
            )  # fmt: skip
        else:
            kind = constants.type_name(value)
            self.reporter.report(
                codes.VALUE_NOT_A_TENSOR,
                f"{what} must be a value of the net, not {kind}",
                expr.span,
            )
        return UNKNOWN

    def one_value(self, values: Tensors, span: Span, what: str) -> Unknown:
        """Report several values where one is needed."""
        self.reporter.report(
            codes.VALUE_SEVERAL, f"{what} must be one value, and this gives {len(values.items)}", span,
            hints=(Hint("unpack them first: `a, b = ...`"),),
        )  # fmt: skip
        return UNKNOWN

    def condition(self, expr: syntax.Expr) -> bool | None:
        """Return the value of a condition, or None after reporting an error."""
        value = self.constant(expr, "a condition")
        if isinstance(value, Unknown):
            return None
        try:
            return constants.truth(value)
        except ConstantError as error:
            self.reporter.report(error.code, error.message, expr.span)
            return None

    def choose(self, conditions: Iterable[syntax.Expr]) -> int | None:
        """Return the index of the first condition that holds, or their number if none does.

        It is None after a reported error.
        """
        case = 0
        for case, condition in enumerate(conditions):
            holds = self.condition(condition)
            if holds is None:
                return None
            if holds:
                return case
        return case + 1
