"""Chooses how each value of a graph is stored."""

from __future__ import annotations

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.layout import Layout, Storage, channels_last, row_major, usual_layout


def assign_layouts(graph: Graph) -> dict[str, Layout]:
    """Return the layout of each value: the one in which its op gives it.

    An input is stored as one of the layers that read it wants it. A value that is taken as it is stored,
    between layers that store theirs in any order, is in row-major order: the heads of attention are
    pictures by their shape alone.
    """
    layouts = {name: _of_input(graph, name) for name in graph.inputs}
    wanted = _storages_of_readers(graph)
    for node in graph.nodes:
        given = [layouts[value] for value in node.inputs]
        _, layout = node.op.storage.wanted(given, len(node.shape))
        readers = wanted.get(node.name, set())
        if node.op.storage is Storage.ANY and readers and readers <= _ROW_MAJOR_SUITS:
            layout = row_major(len(node.shape))
        layouts[node.name] = layout
    return layouts


_ROW_MAJOR_SUITS = {Storage.ANY, Storage.ROW_MAJOR}


def _storages_of_readers(graph: Graph) -> dict[str, set[Storage]]:
    """Return what the layers that read a value ask for; an output is to have the usual layout."""
    found: dict[str, set[Storage]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            found.setdefault(value, set()).add(node.op.storage)
    for value in graph.outputs.values():
        found.setdefault(value, set()).add(Storage.USUAL)
    return found


def _of_input(graph: Graph, name: str) -> Layout:
    rank = len(graph.inputs[name])
    readers = {node.op.storage for node in graph.nodes if name in node.inputs}
    if Storage.CHANNELS_LAST in readers:
        return channels_last(rank)
    return row_major(rank) if readers == {Storage.ROW_MAJOR} else usual_layout(rank)
