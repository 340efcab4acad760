"""Some images of a set, where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.dataset import Array


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """Some images of a set: nothing is copied but the part that is asked for.

    Attributes:
        images: (N, ...), in memory or in a file.
        numbers: (M,) which of them, in order.
    """

    images: Array
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, part: slice) -> Array:
        """A copy of a part of the M images."""
        return self.images[self.numbers[part]]
