"""What is measured on a set of images during a training, from sums over its batches."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Shape
from netspec.runtime.optim.class_counts import ClassCounts
from netspec.runtime.optim.losses import Loss, SoftmaxCrossEntropy
from netspec.runtime.optim.targets import BEST, Floats, Labels, targets_of

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_EXPONENT = 709.0
# The sums of a batch: the weight of its targets, the loss and the cross-entropy times that, and then
# the tally of its targets.
_LOSSES = 3


@dataclass(frozen=True)
class Measured:
    """What is measured on a set of images.

    Attributes:
        accuracy: The share of the targets that are right, of those that count; None where the loss
            reads no targets.
        loss: The mean loss of these, of the scores alone: without L2 and without further outputs.
        perplexity: exp of their mean cross-entropy; None if it is not measured.
        top5: The share whose label is among the five highest scores; None for up to five classes.
        classes: How they are spread over the classes; None for targets without classes.
    """

    accuracy: float | None
    loss: float
    perplexity: float | None = None
    top5: float | None = None
    classes: ClassCounts | None = None

    def values(self) -> dict[str, float]:
        """Return all numbers but the accuracy, by the ends of their names in the metrics."""
        macro_f1 = None if self.classes is None else self.classes.macro_f1
        found = {
            "loss": self.loss, "perplexity": self.perplexity, "top5": self.top5,
            "macro_f1": macro_f1,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}


def _value(loss: Loss, scores: Floats, targets: Labels) -> float:
    """Return the mean loss of a batch; an object that is given as a loss may have its gradient alone."""
    if hasattr(loss, "value"):
        return loss.value(scores, targets)
    return loss.value_and_gradient(scores, targets, np.empty_like(scores))


class Judge:
    """Judges scores batch by batch: what it returns is added up, over processes too.

    Both backends measure by it. No scores are kept.

    Args:
        loss: The loss that is trained, without its L2 term.
        perplexes: Whether the perplexity is measured too.
    """

    def __init__(self, loss: Loss, *, perplexes: bool = False) -> None:
        self._kind = targets_of(loss)
        plain = SoftmaxCrossEntropy()
        self._losses: list[Loss] = [loss]
        self._perplexes = perplexes
        if perplexes and loss != plain:  # smoothed or weighted: the perplexity is of neither
            self._losses.append(plain)

    def size(self, output: Shape) -> int:
        """Return how many sums there are, for the shape of the scores."""
        return _LOSSES + 3 + 3 * (self._kind.questions(output) if self._kind else 0)

    def weigh(self, targets: Labels) -> NDArray[Any]:
        """Return (N,) what the targets of each image weigh in the mean loss."""
        return self._kind.counts(targets) if self._kind else np.ones(len(targets))

    def sums(self, scores: Floats, targets: Labels) -> NDArray[np.float64]:
        """Return the sums of a batch of scores (N, ...) and targets (N, ...)."""
        tally = self._kind.tally(scores, targets) if self._kind else np.zeros(3, np.int64)
        weights = [float(self.weigh(targets).sum()), float(tally[1])]
        values = [
            _value(loss, scores, targets) * weight
            for loss, weight in zip(self._losses, weights, strict=False)
        ]
        return np.concatenate([weights[:1], values[:1], values[-1:], tally])

    def sums_in_torch(self, scores: Tensor, targets: Tensor, weight: float) -> Tensor:
        """Return the same for PyTorch's, on their device, and without waiting for it.

        Args:
            scores: (N, ...).
            targets: (N, ...).
            weight: The sum of what `weigh` returns for these.
        """
        import torch

        tally = scores.new_zeros(3, dtype=torch.float64)
        if self._kind:
            tally = self._kind.tally_in_torch(scores, targets).double()
        values = [
            loss.in_torch(scores, targets).double() * of
            for loss, of in zip(self._losses, (weight, tally[1]), strict=False)
        ]
        return torch.cat([tally.new_tensor([weight]), torch.stack([values[0], values[-1]]), tally])

    def measured(self, sums: NDArray[np.float64]) -> Measured:
        """Return what the sums over all batches say; of no batches, nothing right and a loss of 0."""
        if len(sums) < _LOSSES:
            return Measured(0.0, 0.0)
        weight, loss, entropy, right, counted, among = sums[: _LOSSES + 3].tolist()
        counted = max(1.0, counted)
        of_classes = sums[_LOSSES + 3 :].astype(np.int64).reshape(3, -1)
        several = bool(self._kind and self._kind.ranks) and of_classes.shape[1] > BEST
        return Measured(
            right / counted if self._kind else None,
            _finite(loss / (weight or 1.0)),
            _perplexity(entropy / counted) if self._perplexes else None,
            among / counted if several else None,
            ClassCounts(*of_classes) if of_classes.size else None,
        )


def _finite(value: float) -> float:
    """Return a loss as metrics hold it, which hold finite numbers alone."""
    return value if math.isfinite(value) else sys.float_info.max


def _perplexity(mean: float) -> float:
    """Return exp of a mean cross-entropy; one that has none is NaN or beyond all use."""
    return math.exp(mean) if mean < _LARGEST_EXPONENT else sys.float_info.max
