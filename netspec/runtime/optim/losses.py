"""Losses over class scores. The loss is chosen for a training, and is not part of the network."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import is_number, make, require

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.floating]
Targets = NDArray[np.integer]


class Loss(Protocol):
    """A loss of scores (N, K) against N target classes: the mean over the batch.

    The methods for NumPy raise NetspecError (`data/shape`, `data/bad-file`) for targets that are
    not N integers in [0, K).
    """

    def value(self, logits: Floats, targets: Targets) -> float:
        """Return the loss."""
        ...

    def value_and_gradient(self, logits: Floats, targets: Targets, dlogits: Floats) -> float:
        """Return the loss, and write its gradient with respect to the scores to `dlogits` (N, K)."""
        ...

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of PyTorch's scores and targets (int64), as a scalar with a gradient."""
        ...


@dataclass(frozen=True, kw_only=True)
class SoftmaxCrossEntropy:
    """Cross-entropy of the softmax, with PyTorch's label smoothing.

    For one row z with target t, K classes and smoothing e in [0, 1]:

        q_k   = (1 - e) [k = t] + e / K
        loss  = log sum_k exp(z_k) - sum_k q_k z_k
        dz_k  = softmax(z)_k - q_k

    The maximum of z is subtracted before the exponentials, so that none of them overflows. Source:
    torch.nn.CrossEntropyLoss; Szegedy et al., Rethinking the Inception Architecture (2016).
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require(
            is_number(self.label_smoothing) and 0.0 <= self.label_smoothing <= 1.0,
            f"label smoothing must be between 0 and 1, not {self.label_smoothing}",
        )

    def value(self, logits: Floats, targets: Targets) -> float:
        """See `Loss`."""
        return self.value_and_gradient(logits, targets, np.empty_like(logits))

    def value_and_gradient(self, logits: Floats, targets: Targets, dlogits: Floats) -> float:
        """See `Loss`. `dlogits` may be `logits` itself."""
        _check(logits, targets)
        return softmax_cross_entropy(logits, targets, dlogits, self.label_smoothing)

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        from torch.nn import functional

        return functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)


@dataclass(frozen=True, kw_only=True)
class MulticlassHinge:
    """The multiclass support vector machine's loss (Weston and Watkins; CS231n's `svm_loss`).

    For one row z with target t: loss = sum over k != t of max(0, z_k - z_t + delta), whose gradient
    is 1 for each k with a positive term, and minus the number of these for t. The mean is over the
    batch, not over the classes (torch.nn.MultiMarginLoss divides by K as well).
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        require(is_number(self.delta), f"delta must be a number, not {self.delta!r}")

    def value(self, logits: Floats, targets: Targets) -> float:
        """See `Loss`."""
        return self.value_and_gradient(logits, targets, np.empty_like(logits))

    def value_and_gradient(self, logits: Floats, targets: Targets, dlogits: Floats) -> float:
        """See `Loss`. `dlogits` may be `logits` itself."""
        _check(logits, targets)
        count = len(logits)
        rows = np.arange(count)
        correct = logits[rows, targets][:, None]
        margins = np.subtract(logits, correct, out=dlogits)
        margins += self.delta
        np.maximum(margins, 0.0, out=margins)
        margins[rows, targets] = 0.0
        loss = float(margins.sum(dtype=np.float64)) / count
        np.sign(margins, out=dlogits)  # NaN stays NaN, as it must
        dlogits[rows, targets] = -dlogits.sum(axis=1)
        dlogits /= count
        return loss

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        margins = logits - logits.gather(1, targets[:, None]) + self.delta
        others = margins.scatter(1, targets[:, None], 0.0)
        return others.clamp_min(0).sum() / len(logits)


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError:
    """The mean of (z - q)^2 over the batch and the classes; q is 1 for the target and 0 otherwise.

    For N rows of K scores: dz = 2 (z - q) / (N K).
    Source: torch.nn.MSELoss of the scores and the one-hot targets.
    """

    def value(self, logits: Floats, targets: Targets) -> float:
        """See `Loss`."""
        return self.value_and_gradient(logits, targets, np.empty_like(logits))

    def value_and_gradient(self, logits: Floats, targets: Targets, dlogits: Floats) -> float:
        """See `Loss`. `dlogits` may be `logits` itself."""
        _check(logits, targets)
        dlogits[...] = logits
        dlogits[np.arange(len(logits)), targets] -= 1.0
        loss = float(np.mean(np.square(dlogits), dtype=np.float64))
        dlogits *= 2.0 / dlogits.size
        return loss

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        from torch.nn import functional

        wanted = functional.one_hot(targets, logits.shape[1]).to(logits.dtype)
        return functional.mse_loss(logits, wanted)


@dataclass(frozen=True, kw_only=True)
class OutputValue:
    """The output as it is, for a net that computes its own loss: the mean over all its numbers.

    The labels are not read, and there are no accuracies. For M numbers v: dv = 1 / M.
    """

    def value(self, logits: Floats, targets: Targets) -> float:
        """See `Loss`."""
        return float(np.mean(logits, dtype=np.float64))

    def value_and_gradient(self, logits: Floats, targets: Targets, dlogits: Floats) -> float:
        """See `Loss`. `dlogits` may be `logits` itself."""
        loss = self.value(logits, targets)
        dlogits.fill(1 / dlogits.size)
        return loss

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        return logits.mean()


def softmax_cross_entropy(
    logits: Floats, targets: Targets, dlogits: Floats, smoothing: float = 0.0
) -> float:
    """Return the loss of `SoftmaxCrossEntropy`; its gradient is written to `dlogits`.

    Targets are not checked.
    """
    count, classes = logits.shape
    rows = np.arange(count)
    shifted = np.subtract(logits, logits.max(axis=1, keepdims=True), out=dlogits)
    # sum_k q_k z_k; computed before dlogits, which may be the memory of z, is overwritten.
    expected = (1.0 - smoothing) * shifted[rows, targets]
    if smoothing:
        expected += smoothing * shifted.mean(axis=1)
    np.exp(shifted, out=dlogits)
    total = dlogits.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - expected, dtype=np.float64)
    dlogits /= total
    dlogits[rows, targets] -= 1.0 - smoothing
    if smoothing:
        dlogits -= smoothing / classes
    dlogits /= count
    return float(loss)


LOSSES_OF_CLASSES: dict[str, Callable[..., Loss]] = {
    "softmax": SoftmaxCrossEntropy,
    "svm": MulticlassHinge,
    "mse": MeanSquaredError,
}
LOSSES = {**LOSSES_OF_CLASSES, "value": OutputValue}


def make_loss(name: str, /, **options: float) -> Loss:
    """Return the loss called `name` in `LOSSES`; options are its attributes.

    Raises:
        NetspecError: `train/bad-option` for an unknown name or option, or a value out of range.
    """
    return make("loss", LOSSES, name, options=options)


@dataclass(frozen=True)
class OutputLoss:
    """The loss of a further output, which is added to that of the scores, times a weight."""

    output: str
    loss: Loss
    weight: float


_TERM = re.compile(r"(?P<output>[^\W\d]\w*)=(?:(?P<loss>[a-z]+)\*)?(?P<weight>[0-9.][0-9.e+-]*)")


def output_loss(text: str, main: Loss) -> OutputLoss:
    """Return what `aux=0.4` or `aux=mse*0.4` says: an output, its loss, `main` by default, a weight.

    Raises:
        NetspecError: `train/bad-option`.
    """
    found = _TERM.fullmatch(text)
    try:
        weight = float(found["weight"]) if found else math.nan
    except ValueError:
        weight = math.nan
    require(
        math.isfinite(weight),
        f"{text!r} says no output with a weight",
        "write the output's name, `=` and a weight, such as aux=0.4, or with a loss, aux=mse*0.4",
    )
    assert found is not None
    loss = main if found["loss"] is None else make_loss(found["loss"])
    return OutputLoss(found["output"], loss, weight)


# These losses need scores, which may be any numbers: not probabilities, nor the output of an
# activation that cuts off values.
OF_SCORES = (SoftmaxCrossEntropy, MulticlassHinge)


def _check(logits: Floats, targets: Targets) -> None:
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or targets.dtype.kind not in "ui":
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"scores {list(logits.shape)} need {len(logits)} whole numbers as targets, one per"
            f" row; these are {targets.dtype} {list(targets.shape)}",
        )
    if len(targets) and (targets.min() < 0 or targets.max() >= logits.shape[1]):
        raise NetspecError.simple(
            codes.DATA_BAD_FILE,
            f"targets run from {targets.min()} to {targets.max()}; "
            f"{logits.shape[1]} classes are 0 to {logits.shape[1] - 1}",
        )
