"""Logistic sigmoid."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.compiler.ir.expression import Expression, sigmoid
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.op import Example, Torch, X, register
from netspec.compiler.ops.families.elementwise import ElementwiseOp


@register
@dataclass(frozen=True)
class Sigmoid(ElementwiseOp):
    """Logistic sigmoid: y = 1 / (1 + exp(-x)), dy/dx = y (1 - y)."""

    name = "sigmoid"
    examples = (Example("sigmoid", ((3, 4, 5),)), Example("sigmoid", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """1 / (1 + exp(-x))."""
        return sigmoid(x[0])

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """y (1 - y)."""
        return (y * (1 - y),)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.sigmoid`."""
        return Torch("torch.sigmoid", (X(0),))
