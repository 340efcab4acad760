"""The part of a net between two labels, as a net of its own."""

from __future__ import annotations

import dataclasses

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import NetspecError, suggest


def cut(graph: Graph, start: str | None, end: str | None) -> Graph:
    """Return the nodes on all paths from `start` to `end`, both included.

    A label names one layer or, as `layer1.0`, all layers of a block; `start` can also be an input.
    Every value that comes from outside becomes an input of the result, under its own name. The
    outputs are the values at `end`; for a block, the values that leave it.

    Raises:
        NetspecError: `gradcheck/label` for an unknown label, or if there is no path between the
            two.
    """
    if start is None and end is None:
        return graph
    first = set(graph.by_name) if start is None else _named(graph, start, inputs=True)
    last = set(graph.outputs.values()) if end is None else _named(graph, end)
    after, before = _downstream(graph, first), upstream(graph, last)
    inside = [node for node in graph.nodes if node.name in after and node.name in before]
    if not inside:
        raise NetspecError.simple(
            codes.GRADCHECK_LABEL, f"there is no path from `{start}` to `{end}`"
        )
    names = {node.name for node in inside}
    read = {value for node in inside for value in node.inputs}
    leaving = set(graph.outputs.values())
    for node in graph.nodes:
        if node.name not in names:
            leaving |= set(node.inputs)
    outputs = [name for name in names & last if name in leaving or name not in read]
    held = {full for node in inside for full in node.parameters.values()}
    return dataclasses.replace(
        graph,
        inputs={
            value: graph.shape_of(value)
            for node in inside
            for value in node.inputs
            if value not in names
        },
        input_types={
            value: graph.holds(value)
            for node in inside
            for value in node.inputs
            if value not in names and graph.holds(value) != "real"
        },
        nodes=tuple(inside),
        outputs={name: name for name in sorted(outputs)},
        parameters={name: p for name, p in graph.parameters.items() if name in held},
    )


def _named(graph: Graph, label: str, *, inputs: bool = False) -> set[str]:
    """Return the nodes of a label; for an input, where one is allowed, the nodes that read it."""
    if inputs and label in graph.inputs:
        return {node.name for node in graph.consumers.get(label, ())}
    if label in graph.by_name:
        return {label}
    found = {node.name for node in graph.nodes if node.name.startswith(f"{label}.")}
    if found:
        return found
    known = [*graph.by_name, *(graph.inputs if inputs else ())]
    meant = suggest(label, known)
    raise NetspecError.simple(
        codes.GRADCHECK_LABEL,
        f"{graph.name} has no layer `{label}`",
        f"did you mean `{meant}`?" if meant else "`netspec summarize` lists the layers",
    )


def _downstream(graph: Graph, names: set[str]) -> set[str]:
    reached = set(names)
    for node in graph.nodes:
        if any(value in reached for value in node.inputs):
            reached.add(node.name)
    return reached


def upstream(graph: Graph, names: set[str]) -> set[str]:
    """Return the nodes from which these are reached, with these."""
    reached = set(names)
    for node in reversed(graph.nodes):
        if node.name in reached:
            reached |= {value for value in node.inputs if value in graph.by_name}
    return reached
