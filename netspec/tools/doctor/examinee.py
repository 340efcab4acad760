"""What is examined: a net, images, and the settings of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Parameter
from netspec.runtime.models.classifier_shape import label_count, scores_shape
from netspec.runtime.models.numpy_model import Model
from netspec.runtime.optim.losses import Loss

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Patient:
    """A net before its training.

    Attributes:
        graph: the graph of the net.
        x: normalized images (N, ...) in the training's precision, by input; only a part of the data.
        y: their labels (N,) or (N, ...).
        loss: without its options, because a loss with label smoothing cannot come close to 0.
        l2: the L2 coefficient of the training.
        optimizer, options: its name and keyword arguments.
        lr: the training's highest learning rate.
        warms_up: whether the training begins with lower rates.
        clip_norm: the norm that longer gradients are scaled down to.
        batch: the number of images in a step.
        seed: of the initial weights.
    """

    graph: Graph
    x: Mapping[str, Array]
    y: NDArray[np.int64]
    loss: Loss
    l2: float
    optimizer: str
    options: Mapping[str, object]
    lr: float
    warms_up: bool
    clip_norm: float | None
    batch: int
    seed: int

    def model(self) -> Model:
        """Return a new model with the initial weights."""
        return Model(self.graph, dtype=self.dtype.name, seed=self.seed)

    def part(self, images: slice) -> tuple[dict[str, Array], NDArray[np.int64]]:
        """Return some of the images, by input, and their labels."""
        return {name: array[images] for name, array in self.x.items()}, self.y[images]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision of the training."""
        return next(iter(self.x.values())).dtype

    def usual_spread(self, parameter: Parameter) -> float | None:
        """He's standard deviation of a weight: it makes a layer's outputs as large as its inputs."""
        if parameter.role != "weight" or len(parameter.shape) < 2:
            return None
        return math.sqrt(2 / math.prod(parameter.shape[1:]))

    @property
    def classes(self) -> int:
        """The number of scores of a place."""
        return label_count(self.graph)

    @property
    def expected(self) -> float:
        """The loss if all scores are equal, as for a net that knows nothing."""
        equal = np.zeros((len(self.y), *scores_shape(self.graph)))
        return float(self.loss.value(equal, self.y))

    @property
    def places(self) -> int:
        """How many labels an image has: 1, or one for each place of a text or a map."""
        return math.prod(self.y.shape[1:])
