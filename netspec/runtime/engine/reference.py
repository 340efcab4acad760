"""The slow, simple evaluation of a graph, node by node, which everything else is tested against.

Arrays are N, C, H, W throughout. Nothing is fused, planned or reused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.op import Evaluation

Array = NDArray[Any]


class Reference:
    """One forward and backward evaluation of a graph.

    Args:
        graph: a checked graph.
        parameters: every parameter and buffer by full name; they are copied, and training updates
            the buffers among the copies.
        training: True for batch statistics and dropout masks, False for running statistics without
            masks.
        masks: the random mask of each node that has one, by node name.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: Mapping[str, Array],
        *,
        training: bool,
        masks: Mapping[str, Array] | None = None,
    ) -> None:
        self.graph = graph
        self.parameters = {name: np.array(array) for name, array in parameters.items()}
        self.values: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.value_gradients: dict[str, Array] = {}
        # The contribution of each node to the gradients of its inputs, by node and index of the
        # input.
        self.contributions: dict[tuple[str, int], Array] = {}
        self._runs = {
            node.name: Evaluation(
                node,
                training,
                {own: self.parameters[full] for own, full in node.parameters.items()},
                masks or {},
            )
            for node in graph.nodes
        }

    def forward(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute every value; returns the outputs by name."""
        self.values = dict(inputs)
        for node in self.graph.nodes:
            x = [self.values[value] for value in node.inputs]
            self.values[node.name] = node.op.forward(self._runs[node.name], *x)
        return {name: self.values[value] for name, value in self.graph.outputs.items()}

    def backward(self, output_gradients: Mapping[str, Array]) -> dict[str, Array]:
        """Compute every gradient; returns those of the parameters by full name."""
        grads: dict[str, Array] = {}
        for name, value in self.graph.outputs.items():
            grads[value] = grads.get(value, 0) + output_gradients[name]
        for node in reversed(self.graph.nodes):
            if node.name not in grads:
                continue
            run = self._runs[node.name]
            x = [self.values[value] for value in node.inputs]
            contributions = node.op.backward(run, grads[node.name], *x)
            for i, (value, dx) in enumerate(zip(node.inputs, contributions, strict=True)):
                self.contributions[node.name, i] = dx
                grads[value] = grads.get(value, 0) + dx
            for own, gradient in run.gradients.items():
                full = node.parameters[own]
                self.gradients[full] = self.gradients.get(full, 0) + gradient
        self.value_gradients = grads
        return self.gradients
