"""What a net costs: parameters, multiply-adds and the memory of its values, layer by layer.

Memory counts float32 values with every value in an array of its own, as the graph has them. In
training they are all kept, the net's inputs among them: backward reads them. In inference a value is
dropped after its last reader, and the peak is what counts. Parameters, gradients and the state of an
optimizer come on top; fusing and in-place work make a real program need less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from netspec.compiler.graph import Graph, Shape

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One node of a net.

    A layer that is called again has its parameters counted at its first call.
    """

    name: str
    op: str
    attributes: Mapping[str, Any]
    call: str
    inputs: tuple[str, ...]
    shape: Shape
    parameters: int
    buffers: int
    macs: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A net's layers and totals. Shapes and MACs are those of one image, bytes those of a batch."""

    net: str
    inputs: Mapping[str, Shape]
    layers: tuple[LayerSummary, ...]
    outputs: Mapping[str, str]
    parameters: int
    buffers: int
    macs: int
    batch: int
    training_bytes: int
    inference_bytes: int

    def __str__(self) -> str:
        from netspec.compiler.summary_text import as_table

        return as_table(self)


def summarize(graph: Graph, batch: int = 1) -> Summary:
    """Add up a net. The memory is that of `batch` images."""
    layers = []
    counted: set[str] = set()
    for node in graph.nodes:
        own = [graph.parameters[name] for name in node.parameters.values() if name not in counted]
        counted.update(node.parameters.values())
        layers.append(
            LayerSummary(
                node.name,
                node.op.name,
                {name: getattr(node.op, name) for name in node.op.attributes()},
                str(node.op),
                node.inputs,
                node.shape,
                sum(p.size for p in own if p.trainable),
                sum(p.size for p in own if not p.trainable),
                node.op.macs(*graph.shapes_into(node)),
            )
        )
    everything = [*graph.inputs.values(), *(node.shape for node in graph.nodes)]
    return Summary(
        graph.name,
        graph.inputs,
        tuple(layers),
        graph.outputs,
        sum(layer.parameters for layer in layers),
        sum(layer.buffers for layer in layers),
        sum(layer.macs for layer in layers),
        batch,
        batch * _bytes(everything),
        batch * _peak_bytes(graph),
    )


def _bytes(shapes: Iterable[Shape]) -> int:
    return FLOAT32_BYTES * sum(math.prod(shape) for shape in shapes)


def _peak_bytes(graph: Graph) -> int:
    """The most bytes alive at once for one image, the nodes run in their order."""
    last_reader = {value: i for i, node in enumerate(graph.nodes) for value in node.inputs}
    kept = set(graph.outputs.values())
    sizes = {name: _bytes([shape]) for name, shape in graph.inputs.items()}
    alive = peak = sum(sizes.values())
    for i, node in enumerate(graph.nodes):
        sizes[node.name] = _bytes([node.shape])
        alive += sizes[node.name]
        peak = max(peak, alive)
        for value in {*node.inputs, node.name}:
            if value not in kept and last_reader.get(value, i) == i:
                alive -= sizes[value]
    return peak
