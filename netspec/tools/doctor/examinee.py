"""What is examined: a net, images, and how it is to be trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Parameter
from netspec.runtime.models.classifier_shape import class_count
from netspec.runtime.models.numpy_model import Model
from netspec.runtime.optim.losses import Loss

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Patient:
    """A net before its training.

    Attributes:
        graph: the net's.
        x, y: normalised images (N, ...) in the training's precision, and their labels; not all
            of the data.
        loss: without its options: a smoothed target has no loss near 0 to reach.
        l2: the coefficient of the training.
        optimizer, options: its name and keyword arguments.
        lr: the training's highest rate.
        warms_up: whether the training begins with lower rates.
        clip_norm: the length that longer gradients are scaled down to.
        batch: images in a step.
        seed: of the initial weights.
    """

    graph: Graph
    x: Array
    y: NDArray[np.int64]
    loss: Loss
    l2: float
    optimizer: str
    options: Mapping[str, float]
    lr: float
    warms_up: bool
    clip_norm: float | None
    batch: int
    seed: int

    def model(self) -> Model:
        """The net with its initial weights, anew."""
        return Model(self.graph, dtype=self.x.dtype.name, seed=self.seed)

    def usual_spread(self, parameter: Parameter) -> float | None:
        """He's standard deviation of a weight, with which a layer gives numbers as large as it gets."""
        if parameter.role != "weight" or len(parameter.shape) < 2:
            return None
        return math.sqrt(2 / math.prod(parameter.shape[1:]))

    @property
    def classes(self) -> int:
        """How many scores there are."""
        return class_count(self.graph)

    @property
    def expected(self) -> float:
        """The loss where all scores are equal: what a net that knows nothing has."""
        return float(self.loss.value(np.zeros((len(self.y), self.classes)), self.y))
