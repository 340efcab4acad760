"""What is known of a net, whether or not it has errors: for a picture of it."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.compiler.ir.graph import Graph, Shape
from netspec.diagnostics import Code, Frame, Span


@dataclass(frozen=True, slots=True)
class Misfit:
    """A layer that cannot accept the values that it reads.

    `position` is how many layers come before it.
    """

    call: str
    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    code: Code
    message: str
    span: Span
    trace: tuple[Frame, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Sketch:
    """The layers of a net that could be built, and those that do not fit.

    Layers that nobody reads are among them. Of a net with errors what follows from one is missing.
    """

    graph: Graph
    misfits: tuple[Misfit, ...] = ()
    is_whole: bool = True
