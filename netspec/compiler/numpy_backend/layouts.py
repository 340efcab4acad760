"""Chooses how each value of a graph is stored."""

from __future__ import annotations

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.layout import Layout, Storage, channels_last, row_major, usual_layout


def assign_layouts(graph: Graph) -> dict[str, Layout]:
    """Return the layout of each value: the one in which its op gives it.

    An input is stored as one of the layers that read it wants it.
    """
    layouts = {name: _of_input(graph, name) for name in graph.inputs}
    for node in graph.nodes:
        given = [layouts[value] for value in node.inputs]
        _, layouts[node.name] = node.op.storage.wanted(given, len(node.shape))
    return layouts


def _of_input(graph: Graph, name: str) -> Layout:
    rank = len(graph.inputs[name])
    readers = {node.op.storage for node in graph.nodes if name in node.inputs}
    if Storage.CHANNELS_LAST in readers:
        return channels_last(rank)
    return row_major(rank) if readers == {Storage.ROW_MAJOR} else usual_layout(rank)
