"""A selection of the images of a set, without copying them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.dataset import Array


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """A selection of the images of a set; only the part that is asked for is copied.

    Attributes:
        images: (N, ...), in memory or in a file.
        numbers: (M,) the indices of the selected images, in order.
    """

    images: Array
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, part: slice) -> Array:
        """Return a copy of a part of the M images."""
        return self.images[self.numbers[part]]
