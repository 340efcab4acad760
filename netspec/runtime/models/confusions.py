"""Which classes were taken for which: the counts that are not zero, however many classes there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec.runtime.data.choices import require
from netspec.runtime.optim.class_counts import ClassCounts

Counts = NDArray[np.int64]

# A table has the square of this many numbers.
MOST_CLASSES = 1 << 12


@dataclass(frozen=True, eq=False)
class Confusions:
    """How many targets of a class were taken for another, or for itself.

    Attributes:
        classes: how many classes there are.
        pairs: (P,), the class of the targets times `classes`, plus the one they were taken for;
            ascending.
        counts: (P,), how many targets, at least one.
    """

    classes: int
    pairs: Counts
    counts: Counts

    @classmethod
    def of(cls, matrix: ArrayLike) -> Confusions:
        """Return the counts of a table (K, K): of class i (row) taken for class j (column)."""
        flat = np.asarray(matrix, np.int64).reshape(-1)
        pairs = np.flatnonzero(flat)
        return cls(len(np.asarray(matrix)), pairs, flat[pairs])

    @classmethod
    def none(cls, classes: int) -> Confusions:
        """Return no counts."""
        return cls(classes, np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def counted(cls, classes: int, labels: Counts, taken: NDArray[np.intp]) -> Confusions:
        """Return the counts of targets (N,) and of what they were taken for (N,)."""
        pairs, counts = np.unique(labels.astype(np.int64) * classes + taken, return_counts=True)
        return cls(classes, pairs, counts.astype(np.int64))

    def __add__(self, other: Confusions) -> Confusions:
        pairs, places = np.unique(np.concatenate([self.pairs, other.pairs]), return_inverse=True)
        counts = np.zeros(len(pairs), np.int64)
        np.add.at(counts, places.reshape(-1), np.concatenate([self.counts, other.counts]))
        return Confusions(self.classes, pairs, counts)

    @property
    def labels(self) -> Counts:
        """(P,), the class of the targets of each pair."""
        return self.pairs // self.classes

    @property
    def taken(self) -> Counts:
        """(P,), the class that they were taken for."""
        return self.pairs % self.classes

    @property
    def total(self) -> int:
        """The number of targets."""
        return int(self.counts.sum())

    @property
    def right(self) -> Counts:
        """(K,), how many targets of each class were taken for it."""
        same = self.labels == self.taken
        return self._by(self.labels[same], self.counts[same])

    def by_class(self) -> ClassCounts:
        """Return the counts of each class by itself."""
        wanted, taken = self._by(self.labels, self.counts), self._by(self.taken, self.counts)
        return ClassCounts(self.right, wanted, taken)

    def _by(self, at: Counts, counts: Counts) -> Counts:
        sums = np.zeros(self.classes, np.int64)
        np.add.at(sums, at, counts)
        return sums

    def matrix(self) -> Counts:
        """Return them as a table (K, K): of class i (row) taken for class j (column).

        Raises:
            NetspecError: `train/bad-option` for more classes than a table has room for.
        """
        require(
            self.classes <= MOST_CLASSES,
            f"there are {self.classes:,} classes; a table of confusions is for at most"
            f" {MOST_CLASSES:,}",
        )
        table = np.zeros(self.classes**2, np.int64)
        table[self.pairs] = self.counts
        return table.reshape(self.classes, self.classes)

    def mistakes(self, most: int) -> Iterator[tuple[int, int, int]]:
        """Yield the most frequent mistakes: how many, of which class, taken for which."""
        wrong = self.labels != self.taken
        labels, taken, counts = self.labels[wrong], self.taken[wrong], self.counts[wrong]
        for at in np.argsort(-counts, kind="stable")[:most]:
            yield int(counts[at]), int(labels[at]), int(taken[at])
