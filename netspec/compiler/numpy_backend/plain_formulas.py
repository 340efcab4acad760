"""Elementwise formulas as expressions of NumPy, as a person would write them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from netspec.compiler.ir.expression import FUNCTIONS, Apply, Const, Expression, Var

# How tightly the operators bind, which decides where brackets are needed.
BINDING = {
    "greater": 0, "less": 0, "add": 1, "subtract": 1, "multiply": 2, "divide": 2, "negative": 3,
    "power": 4,
}  # fmt: skip
SIGNS = {
    "greater": " > ", "less": " < ", "add": " + ", "subtract": " - ", "multiply": " * ",
    "divide": " / ", "power": " ** ",
}  # fmt: skip
ATOM = 5


def numpy_formula(formula: Expression, names: Mapping[str, str]) -> str:
    """Return a formula as source, with `names` for its variables."""
    return _text(formula, names)[0]


def _text(formula: Expression, names: Mapping[str, str]) -> tuple[str, int]:
    """Return a formula as source, and how tightly it binds."""
    if isinstance(formula, Const):
        return _number(formula.value), ATOM if formula.value >= 0 else BINDING["negative"]
    if isinstance(formula, Var):
        return names[formula.name], ATOM
    assert isinstance(formula, Apply)
    binding = BINDING.get(formula.function)
    parts = [_text(argument, names) for argument in formula.arguments]
    if binding is None:
        name = FUNCTIONS[formula.function].numpy
        called = name if "." in name else f"np.{name}"
        return f"{called}({', '.join(text for text, _ in parts)})", ATOM
    if formula.function == "negative":
        return f"-{_bracketed(parts[0], binding)}", binding
    # What is to the right is bracketed as the formula has it: sums are rounded in their order.
    # A power is the other way round, and takes no sign.
    left, right = (1, 0) if formula.function == "power" else (0, 1)
    a, b = _bracketed(parts[0], binding + left), _bracketed(parts[1], binding + right)
    return f"{a}{SIGNS[formula.function]}{b}", binding


def _bracketed(part: tuple[str, int], least: int) -> str:
    text, binding = part
    return text if binding >= least else f"({text})"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return f'float("{value}")'
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
