"""The history of a training run."""

from __future__ import annotations

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
from netspec.text import html

if TYPE_CHECKING:
    from netspec.runtime.plots.curves import Curves

# The images that accuracies are measured on, in the order in which they are shown.
PARTS = ("train", "val", "test")


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
        perplexities: Those measured with the accuracies on `train`, `val` and `test`, for a net with
            scores of a sequence: exp of the mean cross-entropy of a target.
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
    """

    normalization: InputNormalization
    loss_history: list[float] = field(default_factory=list)
    train_acc_history: list[float] = field(default_factory=list)
    val_acc_history: list[float] = field(default_factory=list)
    test_acc_history: list[float] = field(default_factory=list)
    measured_epochs: dict[str, list[int]] = field(default_factory=lambda: {n: [] for n in PARTS})
    perplexities: dict[str, list[float]] = field(default_factory=lambda: {n: [] for n in PARTS})
    learning_rates: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    measuring_seconds: list[float] = field(default_factory=list)
    images_per_second: list[float] = field(default_factory=list)
    kept_epoch: int = 0
    stopped: bool = False
    about_data: dict[str, str] = field(default_factory=dict)
    steps_in_epoch: int = 1

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

    def plot(self, path: str | Path, /, *, log: bool = False) -> None:
        """Draw losses and accuracies to a file, as `netspec plot` draws those of a run.

        In a notebook, the history itself shows its curves.

        Args:
            path: PNG or SVG.
            log: whether losses have a logarithmic axis.

        Raises:
            NetspecError: `plot/nothing`, `library/matplotlib`, `usage/picture`,
                `output/unwritable`.
        """
        from netspec.runtime.plots.curves import draw_curves
        from netspec.runtime.plots.figures import check_picture_path

        check_picture_path(Path(path))
        if not self.loss_history:
            message = "the history has nothing to draw: there was no step"
            raise NetspecError.simple(codes.PLOT_NOTHING, message)
        draw_curves([self._curves()], Path(path), log=log)

    def _curves(self) -> Curves:
        from netspec.runtime.plots.curves import Curves

        losses, each = self.loss_history, self.steps_in_epoch
        ends = range(each, len(losses) + 1, each)
        return Curves(
            "the history",
            [((step + 1) / each, loss) for step, loss in enumerate(losses)],
            [(end / each - 0.5, float(np.mean(losses[end - each : end]))) for end in ends],
            {
                part: list(zip(self.measured_epochs[part], self.accuracies(part), strict=True))
                for part in PARTS
                if self.accuracies(part)
            },
        )

    @property
    def seconds(self) -> float:
        """The time of all completed epochs, including accuracies."""
        return sum(self.epoch_seconds) + sum(self.measuring_seconds)

    def scores(self) -> list[float]:
        """Return what tells better epochs from worse ones, for each epoch in which it was measured.

        The accuracy on validation images; without these the mean loss with its sign changed.
        """
        if self.val_acc_history:
            return self.val_acc_history
        each, losses = self.steps_in_epoch, self.loss_history
        ends = [each * (epoch + 1) for epoch in range(len(self.epoch_seconds))]
        return [-float(np.mean(losses[end - each : end])) for end in ends]

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

    def perplexity(self, name: str, epoch: int) -> float | None:
        """Return the perplexity on `train`, `val` or `test` after an epoch; None if not measured."""
        epochs, found = self.measured_epochs[name], self.perplexities[name]
        return found[epochs.index(epoch)] if epoch in epochs and found else None

    def shown(self, name: str, epoch: int) -> str:
        """Return what was measured on `train`, `val` or `test` after an epoch, for a line."""
        accuracy, perplexity = self.accuracy(name, epoch), self.perplexity(name, epoch)
        assert accuracy is not None
        text = f"{name} {accuracy:.2%}"
        return text if perplexity is None else f"{text} (perplexity {perplexity:.4g})"

    def measured(
        self, name: str, epoch: int, accuracy: float, perplexity: float | None = None
    ) -> None:
        """Add an accuracy on `train`, `val` or `test` after an epoch."""
        self.measured_epochs[name].append(epoch)
        self.accuracies(name).append(accuracy)
        if perplexity is not None:
            self.perplexities[name].append(perplexity)

    def state(self) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
        """Return everything as arrays and plain data, for a checkpoint."""
        arrays = {name: np.array(getattr(self, name), np.float64) for name in _LONG}
        kept = (*_SHORT, "kept_epoch", "measured_epochs", "perplexities")
        facts = {name: getattr(self, name) for name in kept}
        return arrays, facts

    def load_state(
        self, arrays: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any]
    ) -> None:
        """Load the result of `state`.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        for name in _LONG:
            setattr(self, name, [float(value) for value in arrays[name].ravel()])
        for name in _SHORT:
            # Checkpoints of earlier versions do not have the time of accuracies.
            unknown = [0.0] * len(self.epoch_seconds) if name == "measuring_seconds" else None
            values = facts[name] if unknown is None else facts.get(name, unknown)
            setattr(self, name, [float(value) for value in values])
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
            # Only a net with scores of a sequence has them, and runs of earlier versions have none.
            found = [float(v) for v in facts.get("perplexities", {}).get(name, [])]
            if len(found) not in (0, count):
                raise ValueError(f"{len(found)} perplexities for {count} accuracies")
            self.perplexities[name] = found


def _epochs(values: Sequence[object], count: int, done: int) -> list[int]:
    """Check a list of numbers of completed epochs: it must be increasing and of the given length."""
    epochs = [value for value in values if type(value) is int and 0 < value <= done]
    if not len(epochs) == len(values) == count or any(a >= b for a, b in pairwise(epochs)):
        raise ValueError(f"{count} accuracies after the epochs {values} of {done}")
    return epochs


# What has a number for each step, and what has one for each epoch or for some.
_LONG = ("loss_history", "learning_rates")
_SHORT = (
    "train_acc_history", "val_acc_history", "test_acc_history", "epoch_seconds",
    "measuring_seconds", "images_per_second",
)  # fmt: skip
