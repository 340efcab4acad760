"""The moving average of a module's weights; see `netspec.runtime.optim.averaging`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from netspec.runtime.optim.averaging import decay_at


class WeightAverage:
    """Follows the trained parameters from step to step.

    Args:
        parameters: the parameters, which the optimizer changes in place.
        decay: how much of the average remains in a step.

    Attributes:
        values: The averages, in the order of the parameters.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self._own = [p.detach() for p in parameters]
        self._decay = decay
        self.values = [p.clone() for p in self._own]

    def follow(self, step: int) -> None:
        """Move the average towards the weights after a step, counted from 1."""
        torch._foreach_lerp_(self.values, self._own, 1.0 - decay_at(self._decay, step))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Context manager: the parameters have their averages."""
        last = [p.clone() for p in self._own]
        torch._foreach_copy_(self._own, self.values)
        try:
            yield
        finally:
            torch._foreach_copy_(self._own, last)
