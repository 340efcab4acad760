"""What a box says of its layer when it is pointed at: its costs and what it sees."""

from __future__ import annotations

from netspec.compiler.analysis.costs import LayerSummary, summarize
from netspec.compiler.ir.graph import Graph, show_shape

Facts = dict[str, tuple[tuple[str, str], ...]]


def facts_of(graph: Graph) -> Facts:
    """Return the facts of each layer, by its name, as (what, text)."""
    return {layer.name: tuple(_facts(layer).items()) for layer in summarize(graph).layers}


def _facts(layer: LayerSummary) -> dict[str, str]:
    found = {"output": show_shape(layer.shape)}
    if layer.macs != 0:
        found["MACs"] = f"{layer.macs:,}"
    if layer.field is not None:
        found["receptive field"] = " x ".join(map(str, layer.field))
    return found
