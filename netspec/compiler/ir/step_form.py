"""What an op says of itself where a net is computed position by position: `Op.advance`.

A net over a sequence (T, ...) can be continued without going over what it has read: layers that do
not mix positions compute those that are new, and the others hold what they need of those before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netspec.compiler.ir.graph import Node, Shape
from netspec.records import record

if TYPE_CHECKING:
    from netspec.compiler.ir.op import Op


class NotCausalError(Exception):
    """A net cannot be continued. The text says what in it depends on other positions, and how."""


@record(slots=True)
class Held:
    """An array that is handed from one call to the next.

    Attributes:
        name: the input of the graph that has it, and the output with what it becomes.
        shape: its shape without the batch.
        start: the number that it holds at first.
        axis: the axis of positions, counted from 1: what is new is put behind what there is. None if
            it is replaced.
    """

    name: str
    shape: Shape
    start: float
    axis: int | None


@dataclass(eq=False, slots=True)
class StepForm:
    """The interface through which an op is put into the graph of the new positions.

    Attributes:
        node: its node in the whole net.
        x: its inputs, as values of the new graph.
        x_shapes: their shapes in the whole net, in which the number of positions is left open.
        over: the axis of positions in each input, counted from 1; None where an input has none.
        length: how many positions there can be.
        shape_of: the shape of a value in the new graph.
        add: adds a node: `add(op, inputs, parameters)`, with the full names of the parameters by the
            op's own, and returns the node's value.
        layer: the op with a name in a file, such as `concat`, which takes its attributes.
        hold: returns the input with what the call before left: `hold(what, shape, start, axis)`.
        leave: says what to leave: `leave(held, value)`.
        seen: returns the value that tells which of the positions held and new ones each new one sees.
        places: returns the value with the places (n,) of the new positions.
        singly: asks for one new position at a time.
    """

    node: Node
    x: tuple[str, ...]
    x_shapes: tuple[Shape, ...]
    over: tuple[int | None, ...]
    length: int
    shape_of: Callable[[str], Shape]
    add: Callable[[Op, tuple[str, ...], Mapping[str, str]], str]
    layer: Callable[..., Op]
    hold: Callable[[str, Shape, float, int | None], str]
    leave: Callable[[str, str], None]
    seen: Callable[[], str]
    places: Callable[[], str]
    singly: Callable[[], None]

    def __call__(
        self,
        op: Op | str,
        *values: str,
        parameters: Mapping[str, str] | None = None,
        **given: object,
    ) -> str:
        """Add a layer without parameters, or with these, and return its value."""
        return self.add(
            self.layer(op, **given) if isinstance(op, str) else op, values, parameters or {}
        )

    def same(self) -> str:
        """Add the op as it is.

        Raises:
            NotCausalError: if it mixes positions.
        """
        if any(self.over) and self.node.op.mixes(self.over, *self.x_shapes):
            raise self.refused("computes a position from others")
        return self.add(self.node.op, self.x, self.node.parameters)

    def refused(self, why: str) -> NotCausalError:
        """Return the error that says why this layer cannot be continued."""
        return NotCausalError(f"`{self.node.op}` at {self.node.origin.span.where} {why}")
