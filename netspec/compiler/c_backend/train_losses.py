"""The losses of a file that trains, which are those of `train`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from netspec.records import record

LossName = Literal["softmax", "svm", "mse", "smooth-l1", "bce", "value"]


@record
class _Loss:
    """A loss in C.

    Attributes:
        about: what it is.
        function: that of the library.
        labels: whether it has labels.
        each: whether every score has a label of its own; otherwise the classes of a place share one.
        last: an argument at the end.
    """

    about: str
    function: str
    labels: bool = True
    each: bool = False
    last: tuple[str, ...] = ()


LOSSES: Mapping[LossName, _Loss] = {
    "softmax": _Loss("the mean cross-entropy", "cross_entropy", last=("0",)),
    "svm": _Loss("the mean hinge loss", "hinge_loss", last=("1",)),
    "mse": _Loss("the mean squared error", "squared_error"),
    "smooth-l1": _Loss("the mean smooth absolute error", "smooth_error", last=("1",)),
    "bce": _Loss("the mean binary cross-entropy", "binary_cross_entropy", each=True),
    "value": _Loss("the mean of the output", "mean_score", labels=False),
}


@record
class TrainLoss:
    """A loss over scores of a shape."""

    name: LossName
    shape: tuple[int, ...]

    @property
    def about(self) -> str:
        """What it is, in words."""
        return LOSSES[self.name].about

    @property
    def labels(self) -> int:
        """How many labels an image has."""
        if not LOSSES[self.name].labels:
            return 0
        if LOSSES[self.name].each:
            return math.prod(self.shape)
        return math.prod(self.shape) // self.classes

    @property
    def classes(self) -> int:
        """How many scores a place has: along the only axis, the last of two, or the first."""
        return self.shape[-1] if len(self.shape) < 3 else self.shape[0]

    def call(self, scores: str, dscores: str) -> str:
        """Return the call that gives the loss of `count` images, and writes its gradient."""
        loss, size = LOSSES[self.name], math.prod(self.shape)
        labels = ["labels"] if loss.labels else []
        if loss.each or not loss.labels:
            sizes = [f"count * {size}"]
        elif len(self.shape) < 3:
            sizes = [f"count * {size // self.classes}", str(self.classes), "1"]
        else:
            sizes = ["count", str(self.classes), str(size // self.classes)]
        return f"{loss.function}({', '.join([scores, *labels, dscores, *sizes, *loss.last])})"
