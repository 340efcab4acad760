"""Looks for a learning rate: the loss of steps whose rate rises until it diverges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError, plural
from netspec.runtime.data.choices import is_number, require
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.models.history import History
from netspec.runtime.models.protocols import Remembers, Trainable
from netspec.runtime.training.fit import fit
from netspec.runtime.training.transfer import HasState

# How much of the smoothed loss of a step is that of the steps before.
_SMOOTHNESS = 0.9
_UNSETTLED = 10
# A smoothed loss that is so many times the least one is taken for divergence.
_DIVERGED = 4.0


class _Model(Trainable, HasState, Remembers, Protocol):
    """A model that can be trained and put back."""


@dataclass(frozen=True, repr=False)
class RateSearch:
    """The losses of steps with rising rates.

    Attributes:
        rates: The learning rate of each step.
        losses: The loss of each step.
        smooth: Their exponential average.
        suggestion: The rate at which the average falls fastest for a factor of the rate; None if it
            does not fall.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    smooth: Sequence[float]
    suggestion: float | None

    @classmethod
    def of(cls, rates: Sequence[float], losses: Sequence[float]) -> RateSearch:
        """Return what the losses of steps say; those that are not finite are left out."""
        count = next((i for i, x in enumerate(losses) if not math.isfinite(x)), len(losses))
        rates, losses = [*rates[:count]], [*losses[:count]]
        smooth = smoothed(losses)
        return cls(rates, losses, smooth, _steepest(rates, smooth))

    def plot(self, path: str | Path) -> None:
        """Draw the losses over the rates.

        Raises:
            NetspecError: `plot/nothing`, `library/matplotlib`, `usage/picture`, `output/unwritable`.
        """
        from netspec.runtime.plots.rates import draw_rates

        if not self.losses:
            message = "there is nothing to draw: the first loss is not finite"
            raise NetspecError.simple(codes.PLOT_NOTHING, message)
        draw_rates(self.rates, self.losses, self.smooth, self.suggestion, Path(path))

    def __repr__(self) -> str:
        return f"<netspec.RateSearch: {plural(len(self.losses), 'step')}, {self}>"

    def __str__(self) -> str:
        if self.suggestion is None:
            return "the loss falls at none of these rates"
        return f"{self.suggestion:.2g}"


def find_rate(
    model: _Model,
    data: Dataset,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> RateSearch:
    """Return the losses of steps whose rate rises by the same factor each time, until they diverge.

    The model is as before afterwards.

    Args:
        model: A model of either backend.
        data: Images and labels.
        lowest: The rate of the first step.
        highest: The rate of the last one.
        steps: How many there are, if none diverges.
        stop: Called after each step; when it returns True, the search ends.
        options: Those of `fit` that say what a step is, such as `batch`, `optimizer` and `loss`.

    Raises:
        NetspecError: see `fit`.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks (2017).
    """
    require(
        is_number(lowest) and is_number(highest) and 0 < lowest < highest,
        f"the rates must rise from above 0: {lowest!r} to {highest!r}",
    )
    require(
        isinstance(steps, int) and steps >= 2, f"steps must be a number from 2 on, not {steps!r}"
    )
    factor = (highest / lowest) ** (1 / (steps - 1))
    weights, known, before = model.state_dict(), model.trained_on, model.history
    model.history = None

    def ended() -> bool:
        taken = model.history
        if taken is None:
            return False
        return len(taken.learning_rates) >= steps or _diverges(taken.loss_history) or stop()

    try:
        # There is at least one step in an epoch, so that these are enough.
        fit(
            model, data, epochs=steps, eval_every=0, progress=False, stop=ended,
            schedule=lambda step: lowest * factor ** min(step, steps - 1), **options,
        )  # fmt: skip
    except NetspecError as error:
        if error.diagnostics[0].code != codes.TRAIN_DIVERGED:
            raise
    finally:
        found: History | None = model.history
        model.trained_on, model.history = known, before
        model.load_state_dict(weights)
    losses = [] if found is None else found.loss_history[:steps]
    rates = [] if found is None else found.learning_rates[: len(losses)]
    return RateSearch.of(rates, losses)


def smoothed(losses: Sequence[float]) -> list[float]:
    """Return the exponential average of losses, corrected for starting at 0."""
    found, mean = [], 0.0
    for count, loss in enumerate(losses, 1):
        mean = _SMOOTHNESS * mean + (1 - _SMOOTHNESS) * loss
        found.append(mean / (1 - _SMOOTHNESS**count))
    return found


def _diverges(losses: Sequence[float]) -> bool:
    """Return True if the smoothed loss has risen far above its least."""
    smooth = smoothed(losses)
    return bool(smooth) and smooth[0] > 0 and smooth[-1] > _DIVERGED * min(smooth)


def _steepest(rates: Sequence[float], smooth: Sequence[float]) -> float | None:
    """Return the rate at which the average falls fastest, before it is least.

    The first steps are left out if there are enough others: an average of few losses is noise.
    """
    end = int(np.argmin(smooth)) + 1 if smooth else 0
    start = min(_UNSETTLED, end // 2)
    if end - start < 2:
        return None
    slopes = np.gradient(np.array(smooth[start:end]), np.log(rates[start:end]))
    return float(rates[start + int(np.argmin(slopes))])
