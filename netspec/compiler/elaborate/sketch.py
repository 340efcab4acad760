"""What is known of a net, whether or not it has errors: for a picture of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Graph, Shape
from netspec.compiler.syntax.tree import NumberType
from netspec.diagnostics import Code, Frame, Span
from netspec.records import record

# The shape of each value that an expression gives, and what it holds.
ValueTypes = tuple[tuple[Shape, NumberType], ...]


@record(slots=True)
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


@record(slots=True)
class Sketch:
    """The layers of a net that could be built, and those that do not fit.

    Layers that nobody reads are among them. Of a net with errors what follows from one is missing.
    `given` has the values that each expression and each stage of the files gave, by its node in the
    tree, in the order in which they were met, and `constants` those that each name was bound to, by
    its place; of many the first ones.
    """

    graph: Graph
    misfits: tuple[Misfit, ...] = ()
    is_whole: bool = True
    given: Mapping[object, tuple[ValueTypes, ...]] = field(default_factory=dict)
    constants: Mapping[Span, tuple[Constant, ...]] = field(default_factory=dict)
