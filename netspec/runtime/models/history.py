"""The history of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError, plural
from netspec.runtime.data.input_normalization import InputNormalization
from netspec.runtime.models.measured import Measured
from netspec.runtime.optim.class_counts import ClassCounts
from netspec.text import html

if TYPE_CHECKING:
    from netspec.runtime.plots.curves import Curves

# The images that accuracies are measured on, in the order in which they are shown.
PARTS = ("train", "val", "test")
# What tells a better epoch from a worse one, by its name in the metrics, and whether more is better.
MONITORS = {"val": True, "val_loss": False, "val_macro_f1": True}


@dataclass(repr=False)
class History:
    """The history of a run. Names follow CS231n's Solver where it has one.

    It grows during the run; afterwards threads may share it.

    Attributes:
        loss_history: The loss of each step, including the L2 term.
        train_acc_history: After each epoch in which it was measured, on at most 10,000 training
            images.
        val_acc_history: Likewise; empty without a validation part.
        test_acc_history: A single number for the final weights, unless more were requested
            (`test_every`); empty without test images.
        measured_epochs: The epochs, from 1, of the accuracies on `train`, `val` and `test`.
        measures: What else was measured with the accuracies, by its name in `metrics.jsonl` and the
            epoch: `measures["val_loss"][3]`. For `train`, `val` and `test` these are `_loss`, the mean
            of the loss that is trained, of the scores alone and without L2; `_top5`, the share whose
            label is among the five highest scores, of more than five classes; `_macro_f1`; and for
            scores of a sequence `_perplexity`, exp of the mean cross-entropy of a target.
        class_counts: Precision, recall and F1 of each class on `val` and `test` by the epoch, if they
            were asked for (`per_class`).
        learning_rates: The learning rate of each step.
        epoch_seconds: The time of each epoch's training steps, without accuracies.
        measuring_seconds: The time of the accuracies after each epoch; the last includes that of
            the test images at the end.
        images_per_second: The speed of each epoch's training steps.
        normalization: The normalization of inputs, to be stored with the weights.
        kept_epoch: The epoch, from 1, whose weights are kept; 0 before the first.
        stopped: True if the run was stopped before its last step.
        about_data: What the weights file stores about the data
            (`netspec.runtime.weights.data_facts`).
        steps_in_epoch: The number of steps of an epoch.
        monitor: What tells a better epoch from a worse one, see `MONITORS`.
    """

    normalization: InputNormalization
    loss_history: list[float] = field(default_factory=list)
    train_acc_history: list[float] = field(default_factory=list)
    val_acc_history: list[float] = field(default_factory=list)
    test_acc_history: list[float] = field(default_factory=list)
    measured_epochs: dict[str, list[int]] = field(default_factory=lambda: {n: [] for n in PARTS})
    measures: dict[str, dict[int, float]] = field(default_factory=dict)
    class_counts: dict[str, dict[int, ClassCounts]] = field(default_factory=dict)
    learning_rates: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    measuring_seconds: list[float] = field(default_factory=list)
    images_per_second: list[float] = field(default_factory=list)
    kept_epoch: int = 0
    stopped: bool = False
    about_data: dict[str, str] = field(default_factory=dict)
    steps_in_epoch: int = 1
    monitor: str = "val"

    def __repr__(self) -> str:
        steps, epochs = len(self.loss_history), len(self.epoch_seconds)
        loss = f", loss {self.loss_history[-1]:.4f}" if steps else ""
        found = [(name, self.accuracies(name)) for name in PARTS]
        shares = "".join(f", {name} {values[-1]:.2%}" for name, values in found if values)
        return (
            f"<netspec.History: {plural(epochs, 'epoch')}, {plural(steps, 'step')}{loss}{shares}>"
        )

    def _repr_html_(self) -> str:
        accuracies = [(name, self.accuracies(name)) for name in PARTS]
        return (
            f"<p>{html.text(repr(self)[1:-1])}</p>"
            + html.curves("loss of each step", [("loss", self.loss_history)])
            + html.curves("accuracy, as it was measured", accuracies)
        )

    def plot(self, path: str | Path | None = None, /, *others: History, log: bool = False) -> None:
        """Draw losses and accuracies to a file, as `netspec plot` draws those of a run.

        In a notebook, the history itself shows its curves.

        Args:
            path: PNG, SVG or PDF.
            others: histories to compare with, drawn into the same axes as the second, the third
                and so on.
            log: whether losses have a logarithmic axis.

        Raises:
            NetspecError: `plot/nothing`, `library/matplotlib`, `usage/picture`, also without a path;
                `output/unwritable`.
        """
        from netspec.runtime.plots.curves import draw_curves
        from netspec.runtime.plots.figures import check_picture_path

        if path is None:
            raise NetspecError.simple(
                codes.USAGE_PICTURE, "plot needs the file to draw to",
                'history.plot("curves.png"); in a notebook a history shows its curves itself',
            )  # fmt: skip
        check_picture_path(Path(path))
        if not all(each.loss_history for each in (self, *others)):
            message = "the history has nothing to draw: there was no step"
            raise NetspecError.simple(codes.PLOT_NOTHING, message)
        names = [f"history {number}" for number in range(1, len(others) + 2)]
        names = names if others else [""]
        curves = [each._curves(name) for each, name in zip((self, *others), names, strict=True)]
        draw_curves(curves, Path(path), log=log)

    def _curves(self, name: str) -> Curves:
        from netspec.runtime.plots.curves import Curves

        losses, each = self.loss_history, self.steps_in_epoch
        ends = range(each, len(losses) + 1, each)
        return Curves(
            name,
            [((step + 0.5) / each, loss) for step, loss in enumerate(losses)],
            [(end / each - 0.5, float(np.mean(losses[end - each : end]))) for end in ends],
            {
                part: list(zip(self.measured_epochs[part], self.accuracies(part), strict=True))
                for part in PARTS
                if self.accuracies(part)
            },
            [*self.measures.get("val_loss", {}).items()],
        )

    @property
    def seconds(self) -> float:
        """The time of all completed epochs, including accuracies."""
        return sum(self.epoch_seconds) + sum(self.measuring_seconds)

    def scores(self) -> list[float]:
        """Return what tells better epochs from worse ones, for each epoch in which it was measured.

        What is monitored, by default the accuracy on validation images; without these the mean loss
        of the steps. A loss has its sign changed.
        """
        found = (self.score(epoch + 1) for epoch in range(len(self.epoch_seconds)))
        if scores := [score for score in found if score is not None]:
            return scores
        each, losses = self.steps_in_epoch, self.loss_history
        ends = [each * (epoch + 1) for epoch in range(len(self.epoch_seconds))]
        return [-float(np.mean(losses[end - each : end])) for end in ends]

    def score(self, epoch: int) -> float | None:
        """Return how good an epoch was on validation images, the more the better; None if unknown."""
        found = self.measure(self.monitor, epoch)
        return found if found is None or MONITORS[self.monitor] else -found

    def rank(self, epoch: int) -> tuple[float, float] | None:
        """Return the score of an epoch, and what decides between equal ones: a smaller loss on
        validation images. None if the score is unknown.
        """
        score, loss = self.score(epoch), self.measure("val_loss", epoch)
        return None if score is None else (score, -math.inf if loss is None else -loss)

    @property
    def val_loss_history(self) -> list[float]:
        """The loss on validation images, as often as it was measured."""
        return [*self.measures.get("val_loss", {}).values()]

    @property
    def perplexities(self) -> dict[str, list[float]]:
        """The perplexities on `train`, `val` and `test`, as often as they were measured."""
        return {part: [*self.measures.get(f"{part}_perplexity", {}).values()] for part in PARTS}

    def accuracies(self, name: str) -> list[float]:
        """Return the list for `train`, `val` or `test`."""
        return {
            "train": self.train_acc_history,
            "val": self.val_acc_history,
            "test": self.test_acc_history,
        }[name]

    def accuracy(self, name: str, epoch: int) -> float | None:
        """Return the accuracy on `train`, `val` or `test` after an epoch; None if not measured."""
        epochs = self.measured_epochs[name]
        return self.accuracies(name)[epochs.index(epoch)] if epoch in epochs else None

    def measure(self, name: str, epoch: int) -> float | None:
        """Return what was measured after an epoch by its name in the metrics, such as `val_loss`.

        None if it was not measured.
        """
        if name in PARTS:
            return self.accuracy(name, epoch)
        return self.measures.get(name, {}).get(epoch)

    def perplexity(self, name: str, epoch: int) -> float | None:
        """Return the perplexity on `train`, `val` or `test` after an epoch; None if not measured."""
        return self.measure(f"{name}_perplexity", epoch)

    def is_measured(self, name: str, epoch: int) -> bool:
        """Return True if something was measured on `train`, `val` or `test` after an epoch."""
        return any(self.measure(key, epoch) is not None for key in (name, f"{name}_loss"))

    def shown(self, name: str, epoch: int) -> str:
        """Return what was measured on `train`, `val` or `test` after an epoch, for a line."""
        accuracy, perplexity = self.accuracy(name, epoch), self.perplexity(name, epoch)
        loss = self.measure(f"{name}_loss", epoch)
        if accuracy is None:
            return f"{name} loss {loss:.4f}"
        also = {"loss": (loss if name == "val" else None, ".4f"), "perplexity": (perplexity, ".4g")}
        texts = [f"{of} {value:{form}}" for of, (value, form) in also.items() if value is not None]
        text = f"{name} {accuracy:.2%}"
        return f"{text} ({', '.join(texts)})" if texts else text

    def measured(self, name: str, epoch: int, found: Measured, *, per_class: bool = False) -> None:
        """Add what was measured on `train`, `val` or `test` after an epoch.

        Args:
            name: On which images.
            epoch: After which epoch.
            found: What was measured.
            per_class: Whether it is kept of each class, too.
        """
        if found.accuracy is not None:
            self.measured_epochs[name].append(epoch)
            self.accuracies(name).append(found.accuracy)
        for end, value in found.values().items():
            self.measures.setdefault(f"{name}_{end}", {})[epoch] = value
        if per_class and found.classes is not None and name != "train":
            self.class_counts.setdefault(name, {})[epoch] = found.classes

    def state(self) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
        """Return everything as arrays and plain data, for a checkpoint."""
        arrays = {name: np.array(getattr(self, name), np.float64) for name in _LONG}
        kept = (*_SHORT, "kept_epoch", "measured_epochs")
        facts = {name: getattr(self, name) for name in kept}
        facts["measures"] = {name: [*found.items()] for name, found in self.measures.items()}
        facts["class_counts"] = {name: [*found] for name, found in self.class_counts.items()}
        for name, found in self.class_counts.items():
            each = [[c.right, c.wanted, c.taken] for c in found.values()]
            arrays[f"{_COUNTS}{name}"] = np.array(each, np.float64)
        return arrays, facts

    def load_state(
        self, arrays: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any]
    ) -> None:
        """Load the result of `state`.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        for name in _LONG:
            setattr(self, name, [sound_number(value) for value in arrays[name].ravel()])
        for name in _SHORT:
            # Checkpoints of earlier versions do not have the time of accuracies.
            unknown = [0.0] * len(self.epoch_seconds) if name == "measuring_seconds" else None
            values = facts[name] if unknown is None else facts.get(name, unknown)
            setattr(self, name, [sound_number(value) for value in values])
        done = len(self.epoch_seconds)
        self.kept_epoch = int(facts["kept_epoch"])
        if not 0 <= self.kept_epoch <= done or len(self.measuring_seconds) != done:
            raise ValueError(f"epoch {self.kept_epoch} of {done} is kept")
        for name in PARTS:
            count = len(self.accuracies(name))
            # In runs of earlier versions there is one after each epoch.
            epochs = range(1, count + 1)
            if "measured_epochs" in facts:
                epochs = facts["measured_epochs"][name]
            self.measured_epochs[name] = _epochs(epochs, count, done)
        self.measures = _loaded_measures(facts, self.measured_epochs, done)
        for name, epochs in dict(facts.get("class_counts", {})).items():
            counts = arrays[f"{_COUNTS}{name}"].astype(np.int64)
            if counts.ndim != 3 or not _are_among(epochs, self.measured_epochs[name]):
                raise ValueError(f"there are no counts of classes after the epochs {epochs}")
            each = (ClassCounts(*of) for of in counts)
            self.class_counts[name] = dict(zip(epochs, each, strict=True))


def sound_number(value: Any) -> float:
    """Return a number of a checkpoint, of which a sum or a mean is finite, too.

    Raises:
        TypeError, ValueError, OverflowError: if it is something else.
    """
    number = float(value)
    if not abs(number) <= _LARGEST:
        raise ValueError(f"{number} is nothing that is measured")
    return number


def _loaded_measures(
    facts: Mapping[str, Any], measured: Mapping[str, Sequence[int]], done: int
) -> dict[str, dict[int, float]]:
    """Return what else was measured, from the facts of a checkpoint, after so many epochs.

    Raises:
        KeyError, TypeError, ValueError: if it is none of this or of an earlier version.
    """
    found = facts.get("measures")
    if found is None:  # earlier versions had perplexities alone, one for each accuracy, or none
        old = dict(facts.get("perplexities", {}))
        found = {f"{part}_perplexity": [*zip(measured[part], values, strict=True)]
                 for part, values in old.items() if values}  # fmt: skip
    measures = {}
    for name, pairs in dict(found).items():
        part = name.partition("_")[0]
        if part not in PARTS or not _are_among([epoch for epoch, _ in pairs], range(1, done + 1)):
            raise ValueError(f"{name!r} was measured after epochs that are not done")
        measures[name] = {epoch: float(value) for epoch, value in pairs}
        if not all(map(math.isfinite, measures[name].values())):
            raise ValueError(f"{name!r} holds something else than numbers")
    return measures


def _are_among(epochs: Sequence[object], measured: Sequence[int]) -> bool:
    """Return True if these are epochs after which something was measured, each at most once."""
    return {*epochs} <= {*measured} and len({*epochs}) == len(epochs)


def _epochs(values: Sequence[object], count: int, done: int) -> list[int]:
    """Check a list of numbers of completed epochs: it must be increasing and of the given length."""
    epochs = [value for value in values if type(value) is int and 0 < value <= done]
    if not len(epochs) == len(values) == count or any(a >= b for a, b in pairwise(epochs)):
        raise ValueError(f"{count} accuracies after the epochs {values} of {done}")
    return epochs


# The counts of classes among the arrays of a checkpoint.
_COUNTS = "class_counts."
# Of a million numbers that are smaller, the sum is finite.
_LARGEST = 1e300
# What has a number for each step, and what has one for each epoch or for some.
_LONG = ("loss_history", "learning_rates")
_SHORT = (
    "train_acc_history", "val_acc_history", "test_acc_history", "epoch_seconds",
    "measuring_seconds", "images_per_second",
)  # fmt: skip
