"""Losses over scores. The loss is chosen for a training, and is not part of the network."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import is_number, make, require
from netspec.runtime.data.dataset import IGNORED, is_one_hot
from netspec.runtime.data.label_ranges import ONE_HOT, range_help
from netspec.runtime.optim.class_weights import ClassWeights, WeightedClasses, checked, known
from netspec.runtime.optim.contrastive import NormalizedTemperatureCrossEntropy
from netspec.runtime.optim.ctc import ctc, require_steps
from netspec.runtime.optim.own import OwnLoss
from netspec.runtime.optim.targets import (
    OF_CLASSES,
    Floats,
    Labels,
    Targets,
    Transcript,
    YesOrNo,
    class_axis,
    over_places,
    rows_in_torch,
)

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Protocol):
    """A loss of a batch of scores (N, ...): the mean over the targets that count.

    Scores of images are (N, K), those of sequences (N, T, K), those of maps (N, K, H, W). Which integers
    belong to them says its attribute `targets`, see `targets_of`. Those that are `IGNORED` do not count.

    The methods for NumPy raise NetspecError (`data/shape`, `data/bad-file`) for targets of another
    shape or out of range.
    """

    def value(self, logits: Floats, targets: Labels) -> float:
        """Return the loss."""
        ...

    def value_and_gradient(self, logits: Floats, targets: Labels, dlogits: Floats) -> float:
        """Return the loss, and write its gradient with respect to the scores to `dlogits`.

        `dlogits` is like the scores, and may be the same array.
        """
        ...

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of PyTorch's scores and targets (int64), as a scalar with a gradient."""
        ...


class _OfRows(Protocol):
    """A loss that is a mean over places; it is defined for rows (M, K) and their labels (M,)."""

    def of_rows(self, rows: Floats, labels: Labels, drows: Floats) -> float:
        """Return the mean loss; its gradient is written to `drows`, which may be the rows."""
        ...

    def each_in_torch(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row (M,); anything where the label is `IGNORED`."""
        ...


class _ClassLoss(_OfRows, Protocol):
    """What the losses over classes share: the way from places to rows."""

    @property
    def targets(self) -> Targets:
        """See `Loss`."""
        return OF_CLASSES

    def value(self, logits: Floats, targets: Labels) -> float:
        """See `Loss`."""
        return self.value_and_gradient(logits, targets, np.empty_like(logits))

    def value_and_gradient(self, logits: Floats, targets: Labels, dlogits: Floats) -> float:
        """See `Loss`."""
        _check(self.targets, logits, targets)
        return over_places(self.of_rows, logits, targets, dlogits)

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        rows, labels = rows_in_torch(logits, targets)
        return _mean_in_torch(self.each_in_torch(rows, labels), labels)


class _WeightedLoss(_ClassLoss, Protocol):
    """A loss over classes whose targets may count as much as the weights of their classes say."""

    @property
    def weights(self) -> tuple[float, ...]:
        """A weight for each class; none where all count alike."""
        ...

    @property
    def targets(self) -> Targets:
        """See `Loss`."""
        return WeightedClasses(self.weights) if self.weights else OF_CLASSES

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        rows, labels = rows_in_torch(logits, targets)
        each = self.each_in_torch(rows, labels)
        if not self.weights:
            return _mean_in_torch(each, labels)
        counted = rows.new_tensor(self.weights)[labels.clamp_min(0)].where(labels != IGNORED, 0.0)
        total = counted.sum()
        return each.where(labels != IGNORED, 0.0).sum() / total.where(total > 0, 1.0)


@dataclass(frozen=True, kw_only=True)
class SoftmaxCrossEntropy(_WeightedLoss):
    """Cross-entropy of the softmax, with PyTorch's label smoothing and weights of classes.

    For one row z with target t, K classes, smoothing e in [0, 1] and weights w:

        q_k   = w_k ((1 - e) [k = t] + e / K)
        loss  = sum_k q_k (log sum_j exp(z_j) - z_k)
        dz_k  = softmax(z)_k sum_j q_j - q_k

    The mean over rows is the sum divided by the sum of w_t. The maximum of z is subtracted before the
    exponentials, so that none of them overflows. Source: torch.nn.CrossEntropyLoss; Szegedy et al.,
    Rethinking the Inception Architecture (2016).

    Attributes:
        label_smoothing: e.
        class_weights: w; none where all are 1; `balanced` until the labels are known.
    """

    label_smoothing: float = 0.0
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        require(
            is_number(self.label_smoothing) and 0.0 <= self.label_smoothing <= 1.0,
            f"label smoothing must be between 0 and 1, not {self.label_smoothing}",
        )
        object.__setattr__(self, "class_weights", checked(self.class_weights))

    @property
    def weights(self) -> tuple[float, ...]:
        """See `_WeightedLoss`."""
        return known(self.class_weights)

    def value(self, logits: Floats, targets: Labels) -> float:
        """See `Loss`: where the scores lie, for evaluations, which need no gradient."""
        if self.weights:
            return super().value(logits, targets)
        _check(self.targets, logits, targets)
        return _softmax_cross_entropy_of_places(logits, targets, self.label_smoothing)

    def of_rows(self, rows: Floats, labels: Labels, drows: Floats) -> float:
        """See `_OfRows`."""
        if self.weights:
            return _weighted_cross_entropy(rows, labels, drows, self.label_smoothing, self.weights)
        return softmax_cross_entropy(rows, labels, drows, self.label_smoothing)

    def each_in_torch(self, rows: Tensor, labels: Tensor) -> Tensor:
        """See `_OfRows`."""
        from torch.nn import functional

        return functional.cross_entropy(
            rows, labels, rows.new_tensor(self.weights) if self.weights else None,
            reduction="none", ignore_index=IGNORED, label_smoothing=self.label_smoothing,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FocalLoss(_WeightedLoss):
    """Cross-entropy that leaves out targets which are right already.

    For one row with the probability p of its target t: loss = -w_t (1 - p)^gamma log p, and

        dz_k = w_t (gamma p (1 - p)^(gamma - 1) log p - (1 - p)^gamma) ([k = t] - softmax(z)_k)

    The mean over rows is the sum divided by the sum of w_t. Source: Lin et al., Focal Loss for Dense
    Object Detection (2017), over a softmax.

    Attributes:
        focal_gamma: gamma, at least 1.
        class_weights: see `SoftmaxCrossEntropy`.
    """

    focal_gamma: float = 2.0
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        require(
            is_number(self.focal_gamma) and self.focal_gamma >= 1,
            f"focal_gamma must be at least 1, not {self.focal_gamma!r}",
        )
        object.__setattr__(self, "class_weights", checked(self.class_weights))

    @property
    def weights(self) -> tuple[float, ...]:
        """See `_WeightedLoss`."""
        return known(self.class_weights)

    def of_rows(self, rows: Floats, labels: Labels, drows: Floats) -> float:
        """See `_OfRows`."""
        numbers, gamma = np.arange(len(rows)), self.focal_gamma
        shifted = np.subtract(rows, rows.max(axis=1, keepdims=True), out=drows)
        right = shifted[numbers, labels]
        np.exp(shifted, out=drows)
        total = drows.sum(axis=1, keepdims=True)
        drows /= total
        log_p, p = right - np.log(total[:, 0]), drows[numbers, labels]
        counted = _of_labels(self.weights, labels, rows)
        share = counted / (counted.sum() or 1)
        rest = 1 - p
        loss = -float(np.sum(share * rest**gamma * log_p, dtype=np.float64))
        slope = share * (gamma * p * rest ** (gamma - 1) * log_p - rest**gamma)
        drows *= -slope[:, None]
        drows[numbers, labels] += slope
        return loss

    def each_in_torch(self, rows: Tensor, labels: Tensor) -> Tensor:
        """See `_OfRows`."""
        right = labels.clamp_min(0)
        log_p = rows.log_softmax(1).gather(1, right[:, None])[:, 0]
        each = -((1 - log_p.exp()) ** self.focal_gamma) * log_p
        return each * rows.new_tensor(self.weights)[right] if self.weights else each


@dataclass(frozen=True, kw_only=True)
class MulticlassHinge(_ClassLoss):
    """The multiclass support vector machine's loss (Weston and Watkins; CS231n's `svm_loss`).

    For one row z with target t: loss = sum over k != t of max(0, z_k - z_t + delta), whose gradient
    is 1 for each k with a positive term, and minus the number of these for t. The mean is over the
    rows, not over the classes (torch.nn.MultiMarginLoss divides by K as well).
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        require(is_number(self.delta), f"delta must be a number, not {self.delta!r}")

    def of_rows(self, rows: Floats, labels: Labels, drows: Floats) -> float:
        """See `_OfRows`."""
        count = len(rows)
        numbers = np.arange(count)
        correct = rows[numbers, labels][:, None]
        margins = np.subtract(rows, correct, out=drows)
        margins += self.delta
        np.maximum(margins, 0.0, out=margins)
        margins[numbers, labels] = 0.0
        loss = float(margins.sum(dtype=np.float64)) / count
        np.sign(margins, out=drows)  # NaN stays NaN, as it must
        drows[numbers, labels] = -drows.sum(axis=1)
        drows /= count
        return loss

    def each_in_torch(self, rows: Tensor, labels: Tensor) -> Tensor:
        """See `_OfRows`."""
        right = labels.clamp_min(0)[:, None]
        margins = rows - rows.gather(1, right) + self.delta
        return margins.scatter(1, right, 0.0).clamp_min(0).sum(1)


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(_ClassLoss):
    """The mean of (z - q)^2 over the rows and the classes; q is 1 for the target and 0 otherwise.

    For M rows of K scores: dz = 2 (z - q) / (M K).
    Source: torch.nn.MSELoss of the scores and the one-hot targets.
    """

    def of_rows(self, rows: Floats, labels: Labels, drows: Floats) -> float:
        """See `_OfRows`."""
        drows[...] = rows
        drows[np.arange(len(rows)), labels] -= 1.0
        loss = float(np.mean(np.square(drows), dtype=np.float64))
        drows *= 2.0 / drows.size
        return loss

    def each_in_torch(self, rows: Tensor, labels: Tensor) -> Tensor:
        """See `_OfRows`."""
        from torch.nn import functional

        wanted = functional.one_hot(labels.clamp_min(0), rows.shape[1]).to(rows.dtype)
        return (rows - wanted).square().mean(1)


@dataclass(frozen=True, kw_only=True)
class SmoothL1(_ClassLoss):
    """The squared error near the target, and the absolute error farther off.

    For d = z - q, where q is 1 for the target and 0 otherwise, and beta b > 0:

        each = d^2 / 2b where |d| < b, else |d| - b/2;  dz = clip(d / b, -1, 1)

    The mean is over the rows and the classes. Source: torch.nn.SmoothL1Loss of the scores and the
    one-hot targets; Girshick, Fast R-CNN (2015).

    Attributes:
        beta: b.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        require(
            is_number(self.beta) and self.beta > 0, f"beta must be more than 0, not {self.beta!r}"
        )

    def of_rows(self, rows: Floats, labels: Labels, drows: Floats) -> float:
        """See `_OfRows`."""
        drows[...] = rows
        drows[np.arange(len(rows)), labels] -= 1.0
        far = np.abs(drows)
        drows /= self.beta
        np.clip(drows, -1.0, 1.0, out=drows)
        each = np.where(far < self.beta, far * far / (2 * self.beta), far - self.beta / 2)
        loss = float(np.mean(each, dtype=np.float64))
        drows /= drows.size
        return loss

    def each_in_torch(self, rows: Tensor, labels: Tensor) -> Tensor:
        """See `_OfRows`."""
        from torch.nn import functional

        wanted = functional.one_hot(labels.clamp_min(0), rows.shape[1]).to(rows.dtype)
        return functional.smooth_l1_loss(rows, wanted, reduction="none", beta=self.beta).mean(1)


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy:
    """Cross-entropy of the sigmoid of each score z against its own target t, 0 or 1.

    loss = max(z, 0) - z t + log(1 + exp(-|z|)), and with M targets that count dz = (sigmoid(z) - t) / M.
    Source: torch.nn.BCEWithLogitsLoss.
    """

    targets: ClassVar[Targets] = YesOrNo()

    def value(self, logits: Floats, targets: Labels) -> float:
        """See `Loss`."""
        return self.value_and_gradient(logits, targets, np.empty_like(logits))

    def value_and_gradient(self, logits: Floats, targets: Labels, dlogits: Floats) -> float:
        """See `Loss`."""
        _check(self.targets, logits, targets)
        z = logits.reshape(targets.shape)
        kept = targets != IGNORED
        count = max(1, int(kept.sum()))
        small = np.exp(-np.abs(z))
        each = np.maximum(z, 0) - z * targets + np.log1p(small)
        loss = float(each.sum(dtype=np.float64, where=kept)) / count
        shares = np.where(z >= 0, 1, small) / (1 + small)
        dlogits[...] = ((shares - targets) * kept / count).reshape(dlogits.shape)
        return loss

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        from torch.nn import functional

        each = functional.binary_cross_entropy_with_logits(
            logits.reshape(targets.shape), targets.to(logits.dtype), reduction="none"
        )
        return _mean_in_torch(each, targets)


@dataclass(frozen=True, kw_only=True)
class ConnectionistTemporalClassification:
    """CTC: minus the log of the probability of all ways in which the steps may spell the target.

    The scores (N, T, K) get a softmax in each step, class 0 is the blank, and targets are (N, L), filled
    up with `IGNORED`. The loss of each sequence is divided by the length of its target, as
    torch.nn.CTCLoss does, and the mean is over the batch. A target that needs more than T steps is
    refused: no scores could spell it. Source: Graves et al., Connectionist Temporal Classification
    (2006).
    """

    targets: ClassVar[Targets] = Transcript()

    def value(self, logits: Floats, targets: Labels) -> float:
        """See `Loss`."""
        return self.value_and_gradient(logits, targets, np.empty_like(logits))

    def value_and_gradient(self, logits: Floats, targets: Labels, dlogits: Floats) -> float:
        """See `Loss`."""
        _check(self.targets, logits, targets)
        require_steps(targets, logits.shape[1])
        return ctc(logits, targets, dlogits)

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        import torch
        from torch.nn import functional

        require_steps(targets.cpu().numpy(), logits.shape[1])
        steps = torch.full((len(logits),), logits.shape[1], dtype=torch.int64)
        return functional.ctc_loss(
            logits.log_softmax(2).transpose(0, 1), targets.clamp_min(0), steps,
            (targets != IGNORED).sum(1).cpu(),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OutputValue:
    """The output as it is, for a net that computes its own loss: the mean over all its numbers.

    The labels are not read, and there are no accuracies. For M numbers v: dv = 1 / M.
    """

    targets: ClassVar[Targets | None] = None

    def value(self, logits: Floats, targets: Labels) -> float:
        """See `Loss`."""
        return float(np.mean(logits, dtype=np.float64))

    def value_and_gradient(self, logits: Floats, targets: Labels, dlogits: Floats) -> float:
        """See `Loss`. `dlogits` may be `logits` itself."""
        loss = self.value(logits, targets)
        dlogits.fill(1 / dlogits.size)
        return loss

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        return logits.mean()


def softmax_cross_entropy(
    logits: Floats, targets: Labels, dlogits: Floats, smoothing: float = 0.0
) -> float:
    """Return the loss of `SoftmaxCrossEntropy` of rows (M, K); its gradient is written to `dlogits`.

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


def _softmax_cross_entropy_of_places(logits: Floats, targets: Labels, smoothing: float) -> float:
    """Return the loss of `SoftmaxCrossEntropy` of scores (N, ...), see `class_axis`; 0 if none counts."""
    kept, axis = targets != IGNORED, class_axis(logits.ndim)
    shifted = logits - logits.max(axis=axis, keepdims=True)
    labels = np.expand_dims(np.where(kept, targets, 0), axis)
    expected = (1.0 - smoothing) * np.take_along_axis(shifted, labels, axis)
    if smoothing:
        expected += smoothing * shifted.mean(axis=axis, keepdims=True)
    total = np.exp(shifted, out=shifted).sum(axis=axis, keepdims=True)
    each = (np.log(total) - expected).reshape(targets.shape)
    return float(each.sum(dtype=np.float64, where=kept)) / max(1, int(kept.sum()))


def _weighted_cross_entropy(
    logits: Floats,
    targets: Labels,
    dlogits: Floats,
    smoothing: float,
    weights: tuple[float, ...],
) -> float:
    """Do the same as `softmax_cross_entropy` with a weight for each class."""
    count, classes = logits.shape
    rows = np.arange(count)
    shifted = np.subtract(logits, logits.max(axis=1, keepdims=True), out=dlogits)
    of_class = np.array(weights, logits.dtype)
    wanted = np.zeros_like(logits)
    wanted[rows, targets] = 1.0 - smoothing
    wanted += smoothing / classes
    wanted *= of_class
    whole = of_class[targets].sum() or 1
    expected = (wanted * shifted).sum(axis=1)
    np.exp(shifted, out=dlogits)
    total = dlogits.sum(axis=1, keepdims=True)
    mass = wanted.sum(axis=1)
    loss = np.sum(mass * np.log(total[:, 0]) - expected, dtype=np.float64) / whole
    dlogits *= mass[:, None] / total
    dlogits -= wanted
    dlogits /= whole
    return float(loss)


def _of_labels(weights: tuple[float, ...], labels: Labels, like: Floats) -> Floats:
    """Return the weight of each label (M,); 1 where there are no weights."""
    of_class = np.array(weights, like.dtype)
    return of_class[labels] if weights else np.ones(len(labels), like.dtype)


LOSSES_OF_CLASSES: dict[str, Callable[..., Loss]] = {
    "softmax": SoftmaxCrossEntropy,
    "focal": FocalLoss,
    "svm": MulticlassHinge,
    "mse": MeanSquaredError,
    "smooth-l1": SmoothL1,
}
LOSSES_OF_LABELS = {
    **LOSSES_OF_CLASSES,
    "bce": BinaryCrossEntropy,
    "ctc": ConnectionistTemporalClassification,
}
LOSSES = {
    **LOSSES_OF_LABELS,
    "ntxent": NormalizedTemperatureCrossEntropy,
    "value": OutputValue,
}


def make_loss(name: str, /, **options: object) -> Loss:
    """Return the loss called `name` in `LOSSES`; options are its attributes.

    Raises:
        NetspecError: `train/bad-option` for an unknown name or option, or a value out of range.
    """
    return make("loss", LOSSES, name, options=options)


# A loss by its name, as a function of one's own (see `OwnLoss`), or itself.
AnyLoss = str | Loss | Callable[[Any, Any], Any]


def chosen_loss(loss: AnyLoss, /, **options: object) -> Loss:
    """Return the loss that is called so, that of a function (see `OwnLoss`), or the loss itself.

    Raises:
        NetspecError: see `make_loss`; `train/bad-option` for options of what has no name.
    """
    if isinstance(loss, str):
        return make_loss(loss, **options)
    require(not options, f"{loss!r} is given as it is: it takes no options")
    if hasattr(loss, "value_and_gradient"):
        return cast("Loss", loss if hasattr(loss, "value") else _WithValue(loss))
    require(callable(loss), f"a loss is a name, a function or a Loss, not {loss!r}")
    return OwnLoss(loss)


class _WithValue:
    """A loss of one's own that has no `value` by itself: that which comes with the gradient."""

    def __init__(self, loss: Any) -> None:
        self._loss = loss

    def value(self, logits: Floats, targets: Labels) -> float:
        """Return the loss."""
        return float(self._loss.value_and_gradient(logits, targets, np.empty_like(logits)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also while a copy is made, which has no loss yet
            raise AttributeError(name)
        return getattr(self._loss, name)


@dataclass(frozen=True)
class OutputLoss:
    """The loss of a further output, which is added to that of the scores, times a weight."""

    output: str
    loss: Loss
    weight: float


_TERM = re.compile(
    r"(?P<output>[^\W\d]\w*)=(?:(?P<loss>[a-z][a-z0-9-]*)\*)?(?P<weight>[0-9.][0-9.e+-]*)"
)


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
OF_SCORES = (
    SoftmaxCrossEntropy,
    FocalLoss,
    MulticlassHinge,
    BinaryCrossEntropy,
    ConnectionistTemporalClassification,
)


def _mean_in_torch(each: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the losses (M,) whose label counts; 0 if none does."""
    kept = labels != IGNORED
    return each.where(kept, 0.0).sum() / kept.sum().clamp_min(1)


def _check(kind: Targets, logits: Floats, targets: Labels) -> None:
    shape = logits.shape[1:]
    wanted = kind.shape(shape) if shape else ("classes",)
    given = targets.shape[1:]
    fits = (
        targets.ndim
        and len(given) == len(wanted)
        and len(targets) == len(logits)
        and all(isinstance(w, str) or w == g for w, g in zip(wanted, given, strict=True))
    )
    if not fits or targets.dtype.kind not in "ui":
        needed = "".join(f", {size}" for size in wanted)
        one = "one per row" if not wanted else f"[{len(logits)}{needed}]"
        count = f"{len(logits)} whole numbers" if not wanted else "whole numbers"
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"scores {list(logits.shape)} need {count} as targets, {one}; these are"
            f" {targets.dtype} {list(targets.shape)}",
            _help(logits.shape, wanted, targets),
        )
    classes = kind.classes(shape)
    counted = targets[targets != IGNORED]
    if len(counted) and (counted.min() < 0 or counted.max() >= classes):
        raise NetspecError.simple(
            codes.DATA_BAD_FILE,
            f"targets run from {counted.min()} to {counted.max()}; "
            f"{classes} classes are 0 to {classes - 1}",
            range_help(counted, classes),
        )


def _help(scores: tuple[int, ...], wanted: tuple[int | str, ...], targets: Labels) -> str | None:
    """Return what makes of targets of another shape or type the one label for each row that is needed."""
    if wanted or not targets.size:
        return None
    if targets.shape == scores and targets.dtype.kind in "uifb" and is_one_hot(targets):
        return ONE_HOT
    if targets.shape == (scores[0], 1):
        return "labels are no column: y[:, 0]"
    is_whole = targets.dtype.kind == "f" and bool((targets == np.floor(targets)).all())
    return "these are whole: y.astype(int)" if is_whole and targets.shape == scores[:1] else None
