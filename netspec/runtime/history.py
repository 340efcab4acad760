"""What happened in a training run, and how it is shown while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from netspec.runtime.normalization import Normalization


@dataclass
class History:
    """What happened, under the names of CS231n's Solver where it has one.

    Attributes:
        loss_history: The loss of each step, L2 term included.
        train_acc_history: After each epoch, on at most 10,000 training images.
        val_acc_history: After each epoch; empty without a validation part.
        test_acc_history: After each epoch; empty without test images.
        learning_rates: Of each step.
        epoch_seconds: Time of each epoch's training steps, accuracies not counted.
        images_per_second: Of each epoch's training steps.
        normalization: How inputs were normalised; to be kept with the weights.
        kept_epoch: The epoch, from 1, whose weights the model has in the end; 0 before the first.
        stopped: Whether the run was ended before its last step.
    """

    normalization: Normalization
    loss_history: list[float] = field(default_factory=list)
    train_acc_history: list[float] = field(default_factory=list)
    val_acc_history: list[float] = field(default_factory=list)
    test_acc_history: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    images_per_second: list[float] = field(default_factory=list)
    kept_epoch: int = 0
    stopped: bool = False

    def accuracies(self, name: str) -> list[float]:
        """The list for `train`, `val` or `test`."""
        return {
            "train": self.train_acc_history,
            "val": self.val_acc_history,
            "test": self.test_acc_history,
        }[name]


def epoch_line(epoch: int, epochs: int, steps: int, history: History) -> str:
    """The line that an epoch of so many steps leaves on the screen."""
    named = ((name, history.accuracies(name)) for name in ("train", "val", "test"))
    parts = [
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}",
        f"loss {np.mean(history.loss_history[-steps:]):.4f}",
        *(f"{name} {values[-1]:.2%}" for name, values in named if values),
        f"{history.images_per_second[-1]:,.0f} images/s",
    ]
    return "  ".join(parts)


@contextmanager
def bar(shown: bool, title: str, count: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar over images on a terminal, nothing elsewhere; yields how to move it on."""
    if not (shown and sys.stderr.isatty()):
        yield lambda images, loss: None  # noqa: ARG005
        return
    from tqdm import tqdm

    with tqdm(
        total=count, desc=title, unit=" images", leave=False, dynamic_ncols=True, file=sys.stderr
    ) as shown_bar:

        def advance(images: int, loss: float) -> None:
            shown_bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            shown_bar.update(images)

        yield advance
