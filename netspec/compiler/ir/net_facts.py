"""The facts about a whole net that conditions name: what an assert, a task and a sweep count alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Graph, Node, Parameter, Shape
from netspec.compiler.ir.receptive_field import Field, extend, field_of_input

# They are known only when the net is built.
NET_FACTS = ("params", "macs", "receptive_field")


def net_facts(
    parameters: Iterable[Parameter],
    nodes: Iterable[Node],
    shapes: Mapping[str, Shape],
    output: Field | None,
) -> dict[str, Constant]:
    """Return the facts of a net; without a first output, or its field, none of what it sees.

    Args:
        parameters: its parameters, of which those with gradients count.
        nodes: its layers, of which each use counts.
        shapes: those of the values that they read.
        output: the receptive field of the first output.
    """
    found: dict[str, Constant] = {**_costs(parameters, nodes, shapes)}
    if output is not None:
        found["receptive_field"] = output.constant
    return found


def params_and_macs(graph: Graph) -> dict[str, int]:
    """Return the two facts of a graph that are costs."""
    return _costs(graph.parameters.values(), graph.nodes, graph.shapes)


def _costs(
    parameters: Iterable[Parameter], nodes: Iterable[Node], shapes: Mapping[str, Shape]
) -> dict[str, int]:
    return {
        "params": sum(each.size for each in parameters if each.trainable),
        "macs": sum(node.op.macs(*(shapes[value] for value in node.inputs)) for node in nodes),
    }


def facts_of(graph: Graph) -> dict[str, Constant]:
    """Return the facts of a graph, in which nothing is left that no output needs."""
    fields = {name: field_of_input(shape) for name, shape in graph.inputs.items()}
    output = extend(fields, graph.shapes, graph.nodes)[next(iter(graph.outputs.values()))]
    return net_facts(graph.parameters.values(), graph.nodes, graph.shapes, output)
