"""What a training run shows while it goes on: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.runtime.training.history import PARTS, History


@dataclass
class Shown:
    """Where a run is, for a line about it.

    Attributes:
        epoch, epochs: The epoch under way, and how many there are.
        step, steps: The steps of it that are done, and how many there are.
        lr: The rate of the last step.
        loss: The loss of the last step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    lr: float
    loss: float


class Progress:
    """Shows nothing."""

    def start(self, total: int, done: int) -> None:
        """The run has `total` images over all epochs, of which `done` are behind it."""

    def advance(self, images: int, shown: Shown, history: History) -> None:
        """So many more images are done."""

    def measure(self, name: str) -> None:
        """From now on the accuracy of `train`, `val` or `test` is measured."""

    def line(self, text: str) -> None:
        """A line that stays."""

    def close(self) -> None:
        """The run is over."""


class Lines(Progress):
    """A line an epoch, and one every `every` steps where that is asked for."""

    def __init__(self, every: int | None = None) -> None:
        self._every = every

    def advance(self, images: int, shown: Shown, history: History) -> None:
        """See `Progress`."""
        if self._every and shown.step % self._every == 0:
            self.line(
                f"epoch {shown.epoch}/{shown.epochs}  step {shown.step}/{shown.steps}"
                f"  loss {np.mean(history.loss_history[-self._every :]):.4f}  lr {shown.lr:.3g}"
            )

    def line(self, text: str) -> None:
        """See `Progress`."""
        print(text, file=sys.stderr, flush=True)


# The loss first, and all of it within the 80 columns of a terminal or a notebook.
_LIVE = "{desc}  {percentage:3.0f}% |{bar:10}| {rate_noinv_fmt} {remaining} left{postfix}"


class Live(Progress):
    """One line that is drawn anew, with the time that is left, and a line that stays an epoch."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._where = ""

    def start(self, total: int, done: int) -> None:
        """See `Progress`."""
        from tqdm import tqdm

        self._bar = tqdm(
            total=total, initial=done, unit=" img", unit_scale=True, leave=False, dynamic_ncols=True,
            file=sys.stderr, smoothing=0.05, bar_format=_LIVE,
        )  # fmt: skip

    def advance(self, images: int, shown: Shown, history: History) -> None:
        """See `Progress`."""
        self._where = f"loss {shown.loss:.4f}  epoch {shown.epoch}/{shown.epochs}"
        self._bar.set_description_str(self._where, refresh=False)
        latest = [
            f"{name} {v[-1]:.1%}" for name in ("val", "train") if (v := history.accuracies(name))
        ]
        self._bar.set_postfix_str("".join(latest[:1]), refresh=False)
        self._bar.update(images)

    def measure(self, name: str) -> None:
        """See `Progress`."""
        self._bar.set_description_str(self._where, refresh=False)
        self._bar.set_postfix_str(f"measuring {name}")

    def line(self, text: str) -> None:
        """See `Progress`."""
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """See `Progress`."""
        if self._bar is not None:  # the run may have ended before its first step
            self._bar.close()


@contextmanager
def make_progress(shown: bool, every: int | None) -> Iterator[Progress]:
    """What fits where stderr leads: a live line on a terminal, plain lines elsewhere.

    Args:
        shown: Whether anything is to be shown.
        every: Off a terminal: a line every so many steps, beside that of an epoch.
    """
    progress = Progress()
    if shown and sys.stderr is not None:  # a program without a console has none
        progress = Live() if sys.stderr.isatty() else Lines(every)
    try:
        yield progress
    finally:
        progress.close()


def epoch_line(epoch: int, epochs: int, steps: int, history: History) -> str:
    """The line that an epoch of so many steps leaves on the screen."""
    named = ((name, history.accuracy(name, epoch)) for name in PARTS)
    parts = [
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}",
        f"loss {np.mean(history.loss_history[-steps:]):.4f}",
        *(f"{name} {value:.2%}" for name, value in named if value is not None),
        f"{history.images_per_second[-1]:,.0f} images/s",
    ]
    return "  ".join(parts)
