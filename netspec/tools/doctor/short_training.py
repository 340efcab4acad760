"""Short trainings on a few images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.models.numpy_model import Model
from netspec.runtime.optim.losses import Loss
from netspec.runtime.optim.optimizers import clip, make_optimizer

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]


@dataclass
class Trial:
    """The result of a short training.

    Attributes:
        lr: the learning rate.
        losses: the loss of each step, without the L2 term.
        model: the model after training.
    """

    lr: float
    model: Model
    losses: list[float] = field(default_factory=list)

    @property
    def finite(self) -> bool:
        """True if every loss is finite."""
        return all(map(math.isfinite, self.losses))


class Watched:
    """A loss that remembers its last value, without the L2 term, and the scores it was computed from."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self.found = math.nan
        self.scores: Array = np.zeros((0, 0))

    def value(self, logits: Array, targets: Array) -> float:
        """See `Loss`."""
        return self.value_and_gradient(logits, targets, np.empty_like(logits))

    def value_and_gradient(self, logits: Array, targets: Array, dlogits: Array) -> float:
        """See `Loss`."""
        self.scores = logits.astype(np.float64)
        self.found = self._loss.value_and_gradient(logits, targets, dlogits)
        return self.found

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        return self._loss.in_torch(logits, targets)


def told_by_images(
    model: Model, x: Mapping[str, Array], y: NDArray[np.int64], loss: Loss, seed: int
) -> float:
    """Return how much lower the loss is than if every image had the mean scores.

    It is 0 for scores that do not depend on the image. The dropout masks are those of the seed.
    """
    watched = Watched(loss)
    model.reseed(seed)
    with np.errstate(over="ignore", invalid="ignore"):
        model.gradients_(x, y, loss=watched)
        same = np.broadcast_to(watched.scores.mean(axis=0), watched.scores.shape).copy()
        return loss.value(same, y) - loss.value(watched.scores, y)


def train_briefly(
    model: Model,
    x: Mapping[str, Array],
    y: NDArray[np.int64],
    loss: Loss,
    *,
    optimizer: str,
    options: Mapping[str, object],
    rate: Callable[[int], float],
    steps: int,
    until: float = -math.inf,
    l2: float = 0.0,
    clip_norm: float | None = None,
) -> Trial:
    """Train on the same batch in every step.

    Args:
        model: trained in place.
        x: the images of the batch, by input.
        y: their labels.
        loss: the loss to minimize.
        optimizer: its name.
        options: its keyword arguments.
        rate: the learning rate of each step; steps count from 0.
        steps: the maximum number; training also ends if the loss is not finite.
        until: stop when the loss is this low.
        l2: the coefficient of l2/2 * sum(W^2), whose gradient is added to the loss's.
        clip_norm: scale longer gradients down to this.
    """
    stepper = make_optimizer(
        optimizer, model.flat_parameters, model.flat_gradients, model.members, **options
    )
    trial = Trial(rate(steps - 1), model)
    watched = Watched(loss)
    for step in range(steps):
        with np.errstate(over="ignore", invalid="ignore"):
            model.gradients_(x, y, loss=watched, l2=l2)
            value = watched.found
            trial.losses.append(value)
            if not math.isfinite(value) or value <= until:
                break
            if clip_norm is not None:
                clip(model.flat_gradients, clip_norm)
            stepper.step(rate(step))
    return trial
