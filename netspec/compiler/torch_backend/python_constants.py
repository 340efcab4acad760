"""The file's constant expressions as Python: the same operators, names and functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from netspec.compiler.ir.constants import FUNCTIONS
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.naming import number, quote, safe_name
from netspec.compiler.torch_backend.python_layout import is_bracketed
from netspec.compiler.torch_backend.structured.structure import NotStructuredError

Ask = Callable[[syntax.Access], "str | None"]
"""What an attribute of a value is, as Python: None for what is no attribute of a value."""

# What a power may stand next to without spaces, and what is an operand without brackets.
_TIGHT = re.compile(r"-?[\w.]+")
_SIMPLE = re.compile(r"[\w.]+(\([^()]*\)|\[[^\[\]]*\])*")
# Python has iterators for these, where the file has lists.
_ITERATORS = frozenset({"enumerate", "zip"})
_LISTS = frozenset({"enumerate", "zip", "range", "reversed"})


# Python nests what stands in a row: a sum of thousands of terms is too deep for it. Brackets, of which
# there are few in each other, multiply that.
MOST_IN_A_ROW = 50


def no_value(access: syntax.Access) -> str | None:
    """An `Ask` where no value of the net is known."""
    del access
    return None


@lru_cache(maxsize=10_000)
def python_name(name: str) -> str:
    """A name of the file in a constructor of a net."""
    if name in FUNCTIONS or name == "math":
        raise NotStructuredError
    return name if name == "i" else safe_name(name)


@lru_cache(maxsize=10_000)
def bracketed(text: str) -> str:
    """An expression as an operand."""
    return text if _SIMPLE.fullmatch(text) or is_bracketed(text) else f"({text})"


def names_of(expr: syntax.Expr) -> set[str]:
    """The names in an expression that stand for values and constants."""
    named = syntax.parts(expr, syntax.NAMING)
    return {part.id for part in named if isinstance(part, syntax.Name)}


@lru_cache(maxsize=10_000)
def words_in(text: str) -> frozenset[str]:
    """The names in a Python expression; words in quotes are none."""
    bare = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "", text)
    return frozenset(re.findall(r"(?<![\w.])[A-Za-z_]\w*", bare))


class PythonConstants:
    """Writes expressions of one body.

    Args:
        ask: what attributes of values are.
        lists: whether a name of the body stands for a list.
        name: how a name is written.
        is_scripted: whether TorchScript reads it: it makes floats of powers of whole numbers, so that
            small ones are products, and its `zip` takes nothing but lists.
    """

    def __init__(
        self,
        ask: Ask,
        lists: Callable[[str], bool],
        name: Callable[[str], str],
        *,
        is_scripted: bool = False,
    ) -> None:
        self.ask = ask
        self.lists = lists
        self.name = name
        self.is_scripted = is_scripted

    def text(self, expr: syntax.Expr, *, iterated: bool = False) -> str:
        """An expression that stands alone; `iterated` where a loop runs over it.

        Raises:
            NotStructuredError: for what Python would not understand as it was meant.
        """
        expr = _bare(expr)
        if _in_a_row(expr) > MOST_IN_A_ROW:
            raise NotStructuredError
        if isinstance(expr, syntax.Call):
            return self._call(expr, iterated=iterated)
        write = _WRITERS.get(type(expr))
        if write is None:
            raise NotStructuredError
        return write(self, expr)

    def negated(self, expr: syntax.Expr) -> str:
        """`not` this condition."""
        expr = _bare(expr)
        if isinstance(expr, syntax.Compare) and len(expr.rest) == 1:
            ((operator, operand),) = expr.rest
            sides = (self._side(expr.first), self._side(operand))
            return f" {_OPPOSITES[operator]} ".join(sides)
        if isinstance(expr, syntax.Unary) and expr.operators == ("not",):
            return self.text(expr.operand)
        return f"not {self._operand(expr, (syntax.Logic, syntax.Conditional))}"

    def _operand(self, expr: syntax.Expr, weaker: tuple[type, ...]) -> str:
        """In brackets where the expression binds no stronger than its surroundings."""
        inner = _bare(expr)
        text = self.text(inner)
        return f"({text})" if isinstance(inner, weaker) else text

    def _name(self, expr: syntax.Name) -> str:
        return self.name(expr.id)

    def _literal(self, expr: syntax.Literal) -> str:
        return quote(expr.value) if isinstance(expr.value, str) else number(expr.value)

    def _list(self, expr: syntax.ListExpr) -> str:
        return f"[{', '.join(map(self.text, expr.items))}]"

    def _logic(self, expr: syntax.Logic) -> str:
        return f" {expr.operator} ".join(map(self._part_of_logic, expr.items))

    def _conditional(self, expr: syntax.Conditional) -> str:
        text = ""
        for case in expr.cases:
            value, condition = (self._operand(part, (syntax.Conditional,)) for part in case)
            text += f"{value} if {condition} else "
        return text + self.text(expr.otherwise)

    def _part_of_logic(self, expr: syntax.Expr) -> str:
        return self._operand(expr, (syntax.Logic, syntax.Conditional))

    def _side(self, expr: syntax.Expr) -> str:
        if self.is_list(expr):  # a tuple is no list for Python
            raise NotStructuredError
        return self._operand(expr, (syntax.Logic, syntax.Conditional, syntax.Compare, syntax.Unary))

    def _compare(self, expr: syntax.Compare) -> str:
        rest = [f" {operator} {self._side(operand)}" for operator, operand in expr.rest]
        return self._side(expr.first) + "".join(rest)

    def _chain(self, expr: syntax.Chain) -> str:
        operands = [expr.first, *(operand for _, operand in expr.rest)]
        if any(map(self.is_list, operands)):
            return self._joined(expr, operands)
        is_sum = expr.rest[0][0] in "+-"
        texts = [self._term(operand, is_sum=is_sum) for operand in operands]
        if isinstance(expr.first, syntax.Unary):
            texts[0] = self.text(expr.first)
        operators = [operator for operator, _ in expr.rest]
        rest = [f" {op} {text}" for op, text in zip(operators, texts[1:], strict=True)]
        return texts[0] + "".join(rest)

    def _term(self, expr: syntax.Expr, *, is_sum: bool) -> str:
        """An operand of a sum or a product: powers and, in sums, products need no brackets."""
        text = self.text(expr)
        if isinstance(expr, syntax.Power) and (is_sum or not self._is_product(expr)):
            return text
        if is_sum and isinstance(expr, syntax.Chain) and expr.rest[0][0] not in "+-":
            return text
        return bracketed(text)

    def _factor(self, expr: syntax.Expr) -> str:
        text = self.text(expr)
        return text if isinstance(_bare(expr), syntax.ListExpr) else bracketed(text)

    def _joined(self, expr: syntax.Chain, operands: list[syntax.Expr]) -> str:
        """Lists behind one another, whether tuples or lists to Python."""
        if all(operator == "*" for operator, _ in expr.rest):
            return " * ".join(self._factor(operand) for operand in operands)
        if any(operator != "+" for operator, _ in expr.rest):
            raise NotStructuredError
        bare = list(map(_bare, operands))
        if all(map(_is_repeated, bare)):
            return " + ".join(map(self.text, bare))
        items: list[str] = []
        for operand in bare:
            if isinstance(operand, syntax.ListExpr):
                items += map(self.text, operand.items)
            elif self.is_list(operand):
                items.append(f"*{bracketed(self.text(operand))}")
            else:
                raise NotStructuredError
        return f"[{', '.join(items)}]"

    def _power(self, expr: syntax.Power) -> str:
        texts = [bracketed(self.text(item)) for item in expr.items]
        if self._is_product(expr):
            return " * ".join(texts[:1] * int(texts[1]))
        return ("**" if all(map(_TIGHT.fullmatch, texts)) else " ** ").join(texts)

    def _is_product(self, expr: syntax.Power) -> bool:
        """Whether a power is written as a product."""
        exponent = _bare(expr.items[-1])
        is_small = isinstance(exponent, syntax.Literal) and repr(exponent.value) in "234"
        return self.is_scripted and len(expr.items) == 2 and is_small

    def _unary(self, expr: syntax.Unary) -> str:
        if expr.operators == ("not",):
            return f"not {self._operand(expr.operand, (syntax.Logic, syntax.Conditional))}"
        if "not" in expr.operators:
            raise NotStructuredError
        return "".join(expr.operators) + bracketed(self.text(expr.operand))

    def _access(self, expr: syntax.Access) -> str:
        known = self.ask(expr)
        if known is not None:
            return known
        text = bracketed(self.text(expr.base))
        for trailer in expr.trailers:
            if isinstance(trailer, syntax.Index):
                text += f"[{self.text(trailer.at)}]"
            elif isinstance(trailer, syntax.Slice):
                ends = ["" if e is None else self.text(e) for e in (trailer.start, trailer.stop)]
                colon = ":" if all(_TIGHT.fullmatch(end) for end in ends if end) else " : "
                text += f"[{colon.join(ends).strip()}]"
            else:
                raise NotStructuredError
        return text

    def _call(self, expr: syntax.Call, *, iterated: bool) -> str:
        name = expr.callee.id
        if name not in FUNCTIONS or any(argument.name is not None for argument in expr.arguments):
            raise NotStructuredError
        inner = [argument.value for argument in expr.arguments]
        if name == "reversed":
            return f"{bracketed(self.text(inner[0]))}[::-1]"
        texts = [self.text(value, iterated=name in _ITERATORS) for value in inner]
        if name in ("sqrt", "exp", "log", "sin", "cos"):
            return f"math.{name}({texts[0]})"
        if name == "zip" and not self.is_scripted:
            texts.append("strict=False")
        text = f"{name}({', '.join(texts)})"
        return f"list({text})" if name in _ITERATORS and not iterated else text

    def is_list(self, expr: syntax.Expr) -> bool:
        """Whether an expression can only be a list."""
        expr = _bare(expr)
        if isinstance(expr, syntax.ListExpr):
            return True
        if isinstance(expr, syntax.Call):
            return expr.callee.id in _LISTS
        if isinstance(expr, syntax.Access):
            return isinstance(expr.trailers[-1], syntax.Slice)
        if isinstance(expr, syntax.Chain):
            return self.is_list(expr.first)
        if isinstance(expr, syntax.Conditional):
            return self.is_list(expr.otherwise)
        return isinstance(expr, syntax.Name) and self.lists(expr.id)


def _bare(expr: syntax.Expr) -> syntax.Expr:
    while isinstance(expr, syntax.Parens):
        expr = expr.inner
    return expr


def _in_a_row(expr: syntax.Expr) -> int:
    """How many operands, cases or trailers follow on one another."""
    if isinstance(expr, syntax.Chain):
        return len(expr.rest)
    if isinstance(expr, syntax.Conditional):
        return len(expr.cases)
    if isinstance(expr, syntax.Power):
        return len(expr.items)
    if isinstance(expr, syntax.Unary):
        return len(expr.operators)
    return len(expr.trailers) if isinstance(expr, syntax.Access) else 0


def _is_repeated(expr: syntax.Expr) -> bool:
    """Whether an expression is a list such as `[0] * n`, for Python too."""
    if not isinstance(expr, syntax.Chain) or any(operator != "*" for operator, _ in expr.rest):
        return False
    return isinstance(_bare(expr.first), syntax.ListExpr)


_OPPOSITES = {"==": "!=", "!=": "==", ">": "<=", "<": ">=", ">=": "<", "<=": ">"}
_WRITERS: dict[type, Callable[[PythonConstants, Any], str]] = {
    syntax.Name: PythonConstants._name,
    syntax.Literal: PythonConstants._literal,
    syntax.ListExpr: PythonConstants._list,
    syntax.Chain: PythonConstants._chain,
    syntax.Power: PythonConstants._power,
    syntax.Unary: PythonConstants._unary,
    syntax.Compare: PythonConstants._compare,
    syntax.Logic: PythonConstants._logic,
    syntax.Conditional: PythonConstants._conditional,
    syntax.Access: PythonConstants._access,
}
