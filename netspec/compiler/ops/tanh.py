"""Hyperbolic tangent."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.compiler.ir.expression import Expression, tanh
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.op import Example, Torch, X, register
from netspec.compiler.ops.families.elementwise import ElementwiseOp


@register
@dataclass(frozen=True)
class Tanh(ElementwiseOp):
    """Hyperbolic tangent: y = tanh(x), dy/dx = 1 - y^2."""

    name = "tanh"
    examples = (Example("tanh", ((3, 4, 5),)), Example("tanh", ((7,),)))

    def value(self, *x: Expression) -> Expression:
        """tanh(x)."""
        return tanh(x[0])

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """1 - y^2."""
        return (1 - y * y,)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.tanh`."""
        return Torch("torch.tanh", (X(0),))
