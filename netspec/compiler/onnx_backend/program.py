"""A net as a list of ONNX's operators, before it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.onnx_form import Number, OnnxNode, OnnxValue
from netspec.records import record

Array = NDArray[Any]


def used(
    nodes: Sequence[OnnxNode], outputs: Iterable[OnnxValue]
) -> tuple[tuple[OnnxNode, ...], set[OnnxValue]]:
    """Return the operators that outputs depend on, and the values."""
    live = set(outputs)
    kept: list[OnnxNode] = []
    for node in reversed(nodes):
        if live.intersection(node.outputs):
            kept.append(node)
            live.update(node.reads)
    return tuple(reversed(kept)), live


@record(eq=False)
class OnnxProgram:
    """Operators in the order they run.

    Attributes:
        graph: the net that they compute.
        nodes: the operators.
        inputs: the net's inputs by name.
        outputs: the value of each output of the net.
        parameters: the arrays that they read, by name.
        values: the value of each node of the net, by the node's name, and each input.
        numbers: the types of these values.
    """

    graph: Graph
    nodes: tuple[OnnxNode, ...]
    inputs: Mapping[str, OnnxValue]
    outputs: Mapping[str, OnnxValue]
    parameters: Mapping[str, tuple[OnnxValue, Array]]
    values: Mapping[str, OnnxValue]
    numbers: Mapping[str, Number]

    def uses(self) -> Counter[OnnxValue]:
        """Return how often each value is read, by operators and as an output."""
        read = Counter(value for node in self.nodes for value in node.reads)
        read.update(self.outputs.values())
        return read

    def without_unused(self) -> OnnxProgram:
        """Return the program without operators and parameters that no output depends on."""
        kept, live = used(self.nodes, self.outputs.values())
        parameters = {n: (v, a) for n, (v, a) in self.parameters.items() if v in live}
        return replace(self, nodes=kept, parameters=parameters)

    def with_nodes(self, nodes: Sequence[OnnxNode]) -> OnnxProgram:
        """Return the program with other operators."""
        return replace(self, nodes=tuple(nodes))
