"""How good a net is whose targets are not one class each: answers of 0 and 1, transcripts, or a loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.dataset import IGNORED
from netspec.runtime.data.input_normalization import InputNormalization
from netspec.runtime.data.views import PLAIN, View, mean_scores
from netspec.runtime.engine.floating_point import as_ieee
from netspec.runtime.models.classifier_shape import scores_shape
from netspec.runtime.models.evaluation import Scorer, evaluated_at_a_time, not_finite, scores
from netspec.runtime.optim.class_counts import OF_A_CLASS, ClassCounts, known
from netspec.runtime.optim.losses import Loss
from netspec.runtime.optim.targets import Transcript, YesOrNo, targets_of, transcribed
from netspec.text.table import Column, table_lines

Array = NDArray[Any]
# So many outputs have a line each.
_LISTED = 50


@dataclass(frozen=True)
class Answers:
    """The results for a set of images.

    Attributes:
        images: How many there are.
        loss: The mean over the targets that count.
        measures: Shares from 0 up, by their names.
        outputs: For answers of 0 and 1, of each output: precision, recall, F1, and how many are 1.
        not_finite: How many images have numbers that are NaN or infinite.
    """

    images: int
    loss: float
    measures: Mapping[str, float] = field(default_factory=dict)
    outputs: Sequence[tuple[float, float, float, int]] = ()
    not_finite: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict, for JSON."""
        names = (*OF_A_CLASS, "ones")
        rows = [dict(zip(names, map(known, row), strict=True)) for row in self.outputs]
        loss = self.loss if np.isfinite(self.loss) else None
        return {
            "images": self.images, "loss": loss, "not_finite": self.not_finite,
            **{n: known(v) for n, v in self.measures.items()},
            **({"outputs": rows} if rows else {}),
        }  # fmt: skip

    def text(self, width: int | None = None) -> str:
        """Return everything as text, in tables that fit the width."""
        return "\n".join(self._lines(width))

    def _lines(self, width: int | None) -> Iterator[str]:
        length = max(map(len, [*self.measures, "loss"]))
        for name, value in self.measures.items():
            yield f"{name:<{length}}  {_percent(value)}"
        yield f"{'loss':<{length}}  {self.loss:.4f}"
        if not self.outputs:
            return
        yield ""
        columns = [Column(name) for name in ("output", *OF_A_CLASS, "ones")]
        rows = [
            [str(i), *map(_percent, shares), f"{ones:,}"]
            for i, (*shares, ones) in enumerate(self.outputs[:_LISTED])
        ]
        yield from table_lines(columns, rows, width=width)
        if len(self.outputs) > _LISTED:
            yield f"and {len(self.outputs) - _LISTED:,} other outputs"


def answers(
    model: Scorer,
    x: Array,
    y: NDArray[np.int64],
    normalization: InputNormalization,
    loss: Loss,
    of: Sequence[View] = PLAIN,
) -> Answers:
    """Evaluate a model whose loss is not one over classes, in evaluation mode.

    Args:
        model: A model of either backend.
        x: (N, ...), as stored; N at least 1.
        y: Its targets, of the shape that the loss wants.
        normalization: The normalization that the model was trained with.
        loss: The loss.
        of: The views of the pictures over which scores are averaged.
    """
    kind = targets_of(loss)
    total, weighed, lost = 0.0, 0.0, 0
    judges: list[_Yes | _Spelt] = []
    if isinstance(kind, YesOrNo):
        judges.append(_Yes(kind, kind.questions(scores_shape(model.graph))))
    if isinstance(kind, Transcript):
        judges.append(_Spelt())
    batch = evaluated_at_a_time(model.graph)
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        found = mean_scores(partial(scores, model), x[part], normalization, model.dtype, of)
        weight = float(len(found) if kind is None else kind.counts(y[part]).sum())
        with as_ieee():
            total += loss.value(found, y[part]) * weight
        weighed, lost = weighed + weight, lost + not_finite(found)
        for judge in judges:
            judge.see(found, y[part])
    measures = {name: value for judge in judges for name, value in judge.measures().items()}
    outputs = [row for judge in judges if isinstance(judge, _Yes) for row in judge.outputs()]
    return Answers(len(x), total / (weighed or 1), measures, outputs, lost)


class _Yes:
    """Counts answers that are right, and of each output those that are 1, taken for 1, and both."""

    def __init__(self, kind: YesOrNo, outputs: int) -> None:
        self._kind = kind
        self._tally = np.zeros(3 + 3 * outputs, np.int64)
        self._whole = self._images = 0

    def see(self, found: Array, y: NDArray[np.int64]) -> None:
        """Take note of a batch of scores (N, ...) and targets like them."""
        self._tally += self._kind.tally(found, y)
        right = ((found.reshape(y.shape) > 0) == y) | (y == IGNORED)
        self._whole += int(right.reshape(len(y), -1).all(axis=1).sum())
        self._images += len(y)

    def _counts(self) -> ClassCounts:
        return ClassCounts(*self._tally[3:].reshape(3, -1))

    def measures(self) -> dict[str, float]:
        """Return the share of answers that are right, and of images whose answers all are."""
        right, counted = self._tally[:2]
        return {
            "accuracy": float(right / (counted or 1)),
            "all right": self._whole / (self._images or 1),
            "macro F1": self._counts().macro_f1,
        }

    def outputs(self) -> list[tuple[float, float, float, int]]:
        """Return precision, recall, F1 and the number of ones of each output."""
        counts = self._counts()
        columns = (counts.precision, counts.recall, counts.f1, counts.wanted)
        return [(float(p), float(r), float(f), int(n)) for p, r, f, n in zip(*columns, strict=True)]


class _Spelt:
    """Counts transcripts that are right, and the labels that are wrong in the others."""

    def __init__(self) -> None:
        self._right = self._sequences = self._edits = self._labels = 0

    def see(self, found: Array, y: NDArray[np.int64]) -> None:
        """Take note of a batch of scores (N, T, K) and targets (N, L)."""
        for best, target in zip(found.argmax(2).tolist(), y.tolist(), strict=True):
            wanted = [label for label in target if label != IGNORED]
            edits = _edits(transcribed(best), wanted)
            self._right += edits == 0
            self._sequences += 1
            self._edits += edits
            self._labels += len(wanted)

    def measures(self) -> dict[str, float]:
        """Return the share of sequences that are right, and the edits that a label needs."""
        return {
            "accuracy": self._right / (self._sequences or 1),
            "label errors": self._edits / (self._labels or 1),
        }


def _edits(found: Sequence[int], wanted: Sequence[int]) -> int:
    """Return the least insertions, deletions and replacements from one to the other (Levenshtein)."""
    row = list(range(len(wanted) + 1))
    for i, label in enumerate(found, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(wanted, 1):
            best = min(row[j] + 1, row[j - 1] + 1, before + (label != other))
            before, row[j] = row[j], best
    return row[-1]


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2%}"
