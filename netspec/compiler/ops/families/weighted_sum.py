"""Notices products that sum over places whose weights do not sum to 1, as attention with a softmax over
the wrong axis.
"""

from collections.abc import Iterator

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.softmax import SoftmaxOp

# So many layers between scores and softmax, and between softmax and product, are looked through.
_NEAR = 6


def odd_weights(node: Node, graph: Graph, at: int, summed: int) -> Iterator[Finding]:
    """Yield a finding if a product sums over an axis of a softmax of scores along another axis, and the
    file does not say along which.

    A softmax whose axis is written is meant so.

    Args:
        node: a product of two values.
        graph: its graph.
        at: which of them is looked at.
        summed: the only axis of it that is summed over, from 1 on.
    """
    made = graph.by_name.get(node.inputs[at])
    for _ in range(_NEAR):  # dropout and scales
        if made is None or isinstance(made.op, SoftmaxOp) or not _keeps(made, graph):
            break
        made = graph.by_name.get(made.inputs[0])
    if made is None or not isinstance(made.op, SoftmaxOp) or not made.op.is_distribution:
        return
    axis = resolve_axis(made.op.name, made.op.axis, made.shape)
    if axis == summed or made.origin.attributes or not _is_of_a_product(made, graph):
        return
    name, shown = made.op.name, "-1" if summed == len(made.shape) else str(summed)
    yield Finding(
        codes.SHAPE_SOFTMAX_AXIS,
        f"`{name}` is along axis {axis} of {show_shape(made.shape)}, and `{node.op.name}` sums over"
        f" axis {summed}, so these weights do not sum to 1",
        node=made,
        fixes=(Fix("axis", shown, f"along the axis that is summed over: `axis = {shown}`"),),
    )


def _keeps(node: Node, graph: Graph) -> bool:
    """Whether a layer keeps the axes of its only input."""
    shapes = graph.shapes_into(node)
    return len(shapes) == 1 and shapes[0] == node.shape and not node.op.moves_axes


def _is_of_a_product(node: Node, graph: Graph) -> bool:
    """Whether what a softmax is of comes from a product of two values: scaled, masked, with a bias."""
    near = [graph.by_name.get(node.inputs[0])]
    for _ in range(_NEAR):
        if any(each is not None and _is_product(each, graph) for each in near):
            return True
        near = [
            graph.by_name.get(value)
            for each in near
            if each is not None and len(each.inputs) <= 2
            for value in each.inputs
            if graph.shape_of(value) == node.shape
        ]
    return False


def _is_product(node: Node, graph: Graph) -> bool:
    if len(node.inputs) != 2 or node.parameters:
        return False
    return node.op.macs(*graph.shapes_into(node)) != 0
