"""Kinds of boxes, by which they are coloured: found from what an op says of itself, not its name."""

from __future__ import annotations

from enum import Enum

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.layout import Storage


class Kind(Enum):
    """What a box is. The value is the word for it in the legend."""

    INPUT = "input or output"
    WEIGHTS = "weights"
    NORM = "norm or scale"
    POINTWISE = "activation and the like"
    WINDOW = "pool or resize"
    JOIN = "several values"
    OTHER = "shape and others"
    BLOCK = "block"
    ERROR = "does not fit"


def kind_of(node: Node, graph: Graph) -> Kind:
    """Return the kind of a layer."""
    roles = {graph.parameters[name].role for name in node.parameters.values()}
    if "weight" in roles:
        return Kind.WEIGHTS
    if roles:
        return Kind.NORM
    if len(node.inputs) > 1:
        return Kind.JOIN
    (shape,) = graph.shapes_into(node)
    if node.op.storage is Storage.KEPT and shape == node.shape:
        return Kind.POINTWISE
    if node.op.storage is Storage.CHANNELS_LAST and (shape != node.shape or node.op.sees(shape)):
        return Kind.WINDOW
    return Kind.OTHER
