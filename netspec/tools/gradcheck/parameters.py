"""The point where gradients are checked: values of the parameters and of the inputs, drawn or given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import Evaluation
from netspec.tools.agreement.case import draw_moved

Array = NDArray[Any]

# A layer whose values spread by less or more than this makes signals vanish or explode.
LEAST, MOST = 0.25, 4.0


def draw_parameters(graph: Graph, seed: int) -> dict[str, Array]:
    """Draw the initial values of a seed, perturbed if all numbers of a tensor are equal."""
    rng = np.random.default_rng([seed, 4])
    return {p.name: draw_moved(p, seed, rng) for p in graph.parameters.values()}


def settle(graph: Graph, parameters: dict[str, Array], inputs: Mapping[str, Array]) -> list[str]:
    """Scale weights in place so that signals neither vanish nor explode; returns their names.

    This goes layer by layer, in evaluation mode: if the values of a layer with multiply-adds have a
    standard deviation below `LEAST` or above `MOST`, its weight is divided by it. Without this, a
    gradient of 1e-12 would agree with anything to 1e-7. Source: Mishkin and Matas, All you need is
    a good init (2016), where all layers get a standard deviation of 1.
    """
    values = dict(inputs)
    scaled: list[str] = []
    for node in graph.nodes:
        x = [values[value] for value in node.inputs]
        y = _value(node, parameters, x)
        weight = node.parameters.get("weight")
        if weight is not None and weight not in scaled and node.op.macs(*graph.shapes_into(node)):
            spread = float(y.std())
            if 0 < spread < LEAST or MOST < spread < np.inf:
                parameters[weight] = parameters[weight] / spread
                scaled.append(weight)
                y = _value(node, parameters, x)
        values[node.name] = y
    return scaled


def _value(node: Node, parameters: Mapping[str, Array], x: list[Array]) -> Array:
    own = {name: parameters[full] for name, full in node.parameters.items()}
    return node.op.forward(Evaluation(node, False, own), *x)
