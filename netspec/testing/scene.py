"""One argument of a layer that differs, and everything that it was computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.testing.layer import Setting

Array = NDArray[Any]

# A guess must come closer than netspec's own numbers by this factor, and at least this close.
CLOSER, CLOSE = 0.01, 1e-6


@dataclass(frozen=True)
class Scene:
    """One argument that differs, and what it was computed from.

    Attributes:
        name: such as `dw`.
        yours, ours: the two arrays, whose shapes may differ.
        batch: the number of images.
        factors: numbers that are easily left out or applied twice, by their descriptions.
        setting: the setting that netspec's was computed with; None for a loss.
        extra: wrong numbers specific to the function, by the mistakes that give them.
    """

    name: str
    yours: Array
    ours: Array
    batch: int
    factors: dict[str, float]
    setting: Setting | None = None
    extra: tuple[tuple[str, Array], ...] = ()

    def is_yours(self, guess: Array) -> bool:
        """Return True if these are the numbers that were found."""
        if guess.shape != self.yours.shape:
            return False
        limit = CLOSE
        if self.ours.shape == self.yours.shape:
            limit = min(limit, CLOSER * distance(self.yours, self.ours))
        return distance(self.yours, guess) <= limit

    @property
    def is_gradient(self) -> bool:
        """True if it is a result of backward."""
        return self.name.startswith("d")


def distance(a: Array, b: Array) -> float:
    """The largest difference, relative to the largest number of `b` if that is larger than 1."""
    if not a.size:
        return 0.0
    return float(np.abs(a - b).max()) / max(1.0, float(np.abs(b).max()))
