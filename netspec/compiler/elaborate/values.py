"""What an expression can evaluate to: a constant, values of the net, a layer to call, or the
unknown value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Shape
from netspec.compiler.syntax.tree import Call, NumberType
from netspec.diagnostics import Span
from netspec.records import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from netspec.compiler.syntax.tree import Expr


class Unknown(Enum):
    """The result of an expression after a reported error.

    It suppresses errors that would only follow.
    """

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN

NUMBER_TYPES: Final[dict[NumberType, str]] = {
    "real": "real numbers",
    "int": "whole numbers",
    "bool": "booleans",
}
"""What values hold, in words."""


@record(slots=True)
class Tensor:
    """A value of the net: the node that computes it, its shape, the span of its expression, and what
    it holds.
    """

    name: str
    shape: Shape
    span: Span
    holds: NumberType = "real"

    def at(self, span: Span) -> Tensor:
        """Return the same value as that of another expression."""
        return Tensor(self.name, self.shape, span, self.holds)


def tensor_attributes(value: Tensor) -> dict[str, Constant]:
    """Return the attributes of a value, which are constants about its shape for one image."""
    shape = value.shape
    known: dict[str, Constant] = {"shape": shape, "rank": len(shape)}
    known |= {"channels": shape[0], "features": shape[-1]}
    if len(shape) == 3:
        known |= {"height": shape[1], "width": shape[2]}
    return known


def no_length(value: Tensor) -> str | None:
    """Return why a value of two axes has no `.length`; None for one of another rank."""
    if len(value.shape) != 2:
        return None
    return "which of its two axes is the length? `x.shape[0]` is the first, `x.shape[1]` the second"


@record(slots=True)
class Tensors:
    """Several values, such as those of a block with several outputs."""

    items: tuple[Tensor | Unknown, ...]


@record(slots=True)
class TensorList(Tensors):
    """`[a, b]`: a list of values, to which others can be added."""


@dataclass(slots=True)
class SharedLayer:
    """`layer stem = conv(8, 3)`: every call must match what the first call determines.

    Its name is only bound in the body that declares it.
    """

    path: str
    call: Call
    uses: int = 0
    first_use: Span | None = None
    first_shapes: tuple[Shape, ...] = ()


Input: TypeAlias = "Tensor | Unknown"
"""An input of a layer or a block."""

Result: TypeAlias = "Tensor | Tensors | Unknown"
"""The result of a layer or a block."""

Value: TypeAlias = "Constant | Tensor | Tensors | SharedLayer | Unknown"
"""What an expression can evaluate to."""

Evaluate: TypeAlias = "Callable[[Expr], Value]"
"""Evaluates an expression of a body. Errors are reported, and give UNKNOWN."""
