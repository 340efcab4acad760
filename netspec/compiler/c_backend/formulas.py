"""Elementwise formulas as C expressions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netspec.compiler.c_backend.c_text import number, without_brackets
from netspec.compiler.ir.expression import FUNCTIONS, Apply, Const, Expression, Var

_OPERATORS = {
    "add": "({} + {})",
    "subtract": "({} - {})",
    "multiply": "({} * {})",
    "divide": "({} / {})",
    "negative": "(-{})",
    "greater": "({} > {})",
    "less": "({} < {})",
    "logical_and": "({} && {})",
    "absolute": "real_abs({})",
    "power": "real_pow({}, {})",
}

# A formula deeper than this is computed in steps: compilers limit how deep brackets are.
_DEEP = 12


@dataclass
class _Term:
    """The text of a part of a formula, and how many levels of brackets it has."""

    text: str
    depth: int = 0


def c_formula(
    formula: Expression, names: Mapping[str, str], *, double: bool
) -> tuple[list[str], str]:
    """Return statements that come first, and the expression, in which variables have these names.

    Parts that occur twice, and parts of deep formulas, are constants `t1`, `t2` and so on.
    """
    return _Writer(names, double).write(formula)


class _Writer:
    def __init__(self, names: Mapping[str, str], double: bool) -> None:
        self._names = names
        self._double = double
        self._statements: list[str] = []
        self._terms: dict[int, _Term] = {}

    def write(self, formula: Expression) -> tuple[list[str], str]:
        order = _in_order(formula)
        uses = Counter(id(a) for node in order if isinstance(node, Apply) for a in node.arguments)
        for node in order:
            term = self._term(node)
            truth = isinstance(node, Apply) and FUNCTIONS[node.function].boolean
            often = isinstance(node, Apply) and uses[id(node)] > 1
            if node is not formula and not truth and (often or term.depth >= _DEEP):
                name = f"t{len(self._statements) + 1}"
                self._statements.append(f"const real {name} = {without_brackets(term.text)};")
                term = _Term(name)
            self._terms[id(node)] = term
        text = self._terms[id(formula)].text
        return self._statements, without_brackets(text)

    def _term(self, node: Expression) -> _Term:
        if isinstance(node, Var):
            return _Term(self._names[node.name])
        if isinstance(node, Const):
            return _Term(number(node.value, double=self._double))
        assert isinstance(node, Apply)
        depth = 1 + max(self._terms[id(a)].depth for a in node.arguments)
        return _Term(self._applied(node), depth)

    def _applied(self, node: Apply) -> str:
        name = node.function
        if name == "where":
            condition, then, otherwise = node.arguments
            return f"({self._truth(condition)} ? {self._real(then)} : {self._real(otherwise)})"
        if name in ("maximum", "minimum"):
            return self._extreme(name, node.arguments)
        if name == "logical_and":
            return _OPERATORS[name].format(*map(self._truth, node.arguments))
        given = [self._real(argument) for argument in node.arguments]
        return _OPERATORS.get(name, f"real_{name}({{}})").format(*map(_bare_in_call(name), given))

    def _extreme(self, name: str, arguments: tuple[Expression, ...]) -> str:
        a, b = map(self._real, arguments)
        sign, function = ("<", "larger") if name == "maximum" else (">", "smaller")
        if isinstance(arguments[1], Const) and isinstance(arguments[0], Var):
            return f"({a} {sign} {b} ? {b} : {a})"  # a NaN is kept
        return f"{function}({without_brackets(a)}, {without_brackets(b)})"

    def _truth(self, node: Expression) -> str:
        text = self._terms[id(node)].text
        is_truth = isinstance(node, Apply) and FUNCTIONS[node.function].boolean
        return text if is_truth else f"({text} != 0)"

    def _real(self, node: Expression) -> str:
        text = self._terms[id(node)].text
        is_truth = isinstance(node, Apply) and FUNCTIONS[node.function].boolean
        return f"(real){text}" if is_truth else text


def _bare_in_call(name: str) -> Callable[[str], str]:
    """Return what takes the brackets of an argument off, if it stands in those of a call."""
    return str if _OPERATORS.get(name, "").startswith("(") else without_brackets


def _in_order(formula: Expression) -> list[Expression]:
    """Return each node of a formula once, arguments first."""
    order: dict[int, Expression] = {}
    stack: list[tuple[Expression, bool]] = [(formula, False)]
    while stack:
        node, done = stack.pop()
        if id(node) in order:
            continue
        if done or not isinstance(node, Apply):
            order[id(node)] = node
            continue
        stack.append((node, True))
        stack.extend((argument, False) for argument in reversed(node.arguments))
    return list(order.values())
