"""What is differentiated: a loss of the scores, or a random linear functional of the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.runtime.optim.losses import Loss, SoftmaxCrossEntropy
from netspec.runtime.optim.targets import OF_CLASSES, as_rows, over_places

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]


@dataclass(frozen=True)
class Objective:
    """A sum over the outputs.

    Scores (N, K) add their loss with labels (N,), and those of places, such as (N, T, K), with labels of
    each place, (N, T); any other output y adds sum(w y) / N with weights
    w of its shape. `terms` holds labels (integers) or weights by output. The sum is multiplied by
    `scale`, a power of two, which is exact.
    """

    terms: Mapping[str, Array]
    loss: Loss = field(default_factory=SoftmaxCrossEntropy)
    scale: float = 1.0

    def program(self, outputs: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        """Return the value and its gradients as training computes them, in the type of the outputs."""
        return self._total(outputs, self.loss.value_and_gradient)

    def reference(self, outputs: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        """Return the same by the formulas, if it is the plain cross-entropy."""
        if self.loss == SoftmaxCrossEntropy():
            return self._total(outputs, partial(over_places, _cross_entropy))
        return self.program(outputs)

    def _total(
        self, outputs: Mapping[str, Array], loss_of: Callable[[Array, Array, Array], float]
    ) -> tuple[float, dict[str, Array]]:
        total, gradients = 0.0, {}
        for name, term in self.terms.items():
            y = np.ascontiguousarray(outputs[name])
            if term.dtype.kind == "i":
                gradients[name] = np.empty_like(y)
                total += loss_of(y, term, gradients[name])
            else:
                weights = term.astype(y.dtype)
                total += float(np.sum(weights * y, dtype=np.float64)) / len(y)
                gradients[name] = weights / len(y)
            gradients[name] *= self.scale
        return self.scale * total, gradients

    def in_torch(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Return the same for PyTorch's outputs, as a scalar with a gradient."""
        import torch

        terms = []
        for name, term in self.terms.items():
            y, target = outputs[name], torch.from_numpy(term)
            if term.dtype.kind == "i":
                terms.append(self.loss.in_torch(y, target))
            else:
                terms.append((target.to(y.dtype) * y).sum() / len(y))
        return sum(terms[1:], terms[0]) * self.scale

    def resolution(self, outputs: Mapping[str, Array]) -> float:
        """Return the smallest change that the arithmetic of the losses of scores can show.

        A loss is a difference of scores, or the logarithm of a sum of at least 1. So a loss of 0
        does not mean that it is exact.
        """
        spreads = [
            np.maximum(1.0, np.ptp(as_rows(outputs[name]), axis=1)).mean()
            for name, term in self.terms.items()
            if term.dtype.kind == "i"
        ]
        return self.scale * float(np.finfo(np.float64).eps) * float(sum(spreads))

    @property
    def has_labels(self) -> bool:
        """Return True if it includes a loss of scores."""
        return any(term.dtype.kind == "i" for term in self.terms.values())

    def pattern(self, gradients: Mapping[str, Array]) -> list[Array]:
        """Identify the smooth piece of the loss that the scores are on, by the signs of its gradient.

        A hinge is active or not. The signs of a smooth loss hardly ever change; if they do, taking
        a smaller step does no harm.
        """
        return [np.sign(gradients[name]) for name, y in self.terms.items() if y.dtype.kind == "i"]


def _cross_entropy(y: Array, labels: Array, dy: Array) -> float:
    """The cross-entropy of the softmax, by the formulas; its gradient is written to `dy`."""
    shifted = y - y.max(axis=1, keepdims=True)
    shares = np.exp(shifted)
    sums = shares.sum(axis=1, keepdims=True)
    dy[...] = (shares / sums - np.eye(y.shape[1])[labels]) / len(y)
    # Computed from shifted scores: the logarithm of a softmax would be that of 0 if scores are far
    # apart.
    return float((np.log(sums[:, 0]) - shifted[np.arange(len(y)), labels]).mean())


def has_scores(graph: Graph, output: str, *, of_places: bool = False) -> bool:
    """Return True if an output has scores of more than one class.

    Args:
        graph: the net.
        output: the name of the output.
        of_places: also those of each place, such as [N, T, classes].
    """
    shape = graph.shape_of(graph.outputs[output])
    return (len(shape) == 1 or (of_places and len(shape) > 1)) and OF_CLASSES.classes(shape) > 1


def make_objective(
    graph: Graph,
    batch: int,
    rng: np.random.Generator,
    *,
    loss: Loss | None,
    scores: str | None,
    labels: Array | None = None,
) -> Objective:
    """Make the objective for a graph.

    It is the `loss` of the output `scores`, and a random weight for every number of the other
    outputs. Labels that are not given are drawn.
    """
    terms: dict[str, Array] = {}
    for name, value in graph.outputs.items():
        shape = graph.shape_of(value)
        if name == scores:
            places = map(int, OF_CLASSES.shape(shape))
            drawn = rng.integers(0, OF_CLASSES.classes(shape), (batch, *places))
            terms[name] = drawn if labels is None else labels
        else:
            terms[name] = rng.standard_normal((batch, *shape))
    return Objective(terms, loss=loss if loss is not None else SoftmaxCrossEntropy())
