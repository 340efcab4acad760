"""The graph of a net: operations in static single assignment (SSA) form.

A value has the name of the node that computes it. Shapes are those of one image: the batch size N
is not part of them, and messages write it in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.syntax.tree import Call, NumberType
from netspec.diagnostics import Frame, Span
from netspec.records import record

if TYPE_CHECKING:
    import networkx

    from netspec.compiler.ir.op import Op

Shape = tuple[int, ...]
Role = Literal["weight", "bias", "scale", "shift", "statistic", "counter", "constant"]


def show_shape(shape: Shape | None, holds: NumberType = "real") -> str:
    """Return a shape as `[N, 3, 32, 32]`, or as `int[N, T]` with what the value holds."""
    if shape is None:
        return "unknown"
    return ("" if holds == "real" else holds) + "[" + ", ".join(["N", *map(str, shape)]) + "]"


@record(slots=True)
class Parameter:
    """A parameter, a buffer or a constant of a net, under its full name (`layer1.0.conv1.weight`).

    `role` says how it is treated: L2 regularization applies to a `weight`; a `statistic` (float)
    and a `counter` (integer) are buffers, which are saved but not trained; a `constant` is neither.
    """

    name: str
    shape: Shape
    initializer: Initializer
    role: Role
    span: Span | None = None

    @property
    def trainable(self) -> bool:
        """Whether the parameter has a gradient."""
        return self.role not in ("statistic", "counter", "constant")

    @property
    def is_saved(self) -> bool:
        """Whether weights files have it. A constant is as the file says."""
        return self.role != "constant"

    @property
    def size(self) -> int:
        """The number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


@record(slots=True)
class Origin:
    """Where a node was written.

    It has the span of the whole stage, the span of the call in it and of each attribute, and the
    chain of block calls and loop iterations that led there. `layer` is the name of the layer, where
    a pass has given its node another one.
    """

    span: Span
    call: Call
    attributes: Mapping[str, Span] = field(default_factory=dict)
    trace: tuple[Frame, ...] = ()
    layer: str = ""


@record(slots=True)
class Node:
    """One operation and the value it computes.

    `parameters` maps the op's own names (`weight`) to full names; two nodes that share a layer hold
    the same full names.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: Shape
    parameters: Mapping[str, str]
    origin: Origin

    def __str__(self) -> str:
        inputs = ", ".join(f"%{name}" for name in self.inputs)
        return f"%{self.name} = {self.op}({inputs}) : {show_shape(self.shape)}"


@record
class Graph:
    """A net in which names, blocks, loops and static conditions are resolved.

    Nodes are in topological order: every input comes before its use. `inputs` and `outputs` map the
    names that the file gives to shapes and to values. `input_types` says what inputs hold that do not
    hold real numbers.
    """

    name: str
    inputs: Mapping[str, Shape]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]
    parameters: Mapping[str, Parameter]
    span: Span | None = None
    doc: str = ""
    input_types: Mapping[str, NumberType] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The node that computes each value. Inputs have none."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The shapes of all values, by name."""
        return {**self.inputs, **{node.name: node.shape for node in self.nodes}}

    def shape_of(self, value: str) -> Shape:
        """Return the shape of a value, which is a node or an input."""
        return self.inputs[value] if value in self.inputs else self.by_name[value].shape

    def show_input(self, name: str) -> str:
        """Return what an input holds and its shape, as `int[N, T]`."""
        return show_shape(self.inputs[name], self.holds(name))

    def holds(self, value: str) -> NumberType:
        """Return what a value holds, which is a node or an input."""
        node = self.by_name.get(value)
        while node is not None and node.op.only_moves:
            value = node.inputs[0]
            node = self.by_name.get(value)
        return "real" if node is not None else self.input_types.get(value, "real")

    def shapes_into(self, node: Node) -> tuple[Shape, ...]:
        """Return the shapes of a node's inputs."""
        return tuple(self.shape_of(value) for value in node.inputs)

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each value. A node that reads it twice is listed twice."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                readers.setdefault(value, []).append(node)
        return {value: tuple(nodes) for value, nodes in readers.items()}

    @cached_property
    def untrained_rows(self) -> Mapping[str, int]:
        """The rows of parameters, by their full names, whose gradient is not the slope."""
        found = {}
        for node in self.nodes:
            for own, full in node.parameters.items():
                row = node.op.untrained_row(own)
                if row is not None:
                    found[full] = row
        return found

    @cached_property
    def ties(self) -> Mapping[str, str]:
        """The parameters that layers take from another one, by their own names: `lm_head.weight` may be
        `wte.weight`, which is the name that counts.
        """
        found = {}
        for node in self.nodes:
            layer = (node.origin.layer or node.name).partition("@")[0]
            for own, full in node.parameters.items():
                if own and full != f"{layer}.{own}":
                    found[f"{layer}.{own}"] = full
        return found

    @property
    def real_inputs(self) -> tuple[str, ...]:
        """The inputs that hold real numbers, by which there are gradients."""
        return tuple(name for name in self.inputs if self.holds(name) == "real")

    @cached_property
    def whole_inputs(self) -> Mapping[str, int]:
        """The inputs with numbers that layers read as places, such as tokens, with the most places that
        one of the layers has; `netspec.compiler.ir.places` has each number's.
        """
        most: dict[str, int] = {}
        for node in reversed(self.nodes):
            for i, name in enumerate(node.inputs):
                limit = most.get(node.name) if node.op.only_moves else node.op.whole_numbers(i)
                if limit is not None:
                    most[name] = max(limit, most.get(name, 0))
        return {name: most[name] for name in self.inputs if name in most}

    @cached_property
    def topology(self) -> networkx.DiGraph:
        """Return the values and their readers as a graph for topology queries.

        It holds no other facts.
        """
        import networkx

        topology = networkx.DiGraph()
        topology.add_nodes_from(self.inputs)
        for node in self.nodes:
            topology.add_node(node.name)
            topology.add_edges_from((value, node.name) for value in node.inputs)
        return topology

    def trainable(self) -> Iterator[Parameter]:
        """Yield the parameters that have gradients, in order."""
        return (p for p in self.parameters.values() if p.trainable)

    def saved(self) -> dict[str, Parameter]:
        """Return the parameters and buffers that weights files have, in order."""
        return {name: p for name, p in self.parameters.items() if p.is_saved}

    def __str__(self) -> str:
        lines = [f"net {self.name}"]
        lines += [f"  input %{name} : {self.show_input(name)}" for name in self.inputs]
        lines += [f"  {node}" for node in self.nodes]
        lines += [f"  output {name} = %{value}" for name, value in self.outputs.items()]
        return "\n".join(lines)
