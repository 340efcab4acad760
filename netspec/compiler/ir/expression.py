"""Elementwise formulas as data.

An elementwise op gives the formula of its value and of its derivatives as trees. The fuse pass
composes the trees of neighbouring ops, and an emitter turns a tree into NumPy or numexpr source.
Formulas are never built by joining strings.

>>> x = Var("x")
>>> print(x * sigmoid(x))
(x * (1 / (1 + exp((-x)))))
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netspec.records import record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Expression:
    """A formula over named arrays. The usual operators build larger ones."""

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

    def __pow__(self, other: Operand) -> Apply:
        return Apply("power", (self, lift(other)))

    def __neg__(self) -> Apply:
        return Apply("negative", (self,))

    def __gt__(self, other: Operand) -> Apply:
        return Apply("greater", (self, lift(other)))

    def __lt__(self, other: Operand) -> Apply:
        return Apply("less", (self, lift(other)))


@record(slots=True)
class Var(Expression):
    """An array, given by its name."""

    name: str

    def __str__(self) -> str:
        return self.name


@record(slots=True)
class Const(Expression):
    """A number."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:.17g}"


@record(slots=True)
class Apply(Expression):
    """A function of `FUNCTIONS`, applied to formulas."""

    function: str
    arguments: tuple[Expression, ...]

    def __str__(self) -> str:
        return FUNCTIONS[self.function].text.format(*self.arguments)


Operand = Expression | float | int


@record(slots=True)
class Function:
    """A function that formulas can use.

    Attributes:
        text: how it is written, which is also numexpr's syntax.
        numpy: NumPy's name for it; or `module.function`, one of netspec's kernels, which takes
            `out` as NumPy does.
        transcendental: so costly that arithmetic, and not memory, limits the speed.
        boolean: its value is true or false.
        partial: it can be infinite or undefined where its arguments are finite.
        in_numexpr: numexpr has it, also in single precision.
        onnx: the operator of ONNX that computes it; "" if that takes several.
    """

    text: str
    numpy: str
    transcendental: bool = False
    boolean: bool = False
    partial: bool = False
    in_numexpr: bool = True
    onnx: str = ""

    @property
    def kernel_module(self) -> str | None:
        """The module of `netspec.kernels` that has the function; None for a function of NumPy."""
        module, dot, _ = self.numpy.partition(".")
        return module if dot else None


FUNCTIONS: dict[str, Function] = {
    "add": Function("({} + {})", "add", onnx="Add"),
    "subtract": Function("({} - {})", "subtract", onnx="Sub"),
    "multiply": Function("({} * {})", "multiply", onnx="Mul"),
    "divide": Function("({} / {})", "divide", onnx="Div", partial=True),
    "negative": Function("(-{})", "negative", onnx="Neg"),
    "greater": Function("({} > {})", "greater", onnx="Greater", boolean=True),
    "less": Function("({} < {})", "less", onnx="Less", boolean=True),
    "logical_and": Function("({} & {})", "logical_and", onnx="And", boolean=True),
    "where": Function("where({}, {}, {})", "where", onnx="Where"),
    # numexpr 2.13 was the first version to have these two, and computes them only in double
    # precision.
    "maximum": Function("maximum({}, {})", "maximum", onnx="Max", in_numexpr=False),
    "minimum": Function("minimum({}, {})", "minimum", onnx="Min", in_numexpr=False),
    "absolute": Function("abs({})", "absolute", onnx="Abs"),
    "exp": Function("exp({})", "exp", onnx="Exp", transcendental=True, partial=True),
    "expm1": Function("expm1({})", "expm1", transcendental=True, partial=True),
    "log": Function("log({})", "log", onnx="Log", transcendental=True, partial=True),
    "log1p": Function("log1p({})", "log1p", transcendental=True, partial=True),
    "sqrt": Function("sqrt({})", "sqrt", onnx="Sqrt", partial=True),
    "tanh": Function("tanh({})", "tanh", onnx="Tanh", transcendental=True),
    "sin": Function("sin({})", "sin", onnx="Sin", transcendental=True),
    "cos": Function("cos({})", "cos", onnx="Cos", transcendental=True),
    "power": Function("({} ** {})", "power", onnx="Pow", transcendental=True, partial=True),
    # NumPy and numexpr have no error function.
    "erf": Function("erf({})", "erf.erf", onnx="Erf", transcendental=True, in_numexpr=False),
}


def lift(value: Operand) -> Expression:
    """Return a number as a formula, and a formula as itself."""
    if isinstance(value, Expression):
        return value
    # A symbolic number, which is a float, still knows the argument that it is.
    return Const(value if isinstance(value, float) else float(value))


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
sin = _function("sin")
cos = _function("cos")


def sigmoid(x: Expression) -> Expression:
    """Return 1 / (1 + exp(-x)). If exp overflows, the result is the right limit, 0."""
    return 1 / (1 + exp(-x))


def elu(x: Expression, alpha: float) -> Expression:
    """Return x where x > 0, else alpha (exp(x) - 1), as a sum of two parts, so that exp never
    overflows.
    """
    return maximum(x, 0) + alpha * expm1(minimum(x, 0))


def total(terms: Sequence[Expression]) -> Expression:
    """Return the sum of formulas."""
    return _balanced("add", terms)


def product(factors: Sequence[Expression]) -> Expression:
    """Return the product of formulas."""
    return _balanced("multiply", factors)


def _balanced(function: str, terms: Sequence[Expression]) -> Expression:
    """Join terms in a balanced tree: a thousand terms are ten levels deep, since Python's stack is
    limited.
    """
    if len(terms) == 1:
        return terms[0]
    half = (len(terms) + 1) // 2
    return Apply(function, (_balanced(function, terms[:half]), _balanced(function, terms[half:])))


def variables(expression: Expression) -> tuple[str, ...]:
    """Return the names in a formula, each once, in the order of first use."""
    return tuple(dict.fromkeys(e.name for e in walk(expression) if isinstance(e, Var)))


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield every node of a formula, parents first.

    It does not recurse, because fused formulas can be deep.
    """
    stack = [expression]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Apply):
            stack.extend(reversed(node.arguments))


def decisions(expression: Expression) -> tuple[Expression, ...]:
    """Return the comparisons that decide on which smooth piece of a formula the arguments are.

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
    """Return the formula with variables replaced by formulas."""
    if isinstance(expression, Var):
        return values.get(expression.name, expression)
    if isinstance(expression, Apply):
        return Apply(
            expression.function, tuple(substitute(a, values) for a in expression.arguments)
        )
    return expression


def replaced(expression: Expression, part: Expression, by: Expression) -> Expression:
    """Return the formula with another one wherever a part of it occurs."""
    if expression == part:
        return by
    if isinstance(expression, Apply):
        given = tuple(replaced(argument, part, by) for argument in expression.arguments)
        return Apply(expression.function, given)
    return expression


def evaluate(expression: Expression, values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the value of a formula in plain NumPy, one function at a time: the reference."""
    if isinstance(expression, Var):
        return values[expression.name]
    if isinstance(expression, Const):
        # A Python float adopts the precision of the arrays that it is combined with.
        return expression.value  # type: ignore[return-value]
    assert isinstance(expression, Apply)
    arguments = [evaluate(a, values) for a in expression.arguments]
    with np_errstate():
        result: NDArray[Any] = numpy_function(expression.function)(*arguments)
    return result


def np_errstate() -> np.errstate:
    """Return an `errstate` that ignores overflow: formulas such as `sigmoid` rely on its limit."""
    import numpy as np

    return np.errstate(over="ignore", under="ignore")


def numpy_function(name: str) -> Callable[..., NDArray[Any]]:
    """Return the callable for a function of `FUNCTIONS`."""
    import numpy as np

    target = FUNCTIONS[name]
    if target.kernel_module is None:
        ufunc: Callable[..., NDArray[Any]] = getattr(np, target.numpy)
        return ufunc
    module, _, attribute = target.numpy.partition(".")
    kernel: Callable[..., NDArray[Any]] = getattr(
        importlib.import_module(f"netspec.kernels.{module}"), attribute
    )
    return kernel
