"""Evaluates the PyTorch expressions that ops give as data."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional
from torch import Tensor, nn

from netspec.compiler.ir.op import P, Torch, Training, X
from netspec.compiler.ir.sizes import Size
from netspec.compiler.torch_backend.expressions import OPERATORS

_HOMES = {"F": torch.nn.functional, "torch": torch, "operator": operator}


def evaluate(
    expression: Torch,
    inputs: Sequence[Tensor],
    module: nn.Module | None,
    parameters: Mapping[str, Tensor],
    *,
    training: bool,
) -> Any:
    """Return the value of an expression.

    Args:
        expression: the form of an op, of functions or of a class in `torch.nn`.
        inputs: the inputs of the op.
        module: an object of the class in the expression; None if there is none.
        parameters: those that no module holds, by the op's own names.
        training: whether `self.training` is true.
    """

    def value(part: object) -> Any:
        if isinstance(part, X):
            return inputs[part.index]
        if isinstance(part, P):
            return parameters[part.name]
        if isinstance(part, Torch):
            return evaluate(part, inputs, module, parameters, training=training)
        if isinstance(part, Training):
            return training
        if isinstance(part, tuple):
            return tuple(map(value, part))
        if isinstance(part, Size):
            places = {name: name.split(".") for name in part.names()}
            return part.at({n: inputs[int(i)].shape[int(a)] for n, (i, a) in places.items()})
        return part

    if expression.is_module:
        assert module is not None
        given = {key: value(v) for key, v in expression.call_options.items()}
        return module(*map(value, expression.inputs), **given)
    prefix, _, name = expression.target.partition(".")
    home: object = _HOMES[prefix]
    if expression.target in OPERATORS:  # an operand may be a number
        home, name = operator, {"div": "truediv"}.get(name, name)
    options = {key: value(v) for key, v in expression.options.items()}
    function = operator.attrgetter(name)(home)
    return function(*map(value, expression.arguments), **options)


def module_of(expression: Torch) -> nn.Module | None:
    """Return a new object of the class in an expression, without values; None if it has none.

    Its class is one of `torch.nn`: not that of a scan block.
    """
    inner = expression.module
    if inner is None:
        return None
    made = getattr(nn, inner.target.removeprefix("nn."))
    with torch.device("meta"):
        module: nn.Module = made(*inner.arguments, **inner.options)
    return module
