"""Dead code elimination: drops what no output depends on."""

from __future__ import annotations

import dataclasses

from netspec.compiler.ir.graph import Graph


def live_values(graph: Graph) -> set[str]:
    """Return the values that some output depends on, the outputs included."""
    live: set[str] = set()
    pending = list(graph.outputs.values())
    while pending:
        value = pending.pop()
        if value in live:
            continue
        live.add(value)
        node = graph.by_name.get(value)
        if node is not None:
            pending.extend(node.inputs)
    return live


def eliminate_dead(graph: Graph) -> Graph:
    """Return the graph without the nodes that no output depends on, and without their parameters."""
    live = live_values(graph)
    nodes = tuple(node for node in graph.nodes if node.name in live)
    # Parameters are in the order of their first remaining use, in which a PyTorch module would make
    # them.
    used = dict.fromkeys(full for node in nodes for full in node.parameters.values())
    parameters = {name: graph.parameters[name] for name in used}
    return dataclasses.replace(graph, nodes=nodes, parameters=parameters)
