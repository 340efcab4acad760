"""The arithmetic of a step: the multiply-adds of products, counted as two FLOPs each.

Operations other than products (norms, activations, pools) are not counted: they cost memory traffic
rather than arithmetic, and a step that wastes no time on them comes close to sgemm.
"""

from __future__ import annotations

from netspec.compiler.ir.graph import Graph


def step_flops(graph: Graph, batch: int, *, train: bool) -> int:
    """Return the FLOPs of a step.

    The backward pass has one product for each weight, and one for each input whose gradient is
    needed; the gradients of the net's own inputs are not.
    """
    moving: set[str] = set()  # values that depend on a trained parameter
    products = 0
    for node in graph.nodes:
        weights = [graph.parameters[name] for name in node.parameters.values()]
        wanted = sum(value in moving for value in node.inputs)
        if any(p.trainable for p in weights) or wanted:
            moving.add(node.name)
        count = 1
        if train:
            count += wanted + sum(p.role == "weight" for p in weights)
        products += node.op.macs(*graph.shapes_into(node)) * count
    return 2 * products * batch
