"""How many targets of each class were found, and what follows: precision, recall and F1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
# What each class has a number of, by the names that tables and JSON use.
OF_A_CLASS = ("precision", "recall", "f1")


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """How targets and answers are spread over K classes, or over K questions with yes or no.

    Attributes:
        right: (K,), how many targets of each class were taken for it.
        wanted: (K,), how many targets each class has.
        taken: (K,), how many targets were taken for each class.
    """

    right: Counts
    wanted: Counts
    taken: Counts

    @property
    def precision(self) -> NDArray[np.float64]:
        """(K,), the share of what was taken for a class that is of it; NaN if there is none."""
        return _share(self.right, self.taken)

    @property
    def recall(self) -> NDArray[np.float64]:
        """(K,), the share of a class that was taken for it; NaN if there is none."""
        return _share(self.right, self.wanted)

    @property
    def f1(self) -> NDArray[np.float64]:
        """(K,), the harmonic mean of precision and recall; NaN for a class that does not occur."""
        return _share(2 * self.right, self.wanted + self.taken)

    @property
    def macro_f1(self) -> float:
        """The mean of `f1` over the classes that occur, as scikit-learn's f1_score(average="macro").

        0 if none occurs, which scikit-learn calls `zero_division`.
        """
        found = self.f1
        known = found[~np.isnan(found)]
        return float(known.mean()) if len(known) else 0.0

    def occurs(self) -> NDArray[np.bool_]:
        """Return (K,), whether a class has targets, or any was taken for it."""
        found: NDArray[np.bool_] = (self.wanted > 0) | (self.taken > 0)
        return found

    def to_list(self, names: Sequence[str], *, every: bool = True) -> list[dict[str, object]]:
        """Return name, precision, recall, F1 and support of each class, or of those that occur."""
        columns, shown = [self.precision, self.recall, self.f1], self.occurs() | every
        return [
            {
                "name": name,
                **{of: known(column[k]) for of, column in zip(OF_A_CLASS, columns, strict=True)},
                "support": int(self.wanted[k]),
            }
            for k, name in enumerate(names)
            if shown[k]
        ]


def known(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return None if np.isnan(value) else float(value)


def _share(part: Counts, whole: Counts) -> NDArray[np.float64]:
    out = np.full(len(whole), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
