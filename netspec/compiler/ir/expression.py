"""Elementwise formulas as data.

An elementwise op gives the formula of its value and of its derivatives as trees. The fuse pass
composes the trees of neighbouring ops, and an emitter turns a tree into NumPy or numexpr source.
Nothing here is ever pasted together from strings.

>>> x = Var("x")
>>> print(x * sigmoid(x))
(x * (1 / (1 + exp((-x)))))
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Expression:
    """A formula over named arrays; the usual operators build bigger ones."""

    __slots__ = ()

    def __add__(self, other: Operand) -> Apply:
        return Apply("add", (self, lift(other)))

    def __radd__(self, other: Operand) -> Apply:
        return Apply("add", (lift(other), self))

    def __sub__(self, other: Operand) -> Apply:
        return Apply("subtract", (self, lift(other)))

    def __rsub__(self, other: Operand) -> Apply:
        return Apply("subtract", (lift(other), self))

    def __mul__(self, other: Operand) -> Apply:
        return Apply("multiply", (self, lift(other)))

    def __rmul__(self, other: Operand) -> Apply:
        return Apply("multiply", (lift(other), self))

    def __truediv__(self, other: Operand) -> Apply:
        return Apply("divide", (self, lift(other)))

    def __rtruediv__(self, other: Operand) -> Apply:
        return Apply("divide", (lift(other), self))

    def __neg__(self) -> Apply:
        return Apply("negative", (self,))

    def __gt__(self, other: Operand) -> Apply:
        return Apply("greater", (self, lift(other)))

    def __lt__(self, other: Operand) -> Apply:
        return Apply("less", (self, lift(other)))


@dataclass(frozen=True, slots=True)
class Var(Expression):
    """An array by name."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Const(Expression):
    """A number."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:.17g}"


@dataclass(frozen=True, slots=True)
class Apply(Expression):
    """A function of `FUNCTIONS` applied to formulas."""

    function: str
    arguments: tuple[Expression, ...]

    def __str__(self) -> str:
        return FUNCTIONS[self.function].text.format(*self.arguments)


Operand = Expression | float | int


@dataclass(frozen=True, slots=True)
class Function:
    """One function of formulas.

    Attributes:
        text: how it is written, which is numexpr's syntax as well.
        numpy: NumPy's name for it; or `module.function`, one of netspec's kernels, with `out`.
        transcendental: so costly that arithmetic, and not memory, is what takes the time.
        boolean: its value is true or false.
        partial: it can be infinite or undefined where its arguments are finite.
        in_numexpr: numexpr has it, in single precision too.
    """

    text: str
    numpy: str
    transcendental: bool = False
    boolean: bool = False
    partial: bool = False
    in_numexpr: bool = True

    @property
    def kernel_module(self) -> str | None:
        """The module of `netspec.kernels` that has it; None for a function of NumPy's."""
        module, dot, _ = self.numpy.partition(".")
        return module if dot else None


FUNCTIONS: dict[str, Function] = {
    "add": Function("({} + {})", "add"),
    "subtract": Function("({} - {})", "subtract"),
    "multiply": Function("({} * {})", "multiply"),
    "divide": Function("({} / {})", "divide", partial=True),
    "negative": Function("(-{})", "negative"),
    "greater": Function("({} > {})", "greater", boolean=True),
    "less": Function("({} < {})", "less", boolean=True),
    "logical_and": Function("({} & {})", "logical_and", boolean=True),
    "where": Function("where({}, {}, {})", "where"),
    # numexpr 2.13 was the first to have these two, and computes them in double precision only.
    "maximum": Function("maximum({}, {})", "maximum", in_numexpr=False),
    "minimum": Function("minimum({}, {})", "minimum", in_numexpr=False),
    "absolute": Function("abs({})", "absolute"),
    "exp": Function("exp({})", "exp", transcendental=True, partial=True),
    "expm1": Function("expm1({})", "expm1", transcendental=True, partial=True),
    "log": Function("log({})", "log", transcendental=True, partial=True),
    "log1p": Function("log1p({})", "log1p", transcendental=True, partial=True),
    "sqrt": Function("sqrt({})", "sqrt", partial=True),
    "tanh": Function("tanh({})", "tanh", transcendental=True),
    # NumPy and numexpr have no error function.
    "erf": Function("erf({})", "erf.erf", transcendental=True, in_numexpr=False),
}


def lift(value: Operand) -> Expression:
    """A number as a formula; a formula as itself."""
    return value if isinstance(value, Expression) else Const(float(value))


def _function(name: str) -> Callable[..., Apply]:
    def apply(*arguments: Operand) -> Apply:
        return Apply(name, tuple(lift(a) for a in arguments))

    apply.__name__ = name
    apply.__doc__ = f"The formula `{FUNCTIONS[name].text}`."
    return apply


where = _function("where")
maximum = _function("maximum")
minimum = _function("minimum")
absolute = _function("absolute")
logical_and = _function("logical_and")
exp = _function("exp")
expm1 = _function("expm1")
log = _function("log")
log1p = _function("log1p")
sqrt = _function("sqrt")
tanh = _function("tanh")
erf = _function("erf")


def sigmoid(x: Expression) -> Expression:
    """1 / (1 + exp(-x)). Overflow of exp gives the right limit, 0."""
    return 1 / (1 + exp(-x))


def elu(x: Expression, alpha: float) -> Expression:
    """x where x > 0, else alpha (exp(x) - 1), as a sum of its two halves: exp never overflows."""
    return maximum(x, 0) + alpha * expm1(minimum(x, 0))


def total(terms: Sequence[Expression]) -> Expression:
    """The sum of formulas."""
    return _balanced("add", terms)


def product(factors: Sequence[Expression]) -> Expression:
    """The product of formulas."""
    return _balanced("multiply", factors)


def _balanced(function: str, terms: Sequence[Expression]) -> Expression:
    """Terms joined by halves: the tree of a thousand is ten deep, and Python's stack is not endless."""
    if len(terms) == 1:
        return terms[0]
    half = (len(terms) + 1) // 2
    return Apply(function, (_balanced(function, terms[:half]), _balanced(function, terms[half:])))


def variables(expression: Expression) -> tuple[str, ...]:
    """The names in a formula, each once, in order of first use."""
    return tuple(dict.fromkeys(e.name for e in walk(expression) if isinstance(e, Var)))


def walk(expression: Expression) -> Iterator[Expression]:
    """Every node of a formula, parents first. Iterative: fused formulas can be deep."""
    stack = [expression]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Apply):
            stack.extend(reversed(node.arguments))


def decisions(expression: Expression) -> tuple[Expression, ...]:
    """The comparisons on which it depends which smooth piece a formula is on.

    >>> [str(decision) for decision in decisions(maximum(Var("x"), 0))]
    ['(x > 0)']
    """
    found: dict[Expression, None] = {}
    for node in walk(expression):
        if not isinstance(node, Apply):
            continue
        if node.function in ("greater", "less"):
            found[node] = None
        elif node.function in ("maximum", "minimum"):
            found[node.arguments[0] > node.arguments[1]] = None
        elif node.function == "absolute":
            found[node.arguments[0] > 0] = None
    return tuple(found)


def substitute(expression: Expression, values: Mapping[str, Expression]) -> Expression:
    """The formula with variables replaced by formulas."""
    if isinstance(expression, Var):
        return values.get(expression.name, expression)
    if isinstance(expression, Apply):
        return Apply(
            expression.function, tuple(substitute(a, values) for a in expression.arguments)
        )
    return expression


def evaluate(expression: Expression, values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The value of a formula by plain NumPy, one function at a time: the reference."""
    if isinstance(expression, Var):
        return values[expression.name]
    if isinstance(expression, Const):
        # A Python float is weak: it takes the arrays' precision.
        return expression.value  # type: ignore[return-value]
    assert isinstance(expression, Apply)
    arguments = [evaluate(a, values) for a in expression.arguments]
    with np_errstate():
        result: NDArray[Any] = numpy_function(expression.function)(*arguments)
    return result


def np_errstate() -> np.errstate:
    """Overflow to infinity is part of the formulas above (sigmoid's limits), not an accident."""
    import numpy as np

    return np.errstate(over="ignore", under="ignore")


def numpy_function(name: str) -> Callable[..., NDArray[Any]]:
    """The callable of a function of `FUNCTIONS`."""
    import numpy as np

    target = FUNCTIONS[name]
    if target.kernel_module is None:
        ufunc: Callable[..., NDArray[Any]] = getattr(np, target.numpy)
        return ufunc
    module, _, attribute = target.numpy.partition(".")
    kernel = getattr(importlib.import_module(f"netspec.kernels.{module}"), attribute)

    def with_new_array(x: NDArray[Any]) -> NDArray[Any]:
        x = np.asarray(x)
        kind = x.dtype if x.dtype.kind == "f" else np.float64
        result: NDArray[Any] = kernel(x, out=np.empty(x.shape, kind))
        return result

    return with_new_array
