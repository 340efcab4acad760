"""Translates conditions of a file to Python expressions in a class's arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass

from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.values import Evaluate, Unknown, Value
from netspec.compiler.ir.size_text import size_text
from netspec.compiler.ir.sizes import Size
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.naming import number, quote
from netspec.compiler.torch_backend.traced_numbers import Traced, TracedFloat, roots_of


@dataclass(frozen=True)
class Surroundings:
    """The body that contains a condition: its names, and the function that evaluates its
    expressions.
    """

    names: Names
    evaluate: Evaluate


@dataclass(frozen=True)
class Condition:
    """A Python expression, the arguments in it, and its outermost operator.

    `text` is None if arguments cannot express the condition. `sides` are the operands of a single
    comparison, or the operand of a `not`.
    """

    text: str | None
    symbols: frozenset[str] = frozenset()
    operator: str = ""
    sides: tuple[str, ...] = ()

    def negated(self) -> Condition:
        """Return the negation of the condition."""
        assert self.text is not None
        if self.operator in _OPPOSITES and len(self.sides) == 2:
            opposite = _OPPOSITES[self.operator]
            text = f" {opposite} ".join(self.sides)
            return Condition(text, self.symbols, opposite, self.sides)
        if self.operator == "not":
            return Condition(self.sides[0], self.symbols)
        operand = f"({self.text})" if self.operator in ("and", "or") else self.text
        return Condition(f"not {operand}", self.symbols, "not", (operand,))


_OPPOSITES = {"==": "!=", "!=": "==", ">": "<=", "<": ">=", ">=": "<", "<=": ">"}


def condition_of(body: Surroundings, expr: syntax.Expr) -> Condition:
    """Translate a condition. Its numbers are those of the body that contains it."""
    if isinstance(expr, syntax.Parens):
        return condition_of(body, expr.inner)
    if isinstance(expr, syntax.Logic):
        parts = [condition_of(body, item) for item in expr.items]
        texts = [
            f"({part.text})" if part.operator in ("and", "or") else part.text for part in parts
        ]
        symbols = frozenset[str]().union(*(part.symbols for part in parts))
        if None in texts:
            return Condition(None)
        joined = f" {expr.operator} ".join(text for text in texts if text)
        return Condition(joined, symbols, expr.operator)
    if isinstance(expr, syntax.Unary) and expr.operators == ("not",):
        inner = condition_of(body, expr.operand)
        return inner.negated() if inner.text is not None else inner
    if isinstance(expr, syntax.Compare):
        operands = [_value(body, e) for e in (expr.first, *(e for _, e in expr.rest))]
        if None in operands:
            return Condition(None)
        text, symbols = operands[0]  # type: ignore[misc]
        for (operator, _), operand in zip(expr.rest, operands[1:], strict=True):
            assert operand is not None
            text += f" {operator} {operand[0]}"
            symbols |= operand[1]
        if len(expr.rest) > 1:
            return Condition(text, symbols, "compare")
        sides = tuple(operand[0] for operand in operands if operand is not None)
        return Condition(text, symbols, expr.rest[0][0], sides)
    value = _value(body, expr)
    return Condition(None) if value is None else Condition(value[0], value[1])


def _value(body: Surroundings, expr: syntax.Expr) -> tuple[str, frozenset[str]] | None:
    """Return a constant as Python, with the arguments in it; None if it is no constant here."""
    known = set(body.names.scope.names())
    if any(name not in known for name in _names(expr)):
        return None
    value = body.evaluate(expr)
    if isinstance(value, Unknown):
        return None
    known_value = _literal(value)
    if known_value is None or known_value[1]:
        return known_value
    # For a number whose origin is lost, such as the result of `%`, the file's expression is written
    # out.
    return _written_out(body, expr) or known_value


def _written_out(body: Surroundings, expr: syntax.Expr) -> tuple[str, frozenset[str]] | None:
    """Translate arithmetic on arguments, operator by operator."""
    if isinstance(expr, syntax.Parens):
        return _written_out(body, expr.inner)
    if isinstance(expr, syntax.Chain):
        operators = [operator for operator, _ in expr.rest]
        operands = [expr.first, *(operand for _, operand in expr.rest)]
    elif isinstance(expr, syntax.Power):
        operators, operands = ["**"] * (len(expr.items) - 1), list(expr.items)
    else:
        return None
    found = [_value(body, operand) for operand in operands]
    if None in found or not any(part[1] for part in found if part):
        return None
    parts = [part for part in found if part is not None]
    texts = [text if _SIMPLE.fullmatch(text) else f"({text})" for text, _ in parts]
    tight = isinstance(expr, syntax.Power) and not any("(" in text for text in texts)
    joined = texts[0]
    for operator, text in zip(operators, texts[1:], strict=True):
        joined += f"{operator}{text}" if tight else f" {operator} {text}"
    return joined, frozenset[str]().union(*(symbols for _, symbols in parts))


_SIMPLE = re.compile(r"[\w.]+")


def forgotten(body: Surroundings, expr: syntax.Expr, condition: Condition) -> set[str]:
    """Return the net's arguments that occur in a condition but not in its translation."""
    found = set()
    for name in _names(expr):
        binding = body.names.scope.get(name)
        value = None if binding is None else binding.value
        known = _literal(value) if isinstance(value, (int, float, tuple)) else None
        if known is not None and not known[1] <= condition.symbols:
            found |= roots_of(value)
    return found


def _literal(value: Value) -> tuple[str, frozenset[str]] | None:
    if isinstance(value, Traced):
        names = value.local.names() if isinstance(value.local, Size) else set()
        return size_text(value.local), frozenset(names)
    if isinstance(value, TracedFloat):
        return value.local, frozenset({value.local})
    if isinstance(value, str):
        return quote(value), frozenset()
    if isinstance(value, tuple):
        items = [_literal(item) for item in value]
        if None in items:
            return None
        texts = ", ".join(item[0] for item in items if item)
        symbols = frozenset[str]().union(*(item[1] for item in items if item))
        return f"({texts}{',' * (len(items) == 1)})", symbols
    if value is None or isinstance(value, (bool, int, float)):
        return number(value), frozenset()
    return None


def _names(expr: syntax.Expr) -> set[str]:
    """Return the names in an expression that stand for values and constants."""
    named = syntax.parts(expr, syntax.NAMING)
    return {part.id for part in named if isinstance(part, syntax.Name)}
