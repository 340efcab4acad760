"""Absolute value."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.function import FunctionOp


@register
class Abs(FunctionOp):
    """Absolute value: y = |x|, dy/dx = sign(x), 0 where x = 0."""

    name = "abs"
    torch_function = "torch.abs"
    value_range = (0.0, float("inf"))
    aten = (
        AtenForm(("abs",)),
        AtenForm(
            ("to", "_to_copy"),
            unless=lambda call: call.require(
                call.arguments.get("dtype") == "torch.bool", "it changes the kind of its numbers"
            ),
            gives_condition=True,
        ),
    )
    examples = (Example("abs", ((5,),)),)

    def of(self, x: Expression) -> Expression:
        """|x|."""
        return absolute(x)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """sign(x)."""
        return where(x > 0, 1, where(x < 0, -1, 0))
