"""Pool before the nonlinearity: max(relu(x)) = relu(max(x)), on a fraction of the elements.

For a non-decreasing function the maximum of its values is its value at the maximum. Where several
inputs of a window share the largest value, the function is flat there and no gradient flows, or they
are equal already before it; so the gradients are the same too.
"""

from __future__ import annotations

import dataclasses

from netspec.compiler.ir.graph import Graph, Node, Origin


def pool_first(graph: Graph) -> Graph:
    """Return the graph with each `relu -> max_pool` swapped, where nothing else reads the relu.

    Ops declare whether this applies to them: `commutes_with_max`, `takes_max`. The second node of
    the pair keeps the name of the pair's value; the first gets that name with `.first` behind it.
    """
    nodes = {node.name: node for node in graph.nodes}
    outputs = set(graph.outputs.values())
    for pool in graph.nodes:
        if not pool.op.takes_max or len(pool.inputs) != 1:
            continue
        inner = nodes.get(pool.inputs[0])
        if inner is None or not inner.op.commutes_with_max or inner.name in outputs:
            continue
        if len(graph.consumers[inner.name]) != 1:
            continue
        first = dataclasses.replace(
            pool, name=f"{pool.name}.first", inputs=inner.inputs, origin=_origin(pool)
        )
        last = dataclasses.replace(
            inner, name=pool.name, inputs=(first.name,), shape=pool.shape, origin=_origin(inner)
        )
        nodes = {
            new.name: new
            for node in nodes.values()
            for new in ((first, last) if node.name == pool.name else (node,))
            if new.name != inner.name
        }
    return dataclasses.replace(graph, nodes=tuple(nodes.values()))


def _origin(node: Node) -> Origin:
    """Return the origin of a node that gets another name; it may have had another one before."""
    return dataclasses.replace(node.origin, layer=node.origin.layer or node.name)
