"""What an expression can stand for: a constant, values of the net, a layer to call, or nothing known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Shape
from netspec.compiler.syntax.tree import Call
from netspec.diagnostics import Span

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from netspec.compiler.syntax.tree import Expr


class Unknown(Enum):
    """Stands for whatever an earlier, reported error would have computed: it silences follow-ons."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the net: the node that computes it, its shape and where it was written."""

    name: str
    shape: Shape
    span: Span


def tensor_attributes(value: Tensor) -> dict[str, Constant]:
    """What can be asked of a value: constants about its shape for one image."""
    shape = value.shape
    known: dict[str, Constant] = {"shape": shape, "rank": len(shape)}
    if len(shape) == 3:
        known |= {"channels": shape[0], "height": shape[1], "width": shape[2]}
    if len(shape) == 1:
        known |= {"features": shape[0], "channels": shape[0]}
    return known


@dataclass(frozen=True, slots=True)
class Tensors:
    """Several values at once: what a block with several outputs returns."""

    items: tuple[Tensor | Unknown, ...]


@dataclass(slots=True)
class SharedLayer:
    """`layer stem = conv(8, 3)`: what its first call fixes, every later call must fit.

    It is known in the body that declares it, and nowhere else.
    """

    path: str
    call: Call
    uses: int = 0
    first_use: Span | None = None
    first_shapes: tuple[Shape, ...] = ()


Input: TypeAlias = "Tensor | Unknown"
"""What goes into a layer or a block."""

Result: TypeAlias = "Tensor | Tensors | Unknown"
"""What comes out of it."""

Value: TypeAlias = "Constant | Tensor | Tensors | SharedLayer | Unknown"
"""What an expression stands for."""

Evaluate: TypeAlias = "Callable[[Expr], Value]"
"""What an expression of a body stands for; errors are reported, and give UNKNOWN."""
