"""What a `scan block` does in each step, as a graph of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property

from netspec.compiler.ir.graph import Graph, Node, Shape
from netspec.compiler.ir.op import ShapeError
from netspec.compiler.ir.sizes import Dim, at
from netspec.records import record

Misfit = Callable[[Node, ShapeError], Exception]

RESULT = "output"
"""The output of a body that is stacked over the steps. No state has this name: it is a keyword."""


@record(slots=True)
class State:
    """What a step hands to the next one.

    Attributes:
        name: the body's input that holds it, and the output that holds its next value.
        start: a number, or the input of the body that it begins with.
    """

    name: str
    start: float | str


@record(eq=False)
class ScanBody:
    """One step. Two bodies are equal if they compute the same with parameters of the same names.

    Attributes:
        block: the name of the block.
        arguments: its arguments, as text.
        class_name: that of its class in PyTorch, which no other body of the net has.
        path: what the full names of its parameters begin with.
        graph: the step. Its inputs are an item of the sequence, the values that every step is given
            whole, and the states; its outputs are `RESULT`, and the states' next values.
        states: the states.
        names: the names that the file gives to values of the graph.
    """

    block: str
    arguments: str
    class_name: str
    path: str
    graph: Graph
    states: tuple[State, ...]
    names: Mapping[str, str]

    @cached_property
    def text(self) -> str:
        """What it computes, with names that do not depend on where it is called."""
        names = {name: name for name in self.graph.inputs}
        names |= {node.name: f"%{i}" for i, node in enumerate(self.graph.nodes)}
        lines = [f"{name} {self.graph.show_input(name)}" for name in self.graph.inputs]
        for node in self.graph.nodes:
            held = [f"{own} {self.local(full)}" for own, full in node.parameters.items()]
            inputs = ", ".join(names[value] for value in node.inputs)
            lines.append(f"{names[node.name]} = {node.op}({inputs}) {', '.join(held)}")
        lines += [f"{name} = {names[value]}" for name, value in self.graph.outputs.items()]
        lines += [
            f"{self.local(p.name)} {list(p.shape)} {p.role}" for p in self.graph.parameters.values()
        ]
        return "\n".join([*lines, *(f"{state.name} from {state.start}" for state in self.states)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScanBody) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return self.class_name, self.text

    def local(self, full: str) -> str:
        """Return the name of a parameter below the block's."""
        return full.removeprefix(f"{self.path}.")

    @property
    def given(self) -> tuple[str, ...]:
        """The inputs that are no states: first the item of the sequence."""
        return tuple(self.graph.inputs)[: len(self.graph.inputs) - len(self.states)]

    def at(self, *shapes: Shape) -> Graph:
        """Return the step for other sizes of the sequence's items and of the values given whole.

        Raises:
            ShapeError: if a layer cannot take them.
        """
        known = [self.graph.inputs[name] for name in self.given]
        if list(shapes) == known:
            return self.graph
        sizes: dict[str, Dim] = {}
        for old, new in zip(known, shapes, strict=True):
            sizes |= {str(a): b for a, b in zip(old, new, strict=True) if not isinstance(a, int)}
        inputs = dict(zip(self.given, shapes, strict=True))
        for state in self.states:
            dims = (sizes.get(str(dim), dim) for dim in self.graph.inputs[state.name])
            inputs[state.name] = at(dims, sizes)  # type: ignore[assignment]
        return with_inputs(self.graph, inputs, lambda _, error: error)


def with_inputs(graph: Graph, inputs: Mapping[str, Shape], misfit: Misfit) -> Graph:
    """Return a graph whose inputs have other shapes.

    Raises:
        Exception: what `misfit` gives for the first layer that cannot take them.
    """
    shapes: dict[str, Shape] = dict(inputs)
    nodes = []
    for node in graph.nodes:
        try:
            shapes[node.name] = node.op.shape(*(shapes[value] for value in node.inputs))
        except ShapeError as error:
            raise misfit(node, error) from None
        nodes.append(dataclasses.replace(node, shape=shapes[node.name]))
    return dataclasses.replace(graph, inputs=dict(inputs), nodes=tuple(nodes))
