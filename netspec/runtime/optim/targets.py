"""The targets of a loss: which it needs for an output, and which of them the scores get right.

Scores of a class lie along one axis of an output. It is the only one of `[K]`, an image; the last of
`[T, K]`, a sequence; and the first of `[K, H, W]`, a map, or of more axes. The other axes are places,
which have a target each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.dataset import IGNORED

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]
Shape = tuple[int, ...]
# The shape of one image's targets; a text stands for any length.
Wanted = tuple[int | str, ...]
# How many of the highest scores the second accuracy looks at.
BEST = 5


class Judged(NamedTuple):
    """How many targets of a batch the scores get right, of those that count."""

    right: int
    counted: int


class Targets(Protocol):
    """The kind of targets that a loss has."""

    @property
    def first(self) -> int:
        """The number that classes start at."""
        ...

    @property
    def ranks(self) -> bool:
        """Whether scores rank the classes of a target, so that its label is among the best or not."""
        ...

    def shape(self, output: Shape) -> Wanted:
        """Return the shape of the targets of one image, for the shape of its scores.

        Raises:
            NetspecError: `model/scores` if there are none for such an output.
        """
        ...

    def classes(self, output: Shape) -> int:
        """Return the number that all labels are below."""
        ...

    def questions(self, output: Shape) -> int:
        """Return how many classes or questions are tallied one by one, for the shape of the scores."""
        ...

    def counts(self, targets: Labels) -> NDArray[Any]:
        """Return (N,): over how many targets of each image the mean loss of a batch is, or what these
        weigh.
        """
        ...

    def tally(self, scores: Floats, targets: Labels) -> NDArray[np.int64]:
        """Return (3 + 3 K,): what is to be summed over batches of targets (N, ...).

        How many are right, how many count, and of how many the label is among the five highest scores
        (0 if scores do not rank); then for each of K classes or questions how many were taken for it
        rightly, how many it has, and how many were taken for it.
        """
        ...

    def judge_commonest(self, targets: Labels) -> Judged:
        """Return how many would be right if each got the answer that most of them have."""
        ...

    def tally_in_torch(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the same as `tally` for PyTorch's, int64 on their device."""
        ...


class Classes:
    """A class for each place, of which the highest score is right."""

    first = 0
    ranks = True

    def shape(self, output: Shape) -> Wanted:
        """See `Targets`."""
        return output[:-1] if len(output) < 3 else output[1:]

    def classes(self, output: Shape) -> int:
        """See `Targets`."""
        return output[class_axis(len(output) + 1) - 1]

    def questions(self, output: Shape) -> int:
        """See `Targets`."""
        return self.classes(output)

    def counts(self, targets: Labels) -> NDArray[Any]:
        """See `Targets`."""
        return _not_ignored(targets)

    def tally(self, scores: Floats, targets: Labels) -> NDArray[np.int64]:
        """See `Targets`."""
        axis = class_axis(scores.ndim)
        classes, counted = scores.shape[axis], targets != IGNORED
        found, labels = scores.argmax(axis=axis)[counted], targets[counted]
        right = labels[found == labels]
        among = among_best(scores, targets)[counted].sum() if classes > BEST else len(labels)
        by_class = [np.bincount(each, minlength=classes) for each in (right, labels, found)]
        return np.concatenate([[len(right), len(labels), among], *by_class])

    def judge_commonest(self, targets: Labels) -> Judged:
        """See `Targets`."""
        return _judge_commonest_label(targets)

    def tally_in_torch(self, scores: Tensor, targets: Tensor) -> Tensor:
        """See `Targets`."""
        import torch

        axis = class_axis(scores.dim())
        classes, counted = scores.shape[axis], targets != IGNORED
        found, labels = scores.argmax(axis), targets.clamp_min(0)
        right, among = (found == labels) & counted, counted
        if classes > BEST:
            own = scores.gather(axis, labels.unsqueeze(axis))
            among = ((~(scores <= own)).sum(axis) < BEST) & counted

        def by(at: Tensor, which: Tensor) -> Tensor:
            # Not `bincount`, for which a GPU is waited for.
            return at.new_zeros(classes).scatter_add_(0, at.reshape(-1), which.reshape(-1).long())

        whole = torch.stack([right.sum(), counted.sum(), among.sum()])
        return torch.cat([whole, by(labels, right), by(labels, counted), by(found, counted)])


class YesOrNo:
    """0 or 1 for each score, which is right if it is above 0 for a 1 and not for a 0.

    An axis of one score in front may be missing in the targets: (N,) for `[1]`, (N, H, W) for
    `[1, H, W]`. Each score along the axis of the classes is a question of its own; places are alike.
    """

    first = 0
    ranks = False

    def shape(self, output: Shape) -> Wanted:
        """See `Targets`."""
        return output[1:] if output[0] == 1 else output

    def classes(self, output: Shape) -> int:
        """See `Targets`."""
        return 2

    def questions(self, output: Shape) -> int:
        """See `Targets`."""
        return output[class_axis(len(output) + 1) - 1]

    def counts(self, targets: Labels) -> NDArray[Any]:
        """See `Targets`."""
        return _not_ignored(targets)

    def tally(self, scores: Floats, targets: Labels) -> NDArray[np.int64]:
        """See `Targets`."""
        wanted = targets.reshape(scores.shape)
        counted, found = wanted != IGNORED, scores > 0
        right = (found == wanted) & counted
        places = _places(scores.ndim)
        by_question = [
            each.sum(axis=places)
            for each in (right & found, counted & (wanted == 1), counted & found)
        ]
        return np.concatenate([[right.sum(), counted.sum(), 0], *by_question])

    def judge_commonest(self, targets: Labels) -> Judged:
        """See `Targets`."""
        return _judge_commonest_label(targets)

    def tally_in_torch(self, scores: Tensor, targets: Tensor) -> Tensor:
        """See `Targets`."""
        import torch

        wanted = targets.reshape(scores.shape)
        counted, found = wanted != IGNORED, scores > 0
        right = (found == wanted) & counted
        places = _places(scores.dim())
        by_question = [
            each.sum(places) for each in (right & found, counted & (wanted == 1), counted & found)
        ]
        whole = torch.stack([right.sum(), counted.sum(), right.new_zeros((), dtype=torch.int64)])
        return torch.cat([whole, *by_question])


class Transcript:
    """A sequence of classes from 1, (N, L), for scores of more steps, (N, T, K), in which 0 is a blank.

    Shorter sequences are filled up with `IGNORED`. A whole sequence is right or not: the best class
    of each step, those that repeat taken once, without blanks. It has no classes.
    """

    first = 1
    ranks = False

    def shape(self, output: Shape) -> Wanted:
        """See `Targets`."""
        if len(output) != 2:
            raise NetspecError.simple(
                codes.MODEL_SCORES,
                f"the output is [N, {', '.join(map(str, output))}]; CTC needs scores of a sequence,"
                " [N, T, classes]",
            )
        return ("L",)

    def classes(self, output: Shape) -> int:
        """See `Targets`."""
        return output[1]

    def questions(self, output: Shape) -> int:
        """See `Targets`: a sequence has none."""
        return 0

    def counts(self, targets: Labels) -> NDArray[Any]:
        """See `Targets`: the mean is over sequences."""
        return np.ones(len(targets), np.int64)

    def tally(self, scores: Floats, targets: Labels) -> NDArray[np.int64]:
        """See `Targets`."""
        right = sum(
            transcribed(best) == [label for label in target if label != IGNORED]
            for best, target in zip(scores.argmax(2).tolist(), targets.tolist(), strict=True)
        )
        return np.array([right, len(targets), 0])

    def judge_commonest(self, targets: Labels) -> Judged:
        """See `Targets`: an answer is a whole sequence."""
        _, counts = np.unique(targets, axis=0, return_counts=True)
        return Judged(int(counts.max(initial=0)), len(targets))

    def tally_in_torch(self, scores: Tensor, targets: Tensor) -> Tensor:
        """See `Targets`."""
        tally = self.tally(scores.detach().cpu().float().numpy(), targets.cpu().numpy())
        return targets.new_tensor(tally)


def _not_ignored(targets: Labels) -> NDArray[np.int64]:
    found: NDArray[np.int64] = (targets != IGNORED).sum(axis=tuple(range(1, targets.ndim)))
    return found


def _judge_commonest_label(targets: Labels) -> Judged:
    labels = targets[targets != IGNORED]
    return Judged(int(np.bincount(labels).max(initial=0)), len(labels))


def transcribed(best: list[int]) -> list[int]:
    """Return what a class for each step spells: repeated ones once, without blanks."""
    before = [0, *best]
    return [now for last, now in zip(before, best, strict=False) if now not in (last, 0)]


OF_CLASSES = Classes()


def targets_of(loss: object) -> Targets | None:
    """Return the kind of a loss's targets; None if it reads none.

    A loss of one's own that does not say is one of classes.
    """
    found: Targets | None = getattr(loss, "targets", OF_CLASSES)
    return found


def shares_of_parts(
    losses: Sequence[object], targets: Labels, parts: Sequence[slice]
) -> list[list[float]]:
    """Return the weight of each loss's mean in each part of a batch, by the targets that count.

    Args:
        losses: The losses.
        targets: (N, ...) the targets of the batch.
        parts: Slices that divide it.
    """
    columns = []
    for loss in losses:
        kind = targets_of(loss)
        counts = np.ones(len(targets), np.int64) if kind is None else kind.counts(targets)
        whole = counts.sum() or 1
        columns.append([float(counts[part].sum() / whole) for part in parts])
    return [list(each) for each in zip(*columns, strict=True)]


def class_axis(rank: int) -> int:
    """Return the axis of the classes in a batch of scores with this many axes, without the sign."""
    return rank - 1 if rank <= 3 else 1


def _places(rank: int) -> tuple[int, ...]:
    """Return the other axes of scores with this many axes."""
    return tuple(axis for axis in range(rank) if axis != class_axis(rank))


def among_best(scores: Floats, targets: Labels) -> NDArray[np.bool_]:
    """Return (N, ...): of which targets fewer than five classes have a higher score, or NaN.

    For an `IGNORED` target it is that of class 0.
    """
    axis = class_axis(scores.ndim)
    own = np.take_along_axis(scores, np.expand_dims(np.maximum(targets, 0), axis), axis)
    lower = (scores <= own).sum(axis=axis, dtype=np.int32)
    found: NDArray[np.bool_] = lower > scores.shape[axis] - BEST
    return found


def as_rows(scores: NDArray[Any]) -> NDArray[Any]:
    """Return scores (N, ...) as rows (M, K), one for each place: a view if the classes are last."""
    rows: NDArray[Any] = np.moveaxis(scores, class_axis(scores.ndim), -1)
    return rows.reshape(-1, rows.shape[-1])


def over_places(
    of_rows: Callable[[Floats, Labels, Floats], float],
    scores: Floats,
    targets: Labels,
    dscores: Floats,
) -> float:
    """Return the mean loss of the places that count, and write its gradient.

    If none counts, the loss is 0. Targets are not checked.

    Args:
        of_rows: the mean loss of rows (M, K) and labels (M,), which writes its gradient to an array
            that may be the rows themselves.
        scores: (N, ...), see `class_axis`.
        targets: (N, ...), one for each place.
        dscores: the gradient, like `scores`, and possibly the same array.
    """
    rows, labels = as_rows(scores), targets.reshape(-1)
    kept = labels != IGNORED
    gradient = as_rows(dscores)
    if kept.all():
        loss = of_rows(rows, labels, gradient)
    else:
        chosen = rows[kept]
        loss = of_rows(chosen, labels[kept], chosen) if len(chosen) else 0.0
        gradient[...] = 0
        gradient[kept] = chosen
    if not np.may_share_memory(gradient, dscores):
        placed = np.moveaxis(dscores, class_axis(dscores.ndim), -1)
        placed[...] = gradient.reshape(placed.shape)
    return loss


def rows_in_torch(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return PyTorch's scores as rows (M, K), and their targets (M,)."""
    rows = scores.movedim(class_axis(scores.dim()), -1)
    return rows.reshape(-1, rows.shape[-1]), targets.reshape(-1)
