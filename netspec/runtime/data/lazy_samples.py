"""Samples that are made when they are asked for: more than memory holds, or from elsewhere."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


class LazySamples(ABC):
    """Samples (N, ...) in place of an array of them: what a data set and a training ask of one.

    Attributes:
        shape: (N, ...), N and the shape of a sample.
        dtype: The type of their numbers.
        numbers: (N,) which of the stored ones they are.
    """

    # They are in no memory of this process.
    nbytes = 0

    def __init__(
        self, numbers: Numbers, sample_shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.numbers, self.dtype = numbers, dtype
        self.shape = (len(numbers), *sample_shape)

    @abstractmethod
    def made(self, stored: Numbers) -> NDArray[Any]:
        """Return the samples (M, ...) with these numbers among the stored ones."""

    @abstractmethod
    def chosen(self, numbers: Numbers | slice) -> Self:
        """Return some of the samples, which are not made yet."""

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of numbers."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: int | np.integer | slice | Numbers) -> NDArray[Any]:
        """Make one sample (...), or those of a slice or of numbers (M,): (M, ...)."""
        if isinstance(which, int | np.integer):
            one: NDArray[Any] = self.made(self.numbers[[int(which)]])[0]
            return one
        return self.made(self.numbers[which])


def some(x: Any, most: int) -> NDArray[Any]:
    """Return samples as an array: all of an array's, and of lazy ones at most so many, evenly spread."""
    if not isinstance(x, LazySamples):
        array: NDArray[Any] = x
        return array
    return x[np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).astype(np.int64))]


def chosen(x: Any, numbers: Numbers | slice) -> Any:
    """Return some samples of an array, or of lazy ones without making them."""
    return x.chosen(numbers) if isinstance(x, LazySamples) else x[numbers]
