"""What happened in a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.input_normalization import Normalization


@dataclass
class History:
    """What happened, under the names of CS231n's Solver where it has one.

    It grows while its run goes on; threads may share it when that is over.

    Attributes:
        loss_history: The loss of each step, L2 term included.
        train_acc_history: After each epoch, on at most 10,000 training images.
        val_acc_history: After each epoch; empty without a validation part.
        test_acc_history: After each epoch; empty without test images.
        learning_rates: Of each step.
        epoch_seconds: Time of each epoch's training steps, accuracies not counted.
        measuring_seconds: Time that the accuracies after each epoch took.
        images_per_second: Of each epoch's training steps.
        normalization: How inputs were normalised; to be kept with the weights.
        kept_epoch: The epoch, from 1, whose weights the model has in the end; 0 before the first.
        stopped: Whether the run was ended before its last step.
        about_data: What the weights' file remembers of the data (`netspec.runtime.weights.data_facts`).
    """

    normalization: Normalization
    loss_history: list[float] = field(default_factory=list)
    train_acc_history: list[float] = field(default_factory=list)
    val_acc_history: list[float] = field(default_factory=list)
    test_acc_history: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    measuring_seconds: list[float] = field(default_factory=list)
    images_per_second: list[float] = field(default_factory=list)
    kept_epoch: int = 0
    stopped: bool = False
    about_data: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The time of all epochs that are over, accuracies counted."""
        return sum(self.epoch_seconds) + sum(self.measuring_seconds)

    def accuracies(self, name: str) -> list[float]:
        """The list for `train`, `val` or `test`."""
        return {
            "train": self.train_acc_history,
            "val": self.val_acc_history,
            "test": self.test_acc_history,
        }[name]

    def state(self) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
        """All of it as arrays and plain data, to be kept."""
        arrays = {name: np.array(getattr(self, name), np.float64) for name in _LONG}
        return arrays, {name: getattr(self, name) for name in _SHORT}

    def load_state(
        self, arrays: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any]
    ) -> None:
        """Take up what `state` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        for name in _LONG:
            setattr(self, name, [float(value) for value in arrays[name].ravel()])
        for name in _SHORT[:-1]:
            # Checkpoints of before did not say how long accuracies took.
            values = facts.get(name, []) if name == "measuring_seconds" else facts[name]
            setattr(self, name, [float(value) for value in values])
        self.kept_epoch = int(facts[_SHORT[-1]])


# What has a number for each step, and what for each epoch.
_LONG = ("loss_history", "learning_rates")
_SHORT = (
    "train_acc_history", "val_acc_history", "test_acc_history", "epoch_seconds",
    "measuring_seconds", "images_per_second", "kept_epoch",
)  # fmt: skip
