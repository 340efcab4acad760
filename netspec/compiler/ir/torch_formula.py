"""Elementwise formulas as PyTorch expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netspec.compiler.ir.expression import Apply, Const, Expression, Var, evaluate
from netspec.compiler.ir.op import Torch, X

# PyTorch's functions, where their names are not those of the formula's functions.
_NAMES = {
    "subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg", "greater": "gt",
    "absolute": "abs", "power": "pow",
}  # fmt: skip
# PyTorch's functions of two tensors, and the option of `torch.clamp` that is the same with a number.
_LIMITS = {"maximum": "min", "minimum": "max"}


def torch_formula(formula: Expression, operands: Mapping[str, X]) -> Torch:
    """Return a formula as calls of PyTorch's functions.

    Args:
        formula: what is computed of each element.
        operands: the inputs by their names in the formula.
    """
    found = _part(formula, operands)
    if isinstance(found, Torch):
        return found
    if isinstance(found, X):
        return Torch("torch.clone", (found,))
    return Torch("torch.full_like", (X(0), found))


def whole(number: float) -> float:
    """Return a number as it is written in PyTorch source: 2, not 2.0.

    A symbolic number is not changed.
    """
    return int(number) if type(number) is float and number.is_integer() else number


def _part(formula: Expression, operands: Mapping[str, X]) -> Torch | X | float:
    if isinstance(formula, Const):
        return whole(formula.value)
    if isinstance(formula, Var):
        return operands[formula.name]
    assert isinstance(formula, Apply)
    parts = [_part(each, operands) for each in formula.arguments]
    if all(isinstance(part, (int, float)) for part in parts):
        return whole(float(evaluate(formula, {})))
    return _call(formula.function, parts)


def _call(function: str, parts: Sequence[Torch | X | float]) -> Torch:
    if function == "less":  # Python source has the operator `>` alone
        return Torch("torch.gt", (parts[1], parts[0]))
    if function == "where" and all(isinstance(part, (int, float)) for part in parts[1:]):
        # Numbers alone would have PyTorch's default precision.
        return Torch(
            "torch.where", (parts[0], Torch("torch.full_like", (X(0), parts[1])), parts[2])
        )
    if function in _LIMITS:
        for value, limit in (parts, parts[::-1]):
            if isinstance(limit, (int, float)):
                return Torch("torch.clamp", (value,), {_LIMITS[function]: limit})
    return Torch(f"torch.{_NAMES.get(function, function)}", tuple(parts))
