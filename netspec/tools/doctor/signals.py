"""Signals in a net: the size of gradients, and units whose output does not depend on the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Node
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.models.numpy_model import Model
from netspec.runtime.optim.losses import Loss

Array = NDArray[Any]
# How far the largest number of a gate moves.
_OPENED = 0.1


@dataclass(frozen=True)
class Gradient:
    """The gradient of one weight.

    Attributes:
        name: the name of the weight.
        size: root mean square of the gradient.
        relative: the same relative to the weight's; None if the weight is all zeros.
    """

    name: str
    size: float
    relative: float | None


def gradients(
    model: Model, x: Mapping[str, Array], y: NDArray[np.int64], loss: Loss
) -> list[Gradient]:
    """Return the gradient of every weight, in the order of the file, for a batch in training mode."""
    with np.errstate(over="ignore", invalid="ignore"):
        _, found = model.loss_and_grads(x, y, loss=loss, copy=False)
        return [
            _gradient(p.name, found[p.name], model.parameters[p.name])
            for p in model.graph.parameters.values()
            if p.role == "weight" and p.name in found
        ]


def with_gates_open(
    model: Model, x: Mapping[str, Array], y: NDArray[np.int64], loss: Loss
) -> tuple[list[str], list[Gradient]]:
    """Return the parameters that are all zeros and get a gradient, and the gradients once they have
    moved against it.

    A gate that starts at zero, such as the scale of a residual branch, lets no gradient into what lies
    behind it until the first step has opened it.

    Args:
        model: a model with initial values, which is changed.
        x: the images, by input.
        y: their labels.
        loss: the loss.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        _, slopes = model.loss_and_grads(x, y, loss=loss)
        roles = model.graph.parameters
        gates = [
            n for n, slope in slopes.items()
            if slope.any() and not model.parameters[n].any() and roles[n].role != "bias"
        ]  # fmt: skip
        for name in gates:
            slope = slopes[name]
            model.parameters[name] -= _OPENED * slope / np.abs(slope).max()
    return gates, gradients(model, x, y, loss)


def _gradient(name: str, gradient: Array, weight: Array) -> Gradient:
    size, own = _size(gradient), _size(weight)
    return Gradient(name, size, size / own if own > 0 else None)


def _size(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def dead_units(model: Model, x: Mapping[str, Array]) -> dict[str, float]:
    """Return the share of dead units, for each layer that can have any.

    A unit (in pictures, a channel) is dead if its output is the same number for all images and at
    every place. Layers that can have dead units are those with a kink that change each number by
    itself: no gradient passes through the flat side of the kink.
    """
    graph = model.graph
    layers = [node for node in graph.nodes if _has_flat_side(graph, node)]
    if not layers:
        return {}
    plan = make_plan(graph, training=True, backward=False, keep_activations=True)
    program = Program(graph, plan, model.dtype)
    buffers = program.bind(len(next(iter(x.values()))))
    for name, buffer in plan.inputs.items():
        buffers[buffer.name] = np.ascontiguousarray(x[name], model.dtype)
    program.sample(buffers, np.random.default_rng(0))
    # A pass in training mode updates the running statistics, but the model's must not change.
    parameters = {name: array.copy() for name, array in model.parameters.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        program.forward(buffers, parameters)
    found = {}
    for node in layers:
        values = buffers[plan.activations[node.name].name]
        rows = values.reshape(-1, values.shape[-1])  # pictures are stored with the channels last
        found[node.name] = float((rows == rows[0]).all(axis=0).mean())
    return found


def _has_flat_side(graph: Graph, node: Node) -> bool:
    shapes = graph.shapes_into(node)
    if len(shapes) != 1 or shapes[0] != node.shape:
        return False
    # Whether an op has kinks does not depend on the numbers.
    return node.op.pattern(np.zeros((1, *shapes[0]))) is not None
