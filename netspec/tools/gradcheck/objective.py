"""What is differentiated: a loss of the scores, or a random linear functional of the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.runtime.optim.losses import Loss, SoftmaxCrossEntropy
from netspec.tools.verify.inputs import Objective

Array = NDArray[Any]


@dataclass(frozen=True)
class Goal(Objective):
    """A sum over the outputs, where `loss` is that of outputs with labels."""

    loss: Loss = field(default_factory=SoftmaxCrossEntropy)

    def program(self, outputs: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        """The value, and its gradient with respect to each output."""
        total, gradients = 0.0, {}
        for name, term in self.terms.items():
            y = np.ascontiguousarray(outputs[name])
            if term.dtype.kind == "i":
                gradients[name] = np.empty_like(y)
                total += self.loss.value_and_gradient(y, term, gradients[name])
            else:
                total += float((term * y).sum()) / len(y)
                gradients[name] = term / len(y)
            gradients[name] *= self.scale
        return self.scale * total, gradients

    reference = program

    def pattern(self, gradients: Mapping[str, Array]) -> list[Array]:
        """Which smooth piece of the loss the scores are on, told by the signs of its gradient.

        A hinge is active or not. The signs of a smooth loss hardly ever change, and where they do,
        a smaller step does no harm.
        """
        return [np.sign(gradients[name]) for name, y in self.terms.items() if y.dtype.kind == "i"]


def has_scores(graph: Graph, output: str) -> bool:
    """Whether an output is [N, classes] with something to choose from."""
    shape = graph.shape_of(graph.outputs[output])
    return len(shape) == 1 and shape[0] > 1


def make_goal(
    graph: Graph,
    batch: int,
    rng: np.random.Generator,
    *,
    loss: Loss | None,
    scores: str | None,
    labels: Array | None = None,
) -> Goal:
    """The goal for a graph: `loss` of the output `scores`, and a random weight for every number of
    the others. Labels are drawn where there are none.
    """
    terms: dict[str, Array] = {}
    for name, value in graph.outputs.items():
        shape = graph.shape_of(value)
        if name == scores:
            drawn = rng.integers(0, shape[0], batch)
            terms[name] = drawn if labels is None else labels
        else:
            terms[name] = rng.standard_normal((batch, *shape))
    return Goal(terms, loss=loss if loss is not None else SoftmaxCrossEntropy())
