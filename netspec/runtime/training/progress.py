"""Shows the progress of a training run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.runtime.models.history import PARTS, History
from netspec.text import html

# How often a notebook's cell is drawn again, in seconds, and how many of the last epochs it shows.
_REDRAWN = 0.5
_EPOCHS = 12


@dataclass
class Shown:
    """The progress of a run, for a line that describes it.

    Attributes:
        epoch, epochs: The current epoch, and the number of epochs.
        step, steps: The number of its steps that are done, and of all its steps.
        lr: The learning rate of the last step.
        loss: The loss of the last step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    lr: float
    loss: float


class Progress:
    """Shows nothing; the base of the others."""

    def start(self, total: int, done: int, samples: str = "images") -> None:
        """Called at the beginning: the run has `total` images over all epochs, and `done` are done."""

    def advance(self, images: int, shown: Shown, history: History) -> None:
        """Called when this many more images are done."""

    def measure(self, name: str) -> None:
        """Called before the accuracy of `train`, `val` or `test` is measured."""

    def line(self, text: str) -> None:
        """Print a line that stays on the screen."""

    def close(self) -> None:
        """Called when the run is over."""


class Lines(Progress):
    """Prints a line for each epoch, and one every `every` steps if requested."""

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


_UNITS = {"images": " img", "windows": " win"}
# The loss comes first, and everything fits the 80 columns of a terminal or a notebook.
_LIVE = "{desc}  {percentage:3.0f}% |{bar:10}| {rate_noinv_fmt} {remaining} left{postfix}"


class Live(Progress):
    """Shows a line that is redrawn in place, with the remaining time, and a line for each epoch."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._where = ""

    def start(self, total: int, done: int, samples: str = "images") -> None:
        """See `Progress`."""
        from tqdm import tqdm

        self._bar = tqdm(
            total=total, initial=done, unit=_UNITS[samples], unit_scale=True, leave=False,
            dynamic_ncols=True, file=sys.stderr, smoothing=0.05, bar_format=_LIVE,
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


class Cell(Progress):
    """Shows a bar, the lines of the epochs and the curve of the losses below a notebook's cell."""

    def __init__(self) -> None:
        self._display: Any = None
        self._total, self._done = 1, 0
        self._started = self._drawn = time.monotonic()
        self._ahead = 0  # what was done before this run began
        self._where = ""
        self._also = ""
        self._lines: list[str] = []
        self._losses: list[float] = []

    def start(self, total: int, done: int, samples: str = "images") -> None:
        """See `Progress`."""
        from IPython.display import display

        self._total, self._done, self._ahead = total, done, done
        self._started = time.monotonic()
        self._display = display(self, display_id=True)

    def advance(self, images: int, shown: Shown, history: History) -> None:
        """See `Progress`."""
        self._done += images
        self._losses = history.loss_history
        self._where = f"epoch {shown.epoch}/{shown.epochs}, loss {shown.loss:.4f}"
        if time.monotonic() - self._drawn >= _REDRAWN:
            self._draw()

    def measure(self, name: str) -> None:
        """See `Progress`."""
        self._draw(f", measuring {name}")

    def line(self, text: str) -> None:
        """See `Progress`."""
        self._lines.append(text)
        self._draw()

    def close(self) -> None:
        """See `Progress`."""
        self._draw()

    def _draw(self, also: str = "") -> None:
        self._drawn = time.monotonic()
        self._also = also
        if self._display is not None:  # the run may have ended before its first step
            self._display.update(self)

    def __repr__(self) -> str:
        return "\n".join([*self._lines, self._where])

    def _repr_html_(self) -> str:
        seconds = time.monotonic() - self._started
        here = self._done - self._ahead
        left = f", {seconds / here * (self._total - self._done):.0f} s left" if here else ""
        bar = f'<progress value="{self._done}" max="{self._total}"></progress> '
        where = html.text(f"{self._done / self._total:.0%} {self._where}{self._also}{left}")
        lines = html.preformatted("\n".join(self._lines[-_EPOCHS:])) if self._lines else ""
        curve = html.curves("loss of each step", [("loss", self._losses)])
        return f"<div>{bar}{where}</div>{lines}{curve}"


def is_notebook() -> bool:
    """Return True if this process computes the cells of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


@contextmanager
def make_progress(shown: bool, every: int | None) -> Iterator[Progress]:
    """Return the progress display: below the cell of a notebook; on stderr a live line if it is a
    terminal, and plain lines otherwise.

    Args:
        shown: Whether anything is to be shown.
        every: If stderr is not a terminal, print a line every `every` steps, besides that of an
            epoch.
    """
    progress = Progress()
    if shown and is_notebook():
        progress = Cell()
    elif shown and sys.stderr is not None:  # a program without a console has no stderr
        progress = Live() if sys.stderr.isatty() else Lines(every)
    try:
        yield progress
    finally:
        progress.close()


def epoch_line(epoch: int, epochs: int, steps: int, history: History, samples: str) -> str:
    """Return the line that describes a completed epoch with this many steps over `samples`."""
    parts = [
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}",
        f"loss {np.mean(history.loss_history[-steps:]):.4f}",
        *(history.shown(n, epoch) for n in PARTS if history.is_measured(n, epoch)),
        f"{history.images_per_second[-1]:,.0f} {samples}/s",
    ]
    return "  ".join(parts)
