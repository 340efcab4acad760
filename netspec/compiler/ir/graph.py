"""The graph of a net: operations in static single assignment (SSA) form.

A value has the name of the node that computes it. Shapes are those of one image: the batch size N
is not part of them, and messages write it in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.syntax.tree import Call
from netspec.diagnostics import Frame, Span

if TYPE_CHECKING:
    import networkx

    from netspec.compiler.ir.op import Op

Shape = tuple[int, ...]
Role = Literal["weight", "bias", "scale", "shift", "statistic", "counter"]


def show_shape(shape: Shape | None) -> str:
    """Return a shape as `[N, 3, 32, 32]`."""
    if shape is None:
        return "unknown"
    return "[" + ", ".join(["N", *map(str, shape)]) + "]"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter or a buffer of a net, under its full name (`layer1.0.conv1.weight`).

    `role` says how it is treated: L2 regularization applies to a `weight`; a `statistic` (float)
    and a `counter` (integer) are buffers, which are saved but not trained.
    """

    name: str
    shape: Shape
    initializer: Initializer
    role: Role
    span: Span | None = None

    @property
    def trainable(self) -> bool:
        """Whether the parameter has a gradient."""
        return self.role not in ("statistic", "counter")

    @property
    def size(self) -> int:
        """The number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


class Places(NamedTuple):
    """How many whole numbers, from 0, an input may hold, and the node that says so."""

    limit: int
    node: Node


@dataclass(frozen=True)
class Graph:
    """A net in which names, blocks, loops and static conditions are resolved.

    Nodes are in topological order: every input comes before its use. `inputs` and `outputs` map the
    names that the file gives to shapes and to values.
    """

    name: str
    inputs: Mapping[str, Shape]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]
    parameters: Mapping[str, Parameter]
    span: Span | None = None
    doc: str = ""

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The node that computes each value. Inputs have none."""
        return {node.name: node for node in self.nodes}

    def shape_of(self, value: str) -> Shape:
        """Return the shape of a value, which is a node or an input."""
        return self.inputs[value] if value in self.inputs else self.by_name[value].shape

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
    def whole_inputs(self) -> Mapping[str, Places]:
        """The inputs that hold whole numbers from 0, such as tokens, with the fewest that a reader
        allows.
        """
        fewest: dict[str, Places] = {}
        for name in self.inputs:
            for node in self.consumers.get(name, ()):
                limit = node.op.whole_numbers(node.inputs.index(name))
                if limit is not None and (name not in fewest or limit < fewest[name].limit):
                    fewest[name] = Places(limit, node)
        return fewest

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

    def __str__(self) -> str:
        lines = [f"net {self.name}"]
        lines += [f"  input %{name} : {show_shape(shape)}" for name, shape in self.inputs.items()]
        lines += [f"  {node}" for node in self.nodes]
        lines += [f"  output {name} = %{value}" for name, value in self.outputs.items()]
        return "\n".join(lines)
