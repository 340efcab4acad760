"""How much arithmetic a step is: the multiply-adds of products, two FLOPs each.

What is not a product (norms, activations, pools) is not counted: it costs memory traffic, not
arithmetic, and a step that wastes no time on it comes close to sgemm.
"""

from __future__ import annotations

from netspec.compiler.ir.graph import Graph


def step_flops(graph: Graph, batch: int, *, train: bool) -> int:
    """The FLOPs of a step.

    Backward does a product for each weight and one for each input whose gradient somebody wants; the
    net's own inputs get none.
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
