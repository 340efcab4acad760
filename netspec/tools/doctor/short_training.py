"""Short trainings on a few images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.models.numpy_model import Model
from netspec.runtime.optim.losses import Loss
from netspec.runtime.optim.optimizers import clip, make_optimizer

Array = NDArray[Any]


@dataclass
class Trial:
    """What came of it.

    Attributes:
        lr: the rate.
        losses: of each step, the L2 term not included.
        model: as it was left.
    """

    lr: float
    model: Model
    losses: list[float] = field(default_factory=list)

    @property
    def finite(self) -> bool:
        """Whether the loss stayed a number."""
        return all(map(math.isfinite, self.losses))


def train_briefly(
    model: Model,
    x: Array,
    y: NDArray[np.int64],
    loss: Loss,
    *,
    optimizer: str,
    options: Mapping[str, float],
    rate: Callable[[int], float],
    steps: int,
    until: float = -math.inf,
    clip_norm: float | None = None,
) -> Trial:
    """Train on one batch, again and again.

    Args:
        model: trained in place.
        x: the images of the batch.
        y: their labels.
        loss: what is made small.
        optimizer: its name.
        options: its keyword arguments.
        rate: the learning rate of a step, from 0.
        steps: at most so many; a loss that is no finite number ends it too.
        until: stop once the loss is as low as this.
        clip_norm: scale longer gradients down to this.
    """
    stepper = make_optimizer(
        optimizer, model.flat_parameters, model.flat_gradients, model.decayed, **options
    )
    trial = Trial(rate(steps - 1), model)
    for step in range(steps):
        with np.errstate(over="ignore", invalid="ignore"):
            value = model.gradients_(x, y, loss=loss)
            trial.losses.append(value)
            if not math.isfinite(value) or value <= until:
                break
            if clip_norm is not None:
                clip(model.flat_gradients, clip_norm)
            stepper.step(rate(step))
    return trial
