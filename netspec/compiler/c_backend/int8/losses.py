"""How much each layer of a net in whole numbers loses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netspec.compiler.c_backend.int8.quantize import QuantizedNet
from netspec.compiler.c_backend.int8.scheme import HIGH, LOW, Array
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, ViewStep
from netspec.records import record


@record
class LayerLoss:
    """A layer, and by how much it is further from its value in floating point than what it reads is.

    Both are the root of the mean square of the differences, relative to that of the value.
    """

    name: str
    error: float
    more: float


def layer_losses(
    net: QuantizedNet, inputs: Mapping[str, Array], values: Mapping[str, Array]
) -> list[LayerLoss]:
    """Return the layers by what they lose, the most first.

    Args:
        net: the net.
        inputs: a batch.
        values: what the buffers are in floating point, by name.
    """
    whole = net.run(inputs)
    errors: dict[Buffer, float] = {}
    losses = []
    for step in net.plan.forward:
        (y,) = step.writes[:1]
        if isinstance(step, ViewStep) or not isinstance(y, Buffer) or y not in net.scales:
            continue
        scale = net.scales[y]
        wanted = values[net.float_names.get(y, y.name)].reshape(whole[y].shape)
        # A ReLU further on may be in the range already.
        wanted = np.clip(wanted.astype(np.float64), *scale.numbers(np.array([LOW, HIGH])))
        found = scale.numbers(whole[y])
        size = float(np.sqrt(np.mean(wanted**2))) or 1.0
        errors[y] = float(np.sqrt(np.mean((found - wanted) ** 2))) / size
        before = [
            errors[net.root(x)]
            for x in step.reads
            if isinstance(x, Buffer) and net.root(x) in errors
        ]
        node = step.nodes[-1] if isinstance(step, ElementwiseStep) else step.node
        losses.append(LayerLoss(node, errors[y], errors[y] - max(before, default=0.0)))
    return sorted(losses, key=lambda each: -each.more)
