"""Shapes that a file writes as a list of sizes."""

from __future__ import annotations

from typing import cast

from netspec import codes
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.ir.attributes import Int, WrongValueError, show
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.sizes import Size
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Hint

MAX_EXTENT = 1 << 24


def shape_of(
    value: Constant,
    expr: syntax.Expr,
    reporter: Reporter,
    *,
    what: str,
    longest: int,
    hints: tuple[Hint, ...] = (),
) -> Shape | None:
    """Return the shape that a constant is, or None after reporting an error.

    Args:
        value: the constant, as evaluated from `expr`.
        expr: the expression.
        reporter: receives the errors.
        what: whose shape it is, in words: "an input".
        longest: the most sizes that it may have.
        hints: how to write such a shape.
    """
    if not isinstance(value, tuple) or not 1 <= len(value) <= longest:
        message = f"the shape of {what} must be a list of 1 to {longest} sizes, not {show(value)}"
        reporter.report(codes.INPUT_SHAPE, message, expr.span, hints=hints)
        return None
    shape = []
    for i, size in enumerate(value):
        if isinstance(size, Size):
            shape.append(cast(int, size))  # a Size has the arithmetic of an int
            continue
        try:
            shape.append(Int(1, MAX_EXTENT).convert(size))
        except WrongValueError as error:
            span = expr.items[i].span if isinstance(expr, syntax.ListExpr) else expr.span
            reporter.report(codes.INPUT_SHAPE, f"a size must be {error}", span, hints=hints)
    return tuple(shape) if len(shape) == len(value) else None
