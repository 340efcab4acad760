"""Rectified linear unit."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.compiler.ir.expression import Expression, maximum, where
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.op import Example, Torch, X, register
from netspec.compiler.ops.families.elementwise import ElementwiseOp


@register
@dataclass(frozen=True)
class Relu(ElementwiseOp):
    """Rectified linear unit: y = max(x, 0), dy/dx = 1 where y > 0, else 0 (at 0 too).

    Source: Nair and Hinton 2010.
    """

    name = "relu"
    commutes_with_max = True
    examples = (Example("relu", ((3, 4, 5),)), Example("relu", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """max(x, 0)."""
        return maximum(x[0], 0)

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1 where y > 0."""
        return (where(y > 0, 1, 0),)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.relu`."""
        return Torch("F.relu", (X(0),))
