"""The quantities that are compared: every number of a forward and a backward pass, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Node

Array = NDArray[Any]

Kind = Literal[
    "value", "buffer", "output", "loss", "loss gradient", "gradient", "contribution", "parameter"
]

# The rows of a table, in order.
ROWS = (
    "outputs", "loss", "activations", "activation gradients", "parameter gradients",
    "input gradients", "buffers",
)  # fmt: skip

BACKWARD = ("loss gradient", "gradient", "contribution", "parameter")


@dataclass(frozen=True, slots=True)
class Item:
    """One array of a run.

    `value` and `gradient` are named by a value, `output` and `loss gradient` by an output,
    `parameter` (its gradient) and `buffer` (after the run) by a parameter; `contribution` is what
    the node `name` adds to the gradient of its input number `index`.
    """

    kind: Kind
    name: str = ""
    index: int = 0

    @property
    def is_backward(self) -> bool:
        """Return True if the backward pass computes it."""
        return self.kind in BACKWARD


LOSS = Item("loss")

Trace = dict[Item, Array]
"""The arrays that one evaluator computed; pictures are N, C, H, W."""


def row_of(item: Item, graph: Graph) -> str:
    """Return the row of the table that an item counts for."""
    if item.kind == "gradient" and item.name in graph.inputs:
        return "input gradients"
    return {
        "value": "activations",
        "buffer": "buffers",
        "output": "outputs",
        "loss": "loss",
        "parameter": "parameter gradients",
    }.get(item.kind, "activation gradients")


def holders(graph: Graph, parameter: str) -> list[Node]:
    """Return the nodes that hold a parameter, in order. Nodes of a shared layer hold the same one."""
    return [node for node in graph.nodes if parameter in node.parameters.values()]


def in_order(graph: Graph) -> list[Item]:
    """Return every item: forward values in the graph's order, then gradients from the loss backward."""
    return [*_forward(graph), *_backward(graph)]


def _forward(graph: Graph) -> Iterator[Item]:
    last = {full: node.name for node in graph.nodes for full in node.parameters.values()}
    for node in graph.nodes:
        yield Item("value", node.name)
        for full in node.parameters.values():
            if not graph.parameters[full].trainable and last[full] == node.name:
                yield Item("buffer", full)
    for name in graph.outputs:
        yield Item("output", name)
    yield LOSS


def _backward(graph: Graph) -> Iterator[Item]:
    # A shared parameter's gradient is complete at the first node that holds it.
    first: dict[str, str] = {}
    for node in graph.nodes:
        for full in node.parameters.values():
            first.setdefault(full, node.name)
    for name in graph.outputs:
        yield Item("loss gradient", name)
    for node in reversed(graph.nodes):
        yield Item("gradient", node.name)
        for full in node.parameters.values():
            if graph.parameters[full].trainable and first[full] == node.name:
                yield Item("parameter", full)
        for i in range(len(node.inputs)):
            yield Item("contribution", node.name, i)
    for name in graph.real_inputs:
        yield Item("gradient", name)
